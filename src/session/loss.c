/*
 * Session engine: loss - theory of operation
 *
 * The engine measures RTT with its own clock, on segments sent once (Karn, RFC 6298 3). TIMER_RTX is a tail
 * loss probe (RFC 8985 7) while a sample exists and nothing is being repaired, otherwise the retransmission
 * time-out (RFC 6298, floor 200 ms). While anything of the target answers, back-off stays at 1 s or less,
 * since the target lives and only a packet was lost. For a silent target it grows to 8 s, and at the first
 * sign of life all sessions that wait retransmit at once.
 *
 * A loss is found by three duplicate ACKs or by more than two segments' worth of SACKed bytes above a hole
 * (RFC 5681, 6675), or by time-out. One mechanism repairs: rtx_nxt walks over what is not SACKed, from
 * SND.UNA to the highest byte that counts as lost: up to SND.NXT of the moment after a time-out; with SACK
 * up to where more than two segments' worth or three ranges are SACKed above; without SACK one segment for
 * each partial acknowledgment (RFC 6582).
 *
 * Before the first loss no congestion window limits the session: the client's own did that. After one, cwnd
 * holds (slow start, congestion avoidance) until everything sent is acknowledged and nothing waits; then
 * the recovery state is freed, and idle sessions pay nothing for it.
 */
#include "session/impl.h"

void loss_rtt_sample(struct session *s, uint64_t rtt)
{
	rtt = MAX(rtt, 1);
	if (!s->srtt) {
		s->srtt = rtt;
		s->rttvar = rtt / 2;
		return;
	}
	s->rttvar = s->rttvar - s->rttvar / 4 + (s->srtt > rtt ? s->srtt - rtt : rtt - s->srtt) / 4;
	s->srtt = s->srtt - s->srtt / 8 + rtt / 8;
	s->srtt = MAX(s->srtt, 1);
}

static bool backed_off(const struct target *t, const struct session *s)
{
	return s->backoff_prev || t->backed_off == s;
}

void loss_backoff_unlink(struct engine *e, struct session *s)
{
	struct target *t = session_target(e, s);

	if (!backed_off(t, s))
		return;
	if (s->backoff_prev)
		s->backoff_prev->backoff_next = s->backoff_next;
	else
		t->backed_off = s->backoff_next;
	if (s->backoff_next)
		s->backoff_next->backoff_prev = s->backoff_prev;
	s->backoff_next = s->backoff_prev = NULL;
}

static void backoff_link(struct target *t, struct session *s)
{
	if (backed_off(t, s))
		return;
	s->backoff_next = t->backed_off;
	if (s->backoff_next)
		s->backoff_next->backoff_prev = s;
	t->backed_off = s;
}

/*
 * The target was silent and speaks again: those who are backed off ask again now, a little apart from each
 * other.
 */
void loss_target_alive(struct engine *e, struct target *t, uint64_t now)
{
	uint64_t at = now;

	t->reviving = true;
	while (t->backed_off) {
		struct session *s = t->backed_off;

		if (at == now + REVIVE_AT_ONCE * REVIVE_APART)
			return; /* its next sign of life helps the next ones */
		loss_backoff_unlink(e, s);
		s->backoff = 0;
		if (timer_on(s, TIMER_RTX))
			timer_set(e, s, TIMER_RTX, at);
		at += REVIVE_APART;
	}
	t->reviving = false;
}

/*
 * RFC 6298 2.3, before back-off. On a long way the variance of a steady RTT shrinks to nothing, and the
 * target's delayed ACK alone would pass the time-out: Linux never lets its part fall below 200 ms; here it
 * may not fall below 4 SRTT, up to those 200 ms, so that short ways keep their 200 ms in all.
 */
static uint64_t rto_base(const struct session *s)
{
	return MAX(s->srtt + MAX(4 * s->rttvar, MIN(4 * s->srtt, RTO_FLOOR)), RTO_FLOOR);
}

static uint64_t rto(struct engine *e, struct session *s, uint64_t now)
{
	struct target *t = session_target(e, s);
	bool alive = t->last_heard && now - t->last_heard < ALIVE_WITHIN;
	uint64_t base = s->srtt                                          ? rto_base(s)
			: s->syn_timed_out && s->events & EV_ESTABLISHED ? RTO_AFTER_SYN
									 : RTO_INITIAL;
	uint64_t cap = MAX(base, alive ? RTO_CAP_ALIVE : RTO_CAP_DEAD);
	uint64_t value = MIN(base << MIN(s->backoff, 10), cap);

	if (value > RTO_CAP_ALIVE)
		backoff_link(t, s);
	else
		loss_backoff_unlink(e, s);
	return value;
}

/* Is the probe of the target's path all that is in flight? */
static bool only_probe(const struct engine *e, const struct session *s)
{
	const struct target *t = session_target(e, s);

	return t->probe.out && t->probe.id == s->id && s->snd_una == t->probe.start &&
	       s->snd_nxt == t->probe.end;
}

/* (Re)start TIMER_RTX after new data was sent, acknowledged or retransmitted. */
void loss_rearm(struct engine *e, struct session *s, uint64_t now)
{
	uint64_t time_out, probe;

	s->tlp_armed = false;
	if (s->snd_una == s->snd_nxt) {
		timer_off(s, TIMER_RTX);
		if (session_target(e, s)->backed_off)
			loss_backoff_unlink(e, s);
		return;
	}
	time_out = rto(e, s, now);
	if (s->events & EV_ESTABLISHED && s->srtt && !s->backoff && !s->tlp_out &&
	    !(s->rec && s->rec->active)) {
		/*
		 * RFC 8985 7.2, and the spread of the RTT: a busy target or assistant must not look like a
		 * loss
		 */
		probe = MAX(MAX(2 * s->srtt, s->srtt + 4 * s->rttvar), TLP_FLOOR);
		if (s->snd_nxt - s->snd_una <= s->mss || only_probe(e, s))
			probe += TLP_ACK_DELAY;
		if (probe < time_out) {
			s->tlp_armed = true;
			/* more data puts the probe off, but not beyond the time-out of the first byte */
			time_out =
				MIN(probe, s->progress_at + time_out > now ? s->progress_at + time_out - now
									   : probe);
		}
	}
	timer_set(e, s, TIMER_RTX, now + time_out);
}

static struct recovery *recovery_get(struct engine *e, struct session *s)
{
	if (!s->rec) {
		s->rec = pool_get(e->pool, sizeof(*s->rec));
		if (s->rec)
			memset(s->rec, 0, sizeof(*s->rec));
	}
	return s->rec;
}

void loss_free(struct engine *e, struct session *s)
{
	pool_put(e->pool, s->rec, sizeof(*s->rec));
	s->rec = NULL;
}

static uint32_t sacked_below(const struct recovery *r, uint32_t edge)
{
	uint32_t sum = 0;

	for (int i = 0; i < r->n_sacked && seq_lt(r->sacked[i].start, edge); i++)
		sum += seq_min(r->sacked[i].end, edge) - r->sacked[i].start;
	return sum;
}

/*
 * Up to where unSACKed bytes count as lost. With SACK: below more than two segments' worth of SACKed bytes,
 * or below three SACKed ranges (RFC 6675 4, IsLost); the SACK of a tail loss probe tells of all below it.
 * The first segment is lost in any case, or there would be no recovery.
 */
static uint32_t lost_edge(const struct session *s)
{
	const struct recovery *r = s->rec;
	uint32_t first = seq_min(s->snd_una + s->mss, r->point), above = 0;

	if (r->by_rto)
		return r->point;
	for (int i = r->n_sacked; i-- > 0;) {
		first = seq_min(first, r->sacked[i].start);
		above += r->sacked[i].end - r->sacked[i].start;
		if (above > (DUP_THRESH - 1u) * s->mss || r->n_sacked - i == DUP_THRESH || r->by_probe)
			return seq_max(r->sacked[i].start, s->snd_una);
	}
	return first;
}

/* Bytes believed to be in the network (RFC 6675 "pipe"). */
static uint32_t pipe_bytes(const struct session *s)
{
	const struct recovery *r = s->rec;
	uint32_t flight = s->snd_nxt - s->snd_una, edge, from, missing;

	if (!r->active)
		return flight;
	edge = lost_edge(s);
	from = seq_max(r->rtx_nxt, s->snd_una);
	missing = seq_lt(from, edge) ? (edge - from) - (sacked_below(r, edge) - sacked_below(r, from)) : 0;
	if (!r->n_sacked && !r->by_rto)
		missing += MIN((uint32_t)s->dup_acks * s->mss, flight - MIN(flight, missing));
	flight -= sacked_below(r, s->snd_nxt);
	return flight - MIN(flight, missing);
}

uint32_t loss_window(const struct session *s)
{
	uint32_t pipe;

	if (!s->rec || !s->rec->cwnd)
		return UINT32_MAX;
	pipe = pipe_bytes(s);
	return s->rec->cwnd > pipe ? s->rec->cwnd - pipe : 0;
}

static void enter(struct engine *e, struct session *s, bool by_rto, uint64_t now)
{
	struct recovery *r = recovery_get(e, s);
	uint32_t flight = s->snd_nxt - s->snd_una;

	if (!r)
		return; /* the next time-out tries again */
	r->ssthresh = MAX(flight / 2, 2u * s->mss);
	r->cwnd = by_rto ? s->mss : r->ssthresh;
	r->active = true;
	r->by_rto = by_rto;
	r->by_probe = s->tlp_out;
	r->bytes_acked = 0;
	r->point = s->snd_nxt;
	r->rtx_nxt = s->snd_una;
	if (by_rto)
		r->n_sacked = 0; /* RFC 2018 8: the receiver may have thrown it away */
	s->tlp_out = false;
	if (!by_rto) {
		e->n.fast_retransmits++;
		loss_rearm(e, s, now);
	}
}

void loss_send(struct engine *e, struct session *s, uint64_t now)
{
	struct recovery *r = s->rec;
	bool sent = false;

	if (!r || !r->active)
		return;
	for (;;) {
		uint32_t from = seq_max(r->rtx_nxt, s->snd_una), edge = lost_edge(s), pipe = pipe_bytes(s), n;

		for (int i = 0; i < r->n_sacked; i++)
			if (seq_between(r->sacked[i].start, from, r->sacked[i].end - 1))
				from = r->sacked[i].end;
		r->rtx_nxt = from;
		if (!seq_lt(from, edge))
			break;
		n = edge - from;
		for (int i = 0; i < r->n_sacked; i++)
			if (seq_gt(r->sacked[i].start, from))
				n = MIN(n, r->sacked[i].start - from);
		/*
		 * The first segment goes in any case (RFC 6675 5 (4.3), RFC 6582 3.2): what is beyond it
		 * counts as under way, also when it was lost. And one goes while nothing is in the network,
		 * or nothing ever would.
		 */
		if (pipe + s->mss > r->cwnd && pipe && from != s->snd_una)
			break;
		n = MIN(n, MAX(r->cwnd - MIN(pipe, r->cwnd), s->mss));
		r->rtx_nxt = from + output_resend(e, s, from, n, now);
		sent = true;
	}
	if (sent)
		loss_rearm(e, s, now);
}

void loss_of_probe(const struct engine *e, const struct session *s, uint32_t seq, uint32_t n)
{
	struct target *t = session_target(e, s);

	if (t->probe.out && t->probe.id == s->id && seq_between(seq, t->probe.start, seq + n - 1) &&
	    t->probe.lost != PATH_LOST)
		t->probe.lost = s->rec && s->rec->active && !s->rec->by_rto ? PATH_LOST : PATH_TIMEOUT;
}

/*
 * What an acknowledgment says about the size of packets. One in the middle of the probe, or at the end of the
 * small piece in place of a large packet, says that these larger ones have not arrived, however late it is.
 */
static void size_acked(struct engine *e, struct session *s, uint64_t now)
{
	struct target *t = session_target(e, s);
	const bool smaller_arrived = s->trial && s->snd_una == s->trial_end;

	if (t->probe.out && t->probe.id == s->id) {
		if (seq_ge(s->snd_una, t->probe.end))
			output_probed(e, s, t->probe.lost, now);
		else if (seq_gt(s->snd_una, t->probe.start))
			t->probe.lost = PATH_LOST;
	}
	s->trial = false;
	if (!smaller_arrived)
		return;
	path_too_large(&t->path, s->trial_size, now);
	if (e->ops->path)
		e->ops->path(e->arg, s->key.target, &t->path);
}

/*
 * The time-out of the packet at SND.UNA was not its first one, and the target is alive: packets of that size
 * may not arrive any more, or where they need no proof, may never have.
 */
static void suspect_size(struct engine *e, struct session *s, uint64_t now)
{
	struct target *t = session_target(e, s);
	const struct qseg *q = session_head(s);
	const uint32_t left = q->piece.len - MIN(q->piece.len, s->snd_una - q->piece.seq),
		       size = MIN(MIN(q->gso_size ? q->gso_size : left, left), s->mss) + s->headers;

	if (s->backoff < SIZE_DOUBTED || now - t->last_heard > ALIVE_WITHIN)
		return;
	if (path_doubt(&t->path, size)) {
		e->n.path_doubts++;
		if (e->ops->path)
			e->ops->path(e->arg, s->key.target, &t->path);
		output_mtu(e, s);
	} else if (s->backoff > SIZE_DOUBTED && path_trial(&t->path, size)) {
		s->trial = true;
		s->trial_end = s->snd_una;
		s->trial_size = (uint16_t)size;
	}
}

void loss_acked(struct engine *e, struct session *s, uint32_t old_una, uint64_t now)
{
	struct recovery *r = s->rec;
	uint32_t acked = s->snd_una - old_una;
	int gone = 0;

	size_acked(e, s, now);
	s->dup_acks = 0;
	s->tlp_out = false;
	s->backoff = 0;
	if (!r)
		return;
	while (gone < r->n_sacked && seq_le(r->sacked[gone].start, s->snd_una))
		gone++;
	r->n_sacked = (uint8_t)(r->n_sacked - gone);
	memmove(r->sacked, r->sacked + gone, r->n_sacked * sizeof(r->sacked[0]));
	if (r->active && seq_ge(s->snd_una, r->point)) {
		r->active = false;
		if (!r->by_rto)
			acked = 0; /* RFC 6582 3.2 (3): cwnd is ssthresh, and grows from here on */
	} else if (r->active && !r->by_rto) {
		if (!r->n_sacked)
			r->rtx_nxt = s->snd_una; /* partial acknowledgment: the next hole begins here */
		return;
	}
	if (r->cwnd && r->cwnd < r->ssthresh) {
		r->cwnd += MIN(acked, s->mss); /* not more after a time-out: RFC 3465 2.3 */
	} else if (r->cwnd) {
		r->bytes_acked += acked;
		if (r->bytes_acked >= r->cwnd) {
			r->bytes_acked -= r->cwnd;
			r->cwnd += s->mss;
		}
	}
	if (!r->active && !s->next && s->snd_una == s->snd_nxt)
		loss_free(e, s);
}

/* Add [start, end) to the scoreboard. When it is full the highest range goes: it will be reported again. */
static void sack_add(struct recovery *r, struct sack_block b)
{
	int i = 0, j;

	while (i < r->n_sacked && seq_lt(r->sacked[i].end, b.start))
		i++;
	for (j = i; j < r->n_sacked && seq_le(r->sacked[j].start, b.end); j++) {
		b.start = seq_min(b.start, r->sacked[j].start);
		b.end = seq_max(b.end, r->sacked[j].end);
	}
	if (j == i) {
		if (r->n_sacked == MAX_SACKED) {
			if (i == MAX_SACKED)
				return;
			r->n_sacked--;
		}
		memmove(r->sacked + i + 1, r->sacked + i, (size_t)(r->n_sacked - i) * sizeof(b));
		r->n_sacked++;
	} else if (j > i + 1) {
		memmove(r->sacked + i + 1, r->sacked + j, (size_t)(r->n_sacked - j) * sizeof(b));
		r->n_sacked = (uint8_t)(r->n_sacked - (j - i - 1));
	}
	r->sacked[i] = b;
}

/*
 * SACK blocks of @r; its ack has not been taken yet. True: they tell of bytes that were not known to have
 * arrived, which makes @r a duplicate ACK (RFC 6675 2).
 */
bool loss_sack(struct engine *e, struct session *s, const struct response *r, uint64_t now)
{
	uint32_t una = seq_max(s->snd_una, r->ack), before = s->rec ? sacked_below(s->rec, s->snd_nxt) : 0,
		 after;

	for (int i = 0; i < r->opt.n_sack; i++) {
		struct sack_block b = r->opt.sack[i];

		/* below the ack: a DSACK (RFC 2883); beyond what was sent: nonsense */
		if (!seq_gt(b.start, una) || !seq_lt(b.start, b.end) || seq_gt(b.end, s->snd_nxt))
			continue;
		if (!recovery_get(e, s))
			return false;
		sack_add(s->rec, b);
	}
	if (!s->rec || !s->rec->n_sacked)
		return false;
	after = sacked_below(s->rec, s->snd_nxt);
	if (!s->rec->active && (s->tlp_out || after > (DUP_THRESH - 1u) * s->mss))
		enter(e, s, false, now);
	return after > before;
}

void loss_dup_ack(struct engine *e, struct session *s, unsigned n, uint64_t now)
{
	s->dup_acks = (uint8_t)MIN(s->dup_acks + n, 255u);
	if (s->dup_acks >= DUP_THRESH && !(s->rec && s->rec->active))
		enter(e, s, false, now);
}

/* The last segment again: its acknowledgment, or the SACK of it, tells what was lost. */
static void probe(struct engine *e, struct session *s, uint64_t now)
{
	uint32_t from = s->snd_nxt - MIN(s->snd_nxt - s->snd_una, s->mss);
	/* the one that holds the last byte sent */
	const struct qseg *q = s->next && seq_lt(s->next->piece.seq, s->snd_nxt) ? s->next : s->sent;

	s->tlp_out = true;
	e->n.probes_sent++;
	output_resend(e, s, seq_max(from, q->piece.seq), s->mss, now);
	loss_rearm(e, s, now);
}

static void syn_timeout(struct engine *e, struct session *s, uint64_t now)
{
	if (now - s->progress_at > SYN_GIVE_UP) {
		uint64_t heard = session_target(e, s)->last_heard;

		session_end(e, s,
			    heard && now - heard <= SYN_GIVE_UP ? OUTCOME_NO_ANSWER : OUTCOME_RETURN_SILENT,
			    now);
		return;
	}
	e->n.rto_fired++;
	e->n.retransmitted_segments++;
	s->syn_resent = s->syn_timed_out = true;
	s->leftover_resets = 0;
	if (s->backoff < 10)
		s->backoff++;
	output_syn(e, s, now);
	loss_rearm(e, s, now);
}

void loss_timeout(struct engine *e, struct session *s, uint64_t now)
{
	if (!(s->events & EV_ESTABLISHED)) {
		syn_timeout(e, s, now);
		return;
	}
	if (s->snd_una == s->snd_nxt)
		return;
	if (s->tlp_armed) {
		probe(e, s, now);
		return;
	}
	if (now - s->progress_at > DATA_GIVE_UP &&
	    (s->snd_wnd || now - session_target(e, s)->last_heard > DATA_GIVE_UP)) {
		session_end(e, s, OUTCOME_TARGET_SILENT, now);
		return;
	}
	e->n.rto_fired++;
	if (s->backoff < 10)
		s->backoff++;
	suspect_size(e, s, now);
	enter(e, s, true, now);
	loss_rearm(e, s, now);
	loss_send(e, s, now);
}
