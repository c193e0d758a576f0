/*
 * Session engine: what is sent - theory of operation
 *
 * Every segment towards the target is made here, from a qseg or from the session's own state, and given to
 * ops->emit. The client's own are: sequence number, window, TTL, DSCP, IP id (+1 for each segment of our
 * own), PSH and URG, segment size. The target's are: acknowledgment number and TSecr. TSval is the
 * client's, but never decreases: max(the segment's, the last emitted), or held data that leaves later would
 * die of PAWS (RFC 7323 5.3).
 *
 * session_step() ends every entry into the engine: release turns, repair losses, send new data as far as
 * the turn, the target's window and (after a loss) the congestion window allow, then the client's RST, then
 * an acknowledgment if one is due and nothing sent has carried it, then the end of the session.
 */
#include "packet/options.h"
#include "session/impl.h"

#include <assert.h>

#define DEFAULT_MSS_V4 536 /* RFC 9293 3.7.1 */
#define DEFAULT_MSS_V6 1220

/* The raw window to put in a segment for the client's raw window @raw. */
static uint16_t raw_window(const struct session *s, uint16_t raw)
{
	if (s->events & EV_JOINED) /* what the client's scale was is not known */
		return raw && s->ws_ok ? MAX(raw, JOIN_WINDOW) : raw ? 65535 : 0;
	/* the target refused scaling: the same bytes, unscaled, or it trickles */
	if (s->client_ws && !s->ws_ok)
		return (uint16_t)MIN(65535u, (uint32_t)raw << s->client_wscale);
	return raw;
}

/* Bytes that the target understands from it. */
static uint32_t window_bytes(const struct session *s, uint16_t raw)
{
	return (uint32_t)raw_window(s, raw) << (s->ws_ok ? s->client_wscale : 0);
}

/* The payload of a full segment in a packet of at most @size bytes. */
static uint16_t mss_for(const struct session *s, uint32_t size)
{
	const uint32_t fixed = addr_is_v4(&s->source.addr) ? 40 : 60;

	return (uint16_t)(MAX(88u, MIN(s->peer_mss, size - fixed)) - (s->headers - fixed));
}

void output_resize(const struct engine *e, struct session *s)
{
	s->limit = session_target(e, s)->path.limit;
	s->mss = mss_for(s, s->limit);
}

void output_negotiated(struct engine *e, struct session *s)
{
	bool v4 = addr_is_v4(&s->source.addr);
	uint32_t fixed = v4 ? 40 : 60, ts = s->ts_ok ? 12 : 0;
	uint32_t theirs = s->peer_mss ? s->peer_mss : v4 ? DEFAULT_MSS_V4 : DEFAULT_MSS_V6;
	uint32_t ours = s->client_mss ? s->client_mss : v4 ? DEFAULT_MSS_V4 : DEFAULT_MSS_V6;

	s->headers = (uint8_t)(fixed + ts);
	s->peer_mss = (uint16_t)theirs;
	output_resize(e, s);
	s->rcv_mss = (uint16_t)(MAX(88u, MIN(ours, session_target(e, s)->path.route - fixed)) - ts);
	/* what its SYN showed is not "reopened" */
	s->window_edge = s->rcv_nxt + window_bytes(s, s->client_window);
}

/*
 * Fields that all segments of a session share. @raw: the client's window for it; @tsval: the client's, or
 * anything older.
 */
static struct tx_segment segment_start(struct session *s, uint8_t flags, uint32_t seq, uint16_t raw,
				       uint32_t tsval)
{
	struct tx_segment t = {
		.tuple.src = s->source,
		.seq = seq,
		.flags = flags,
		.ttl = s->ttl,
		.tos = s->tos,
		.df = s->df,
		.flow_label = s->flow_label,
	};

	if (flags & TCPF_RST)
		return t;
	if (flags & TCPF_ACK) {
		t.ack = s->rcv_nxt;
		t.window = raw_window(s, raw);
		s->ack_emitted = s->rcv_nxt;
		s->window_edge = s->rcv_nxt + window_bytes(s, raw);
		s->window_most = seq_max(s->window_most, s->window_edge);
		s->ack_now = false;
		timer_off(s, TIMER_ACK);
	}
	if (s->ts_ok) {
		s->ts_emitted = ts_max(tsval, s->ts_emitted);
		t.options_len = tcp_options_ts_build(t.options, s->ts_emitted, s->ts_recent);
	}
	return t;
}

static void emit(struct engine *e, struct session *s, struct tx_segment *t)
{
	uint32_t pieces = t->gso_size && t->len ? (t->len + t->gso_size - 1) / t->gso_size : 1;

	t->tuple.dst = session_target(e, s)->at;
	s->ip_id = (uint16_t)(t->ip_id + pieces - 1);
	e->n.emitted_segments++;
	e->ops->emit(e->arg, t);
}

void output_syn(struct engine *e, struct session *s, uint64_t now)
{
	struct tx_segment t = segment_start(s, TCPF_SYN, s->iss, s->syn_window, 0);

	(void)now;
	t.window = s->syn_window;
	t.ip_id = (uint16_t)(s->ip_id + 1);
	t.options_len = s->syn->len;
	memcpy(t.options, s->syn->b, s->syn->len);
	s->snd_nxt = s->iss + 1;
	emit(e, s, &t);
}

void output_ack(struct engine *e, struct session *s, uint64_t now)
{
	struct tx_segment t = segment_start(s, TCPF_ACK, s->snd_nxt, s->client_window, s->ts_emitted);

	(void)now;
	t.ip_id = (uint16_t)(s->ip_id + 1);
	e->n.emitted_acks++;
	emit(e, s, &t);
}

void output_rst(struct engine *e, struct session *s, uint32_t seq, bool with_ack, uint64_t now)
{
	struct tx_segment t = segment_start(s, (uint8_t)(TCPF_RST | (with_ack ? TCPF_ACK : 0)), seq, 0, 0);

	(void)now;
	if (with_ack)
		t.ack = s->rcv_nxt;
	t.ip_id = (uint16_t)(s->ip_id + 1);
	emit(e, s, &t);
}

/* @len bytes of @q from offset @off, with its FIN if @fin, in segments of @mss bytes at most. */
static void emit_data(struct engine *e, struct session *s, struct qseg *q, uint32_t off, uint32_t len,
		      bool fin, bool again, uint32_t mss)
{
	uint8_t flags = TCPF_ACK | (fin ? TCPF_FIN : 0);
	uint16_t raw = again ? s->client_window : q->window;
	uint32_t seg = q->gso_size ? MIN(q->gso_size, mss) : mss;
	struct tx_segment t;

	if (q->psh && off + len == q->piece.len)
		flags |= TCPF_PSH;
	/* held data must not shut a window that the client has opened since */
	if (window_bytes(s, raw) < 2u * s->rcv_mss)
		raw = s->client_window;
	t = segment_start(s, flags, q->piece.seq + off, raw, again || !q->tsval ? s->ts_emitted : q->tsval);
	if (q->urg && seq_gt(q->urgent_end, t.seq)) {
		t.flags |= TCPF_URG;
		t.urgent = (uint16_t)(q->urgent_end - t.seq);
	}
	t.payload = piece_bytes(&q->piece) + off;
	t.len = len;
	t.gso_size = len > seg ? (uint16_t)seg : 0;
	t.ip_id = again ? (uint16_t)(s->ip_id + 1) : (uint16_t)(q->ip_id + off / seg);
	emit(e, s, &t);
}

/* Bytes of new data that the target's window and the congestion window allow from SND.NXT on. */
static uint32_t usable_window(const struct session *s)
{
	uint32_t edge = s->snd_una + s->snd_wnd;
	uint32_t window = seq_gt(edge, s->snd_nxt) ? edge - s->snd_nxt : 0;

	return MIN(window, loss_window(s));
}

/*
 * How much may be sent of what does not fit in the window of @usable bytes: no silly segments (RFC 9293
 * 3.8.6.2.1). Whole ones; with nothing in flight also half of the largest window there was, or a target
 * whose windows are smaller than a segment would get one each 200 ms.
 */
static uint32_t fitting(const struct session *s, uint32_t usable)
{
	uint32_t whole = usable - usable % s->mss;

	return !whole && s->snd_una == s->snd_nxt && usable >= (s->snd_wnd_max + 1) / 2 ? usable : whole;
}

/* A segment leaves for the first time, @lag ns behind its capture. */
static void count_lag(struct engine *e, uint64_t lag)
{
	hist_add(&e->n.capture_to_emit, lag);
	/* the time since the one before is wrong by as much as they are not equally late */
	hist_add(&e->n.spacing_error, lag > e->lag_before ? lag - e->lag_before : e->lag_before - lag);
	e->lag_before = lag;
}

/*
 * Is a packet larger than any that has arrived to leave, with the @left bytes of @q? Then only one such is on
 * its way (path/path.h). Returns the bytes of it, at most @usable; 0: none.
 */
static uint32_t begin_probe(struct engine *e, struct session *s, const struct qseg *q, uint32_t left,
			    uint32_t usable, uint64_t now)
{
	struct target *t = session_target(e, s);
	uint32_t want = MIN(MIN(q->gso_size ? q->gso_size : left, left), mss_for(s, t->path.route)), size;

	if (want <= s->mss)
		return 0;
	size = path_probe(&t->path, want + s->headers, now);
	if (size <= (uint32_t)s->mss + s->headers || size - s->headers > usable ||
	    (e->ops->path_probe && !e->ops->path_probe(e->arg, s->key.target)))
		return 0;
	size -= s->headers;
	path_probe_sent(&t->path);
	t->probe.out = true;
	t->probe.id = s->id;
	t->probe.start = s->snd_nxt;
	t->probe.end = s->snd_nxt + size;
	t->probe.lost = PATH_ARRIVED;
	e->n.path_probes++;
	return size;
}

void output_probed(struct engine *e, struct session *s, enum path_verdict v, uint64_t now)
{
	struct target *t = session_target(e, s);
	struct path before = t->path;

	if (!t->probe.out || t->probe.id != s->id)
		return;
	t->probe.out = false;
	path_probed(&t->path, t->probe.end - t->probe.start + s->headers, v, now);
	if (v == PATH_ARRIVED)
		e->n.path_probes_arrived++;
	else if (t->path.narrow && (!before.narrow || before.lost_at != t->path.lost_at))
		e->n.path_probes_lost++;
	else
		e->n.path_probes_undecided++;
	if (e->ops->path)
		e->ops->path(e->arg, s->key.target, &t->path);
}

/*
 * Send what may be sent of the queue. Within the window whole client segments leave as they were; where
 * only a part fits, less than a segment is kept back, unless @override: it has been kept back long enough.
 */
static void send_new(struct engine *e, struct session *s, bool override, uint64_t now)
{
	bool sent = false;
	struct qseg *q;

	while ((q = s->next) && q != s->hold) {
		uint32_t off = s->snd_nxt - q->piece.seq, left = q->piece.len - off, n = left,
			 usable = usable_window(s), probe = begin_probe(e, s, q, left, usable, now);
		bool fin;

		if (probe) {
			n = probe;
		} else if (n > usable) {
			n = override ? usable : fitting(s, usable);
			if (!n)
				break;
		}
		fin = q->piece.fin && n == left && n < usable; /* it takes a place in the window */
		if (!n && !fin)
			break;
		if (!off)
			count_lag(e, now > q->captured_at ? now - q->captured_at : 0);
		if (s->snd_nxt == s->iss + 1 && s->rcv_nxt == s->irs + 1)
			session_target(e, s)->client_first = true;
		emit_data(e, s, q, off, n, fin, false, MAX(probe, s->mss));
		if (n && s->snd_nxt == s->iss + 1)
			s->turn_at = now;
		sent = true;
		if (s->snd_una == s->snd_nxt)
			s->progress_at = now; /* the target's silence begins here, not at its last answer */
		s->snd_nxt += n + (fin ? 1 : 0);
		if (fin)
			session_event(e, s, EV_FIN_SENT);
		if (s->snd_nxt == qseg_end(q)) {
			q->sent_at = now;
			s->sent = q;
			s->next = qseg_next(q);
		}
	}
	/*
	 * RFC 6298 5.1: a running time-out is not put off by more data; a tail loss probe is (RFC 8985 7.2)
	 */
	if (sent && (s->tlp_armed || !timer_on(s, TIMER_RTX)))
		loss_rearm(e, s, now);
	if (s->next && s->next != s->hold && s->snd_una == s->snd_nxt) {
		if (!timer_on(s, TIMER_PERSIST)) {
			s->progress_at = now;
			timer_set(e, s, TIMER_PERSIST, now + RTO_FLOOR);
		}
	} else {
		timer_off(s, TIMER_PERSIST);
	}
}

/*
 * A probe as Linux sends it: an ACK one below SND.UNA, which no window can refuse to answer (RFC 9293
 * 3.8.6.1, without spending a byte).
 */
void output_window_probe(struct engine *e, struct session *s, uint64_t now)
{
	struct tx_segment t;

	if (now - s->progress_at > DATA_GIVE_UP && now - session_target(e, s)->last_heard > DATA_GIVE_UP) {
		session_end(e, s, OUTCOME_TARGET_SILENT, now);
		return;
	}
	if (usable_window(s)) { /* not shut, only smaller than a segment */
		send_new(e, s, true, now);
		return;
	}
	t = segment_start(s, TCPF_ACK, s->snd_una - 1, s->client_window, s->ts_emitted);
	t.ip_id = (uint16_t)(s->ip_id + 1);
	e->n.window_probes++;
	e->n.emitted_acks++;
	emit(e, s, &t);
	if (s->backoff < 6)
		s->backoff++;
	timer_set(e, s, TIMER_PERSIST, now + MIN(RTO_FLOOR << s->backoff, 2 * RTO_CAP_ALIVE));
}

uint32_t output_resend(struct engine *e, struct session *s, uint32_t seq, uint32_t max, uint64_t now)
{
	struct qseg *q = s->rec && s->rec->again && seq_le(s->rec->again->piece.seq, seq) ? s->rec->again
											  : session_head(s);
	uint32_t off, n;
	bool fin;

	(void)now;
	/* a repair goes forward, and begins at SND.UNA or at the end: no piece is passed twice in one */
	if (s->sent && seq_le(s->sent->piece.seq, seq))
		q = s->sent;
	while (q && seq_le(qseg_end(q), seq))
		q = qseg_next(q);
	assert(q && seq_ge(seq, q->piece.seq) && seq_lt(seq, s->snd_nxt));
	if (s->rec)
		s->rec->again = q;
	off = seq - q->piece.seq;
	if (s->trial && seq == s->snd_una) {
		max = MIN(max, PATH_LEAST_V4 - s->headers);
		s->trial_end = seq + max;
	}
	n = MIN(MIN(q->piece.len - off, max), s->snd_nxt - seq);
	loss_of_probe(e, s, seq, n);
	fin = q->piece.fin && off + n == q->piece.len && qseg_end(q) == s->snd_nxt;
	q->resent = true;
	e->n.retransmitted_segments++;
	emit_data(e, s, q, off, n, fin, true, s->mss);
	return n + (fin ? 1 : 0);
}

/* A window that the client has reopened is passed on, for its pure ACKs are not. */
static bool window_reopened(const struct session *s)
{
	uint32_t left = seq_gt(s->window_edge, s->rcv_nxt) ? s->window_edge - s->rcv_nxt : 0;
	uint32_t step = 2u * s->rcv_mss;

	return left < step && window_bytes(s, s->client_window) >= left + step;
}

static void acknowledge(struct engine *e, struct session *s, uint64_t now)
{
	bool due = s->ack_emitted != s->rcv_nxt;

	if (s->ack_now || (due && s->rcv_nxt - s->ack_emitted > s->rcv_mss) || window_reopened(s))
		output_ack(e, s, now);
	else if (due && !timer_on(s, TIMER_ACK))
		timer_set(e, s, TIMER_ACK, now + ACK_DELAY);
}

/*
 * The client reset the connection before the target's SYN-ACK came, or before anything proved that the online
 * server has it. If it had completed its handshake, the online server's application has been given the
 * connection, and the target's is, too.
 */
static void reset_early(struct engine *e, struct session *s, uint64_t now)
{
	if (!(s->events & EV_CLIENT_ACKED) || turn_rst_may_go(e, s, now))
		session_end(e, s, OUTCOME_CLIENT_RESET,
			    now); /* one that was cut has ended already, or has data */
	else
		turn_check(e, s, now); /* for its deadline */
}

void session_step(struct engine *e, struct session *s, uint64_t now)
{
	if (!(s->events & EV_STARTED) || s->events & EV_ENDED)
		return;
	if (!(s->events & EV_ESTABLISHED) || proof_needed(e, s)) {
		if (s->events & EV_CLIENT_RST && !s->stream.head && !s->doubts)
			reset_early(e, s, now);
		return;
	}
	if (timer_on(s, TIMER_RESET)) /* the target is there no longer */
		return;
	output_mtu(e, s);
	turn_check(e, s, now);
	if (s->events & EV_TARGET_FIN && handover(e, s, now))
		return;
	loss_send(e, s, now);
	send_new(e, s, false, now);
	if (s->events & (EV_CLIENT_RST | EV_CUT) && turn_rst_may_go(e, s, now)) {
		if (s->ack_emitted == s->irs) /* or the RST would come before the handshake is complete */
			output_ack(e, s, now);
		session_end(e, s, s->events & EV_CUT ? s->outcome : OUTCOME_CLIENT_RESET, now);
		return;
	}
	acknowledge(e, s, now);
	if (s->events & EV_FIN_ACKED && s->events & EV_TARGET_FIN)
		session_end(e, s, turn_unanswered(s) ? OUTCOME_UNANSWERED : OUTCOME_COMPLETE, now);
}
