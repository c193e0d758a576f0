/*
 * Session engine: segments in doubt - theory of operation
 *
 * The server may have taken a segment that the judge would refuse: capture may have lost what came before
 * it, several capture sockets may have handed over what the server saw in another order, or the server's
 * window was smaller than it can be. The engine puts such a segment aside, a few for each session and for
 * DOUBT_LIFE at most, until it knows:
 *
 * - The server's socket is asked how many bytes it has received in order. A segment whose last byte is
 *   among them, while no other segment has brought that byte, was taken. Where the server has more, another
 *   one may have brought it that is on its way to us, so that is waited for. A socket that is gone took the
 *   RST, if nothing more of the client comes.
 * - Where the socket is not there or cannot be asked, a RST that capture's progress makes exact was taken.
 *   So was data at RCV.NXT of which only the ack is doubtful: whoever hits RCV.NXT is the client, and
 *   capture has lost some of its ACKs.
 * - Where it cannot be asked, data that fills the hole at RCV.NXT, with more of the client behind it, was
 *   taken: a client that the server has not heard would send it again first.
 *
 * What is still in doubt after that is refused.
 *
 * Segments of which it is not known whether the server has their connection at all wait here, too, for its
 * SYN-ACK or its socket (proof.c). An observed connection that has more of them than there is room for is
 * joined at a later turn.
 */
#include "session/impl.h"
#include "session/memory.h"

#define MAX_DOUBTS 8 /* a session; a flood of them is a flood of forgeries */
#define DOUBT_LIFE (100 * NS_PER_MS)
#define DOUBT_ASK_AGAIN (10 * NS_PER_MS)
#define ASK_APART (50 * NS_PER_US) /* 20,000 questions a second, and a burst of them: */
#define ASK_BURST 256
#define SILENT_MOST (20 * NS_PER_MS)      /* what the kernel's clock of a socket's silence may be wrong by */
#define NOT_THERE_LIFE (1000 * NS_PER_MS) /* so long a connection without a socket is not asked about again */
#define SYNACK_FOLLOWS (3 * NS_PER_MS)  /* its ACK: another socket, perhaps a ring, is read a little later */
#define SERVER_HAS_SEEN (1 * NS_PER_MS) /* what was captured that long ago */
#define BROUGHT_WITHIN (5 * NS_PER_MS)  /* to us, what the server has; before a hole is asked about */

struct doubt {
	struct doubt *next;
	uint64_t until;  /* ns */
	uint64_t had_at; /* ns, since when the server is known to have its last byte; 0: it is not */
	enum refusal why;
	uint32_t cost;        /* bytes asked of the pool */
	bool changed_nothing; /* the server has seen it, and its handshake was incomplete as before */
	struct segment g;
	uint8_t bytes[]; /* its options, then its payload */
};

void refuse_segment(struct engine *e, const struct segment *g, enum refusal why)
{
	e->n.refused[why]++;
	e->n.refused_bytes += g->captured;
}

/* @more bytes are put aside, or fewer. */
static void aside(struct session *s, int64_t more)
{
	s->aside = (uint32_t)(s->aside + more);
	memory_changed(s);
}

static void doubt_free(struct engine *e, struct session *s, struct doubt **at)
{
	struct doubt *d = *at;

	*at = d->next;
	s->n_doubts--;
	aside(s, -(int64_t)d->cost);
	e->doubt_bytes -= d->g.captured;
	pool_put(e->pool, d, d->cost);
	if (!s->doubts)
		timer_off(s, TIMER_DOUBT);
}

void doubt_put(struct engine *e, struct session *s, const struct segment *g, enum refusal why, uint64_t now)
{
	uint32_t cost = (uint32_t)sizeof(struct doubt) + g->raw_options_len + g->captured;
	struct doubt *d = s->n_doubts < MAX_DOUBTS ? pool_get(e->pool, cost) : NULL, **last = &s->doubts;

	if (!d) {
		refuse_segment(e, g, why);
		return;
	}
	*d = (struct doubt){ .until = now + DOUBT_LIFE, .why = why, .cost = cost, .g = *g };
	d->g.raw_options = d->bytes;
	d->g.payload = d->bytes + g->raw_options_len;
	if (g->raw_options_len)
		memcpy(d->bytes, g->raw_options, g->raw_options_len);
	if (g->captured)
		memcpy(d->bytes + g->raw_options_len, g->payload, g->captured);
	while (*last)
		last = &(*last)->next;
	*last = d;
	s->n_doubts++;
	aside(s, d->cost);
	e->doubt_bytes += g->captured;
	e->n.doubtful++;
	doubt_check(e, s, now);
}

bool doubt_room(const struct session *s)
{
	return s->n_doubts < MAX_DOUBTS;
}

void doubt_pass(struct engine *e, struct session *s, uint64_t now)
{
	struct doubt *list = s->doubts, *d;

	s->doubts = NULL;
	s->n_doubts = 0;
	aside(s, -(int64_t)s->aside);
	timer_off(s, TIMER_DOUBT);
	question_withdraw(e, s, ASKER_DOUBT);
	while ((d = list)) {
		list = d->next;
		e->doubt_bytes -= d->g.captured;
		client_observed(e, s, &d->g, DECLINE_MIDDLE, now);
		pool_put(e->pool, d, d->cost);
	}
}

void doubt_drop(struct engine *e, struct session *s)
{
	while (s->doubts) {
		refuse_segment(e, &s->doubts->g, s->doubts->why);
		doubt_free(e, s, &s->doubts);
	}
}

/* FORGED: and nothing is learned of it. OLDER: the socket is that of a connection older than the SYN. */
enum decision { STILL_IN_DOUBT, TAKE, REFUSE, FORGED, OLDER };

/* The socket is that of a connection that has begun after all that was captured of @s. */
static bool is_newer(const struct session *s, const struct online_answer *a)
{
	uint32_t received;

	/* the SYN-ACKs of this server are captured: without one it took no SYN, whatever has ended since */
	if (a->word == ONLINE_GONE)
		return !s->has_server_irs;
	if (a->tcp_state == ONLINE_SYN_RECV && s->events & (EV_CLIENT_ACKED | EV_JOINED))
		return true;
	return question_received(s, a, &received) && seq_lt(received, s->stream.nxt);
}

/* @a: what the server's socket said, at the time @asked or later. @believe: what cannot be known is. */
static enum decision decide(const struct session *s, struct doubt *d, const struct online_answer *a,
			    bool believe, uint64_t asked, uint64_t now)
{
	uint32_t end = d->g.seq + segment_seq_len(&d->g), received;
	bool expired = now >= d->until, seen = asked >= d->g.time + SERVER_HAS_SEEN;
	bool counted = question_received(s, a, &received);
	/* whoever hits RCV.NXT exactly is the client, and capture has lost some of its ACKs */
	bool exact = d->why == REFUSAL_ACK && d->g.seq == s->stream.nxt;
	enum online_word word = a->word;

	if (d->why == REFUSAL_SYN) {
		if (is_newer(s, a))
			return TAKE;
		if (word != ONLINE_THERE) /* its SYN-ACK may tell */
			return believe && !s->has_server_irs ? TAKE : expired ? REFUSE : STILL_IN_DOUBT;
		return seen || expired ? REFUSE : STILL_IN_DOUBT;
	}
	if (d->g.flags & TCPF_RST) {
		if (word != ONLINE_THERE && d->why == REFUSAL_RST && judge_rst_is_exact(s, d->g.seq))
			return TAKE;
		/* the connection has ended, but not by this if its client went on: we are late */
		if (word == ONLINE_GONE && expired && s->captured_last <= d->g.time)
			return TAKE;
		return expired || (word == ONLINE_THERE && seen) ? REFUSE : STILL_IN_DOUBT;
	}
	if (!seq_gt(end, s->stream.nxt))
		return REFUSE; /* it brings nothing */
	if (!d->had_at && counted && seq_ge(received, end))
		d->had_at = now;
	/* the server has that and no more; or it has more, which may be what another one brought instead */
	if (d->had_at && ((counted && received == end) || s->captured_last > d->had_at ||
			  now >= d->had_at + BROUGHT_WITHIN))
		return TAKE;
	if (d->had_at)
		return expired ? TAKE : STILL_IN_DOUBT;
	/* nobody took it; or we are late, and it tells nothing of what it took before it ended */
	if (word == ONLINE_GONE)
		return exact ? TAKE : REFUSE;
	/* the server has come to where it begins, has seen it, and did not take it */
	if (counted && seq_ge(received, d->g.seq) && seen)
		return REFUSE;
	if (counted)
		return expired ? REFUSE : STILL_IN_DOUBT;
	if (exact)
		return TAKE;
	if (!expired)
		return STILL_IN_DOUBT;
	return seq_le(d->g.seq, s->stream.nxt) && session_has_hole(s) ? TAKE : REFUSE;
}

/* Are there segments of two streams in doubt, one of them forged? */
static bool of_two_streams(const struct session *s)
{
	for (const struct doubt *d = s->doubts, *n; d && (n = d->next); d = n)
		if (n->g.seq - d->g.seq > segment_seq_len(&d->g))
			return true;
	return false;
}

/*
 * The server has completed a handshake on this tuple. With this SYN? And did this segment come of it: the
 * server has sent what it acknowledges?
 */
static enum decision of_connection(const struct session *s, const struct doubt *d,
				   const struct online_answer *a, bool seen)
{
	if (!s->has_server_irs)
		return d->g.seq - (s->iss + 1) < s->judge.window ? TAKE : OLDER;
	if (a->has_received && a->acked < d->g.ack - (s->server_irs + 1))
		return seen ? REFUSE : STILL_IN_DOUBT;
	return TAKE;
}

/* The data of a SYN: its SYN-ACK says whether the server took it (RFC 7413 4.2). */
static enum decision of_syn(const struct engine *e, const struct session *s, bool expired)
{
	if (s->has_server_irs)
		return s->syn_data_taken ? TAKE : REFUSE;
	return !expired ? STILL_IN_DOUBT : e->cfg.unproved ? TAKE : REFUSE;
}

/* Of what came before the proof. *@why: the reason of a refusal. */
static enum decision decide_unproved(struct engine *e, struct session *s, struct doubt *d,
				     const struct online_answer *a, uint64_t asked, enum decline *why,
				     uint64_t now)
{
	const bool seen = asked >= d->g.time + SERVER_HAS_SEEN;
	enum refusal refusal;
	enum proof proof;

	*why = DECLINE_NOT_THERE;
	if (session_observing(s)) {
		/*
		 * something has come of late, which may be this; not at once, as the server may be busy with
		 * the socket
		 */
		if (proof_by_state(a))
			return a->silent * NS_PER_MS <= asked - d->g.time + SILENT_MOST ? TAKE
			       : asked >= d->g.time + DOUBT_ASK_AGAIN                   ? FORGED
											: STILL_IN_DOUBT;
	} else {
		if (!(d->g.flags & TCPF_ACK))
			return of_syn(e, s, now >= d->until);
		if (!proof_needed(e, s))
			return d->changed_nothing || proof_is_undone(s, &d->g) ? REFUSE : TAKE;
		if (seen && a->word == ONLINE_THERE && a->tcp_state == ONLINE_SYN_RECV)
			d->changed_nothing = true;
		proof = proof_of_segment(s, &d->g);
		if (proof != PROOF_UNKNOWN)
			return proof == PROOF_GIVEN ? TAKE : REFUSE;
		if (proof_by_state(a))
			return of_connection(s, d, a, seen);
	}
	if (a->word == ONLINE_GONE && seen)
		return REFUSE;
	if (now < d->until)
		return STILL_IN_DOUBT;
	/* it acknowledges the ISN; what came before it was lost to capture */
	if (!session_observing(s) && a->word == ONLINE_UNKNOWN && s->has_server_irs &&
	    d->g.ack == s->server_irs + 1 && judge_segment(s, &d->g, &refusal) == VERDICT_TAKEN)
		return TAKE;
	if (e->cfg.unproved) {
		e->n.sessions_unproved++;
		return TAKE;
	}
	if (a->word != ONLINE_GONE)
		*why = DECLINE_UNPROVED;
	return REFUSE;
}

/* @d, taken out of the list of @s, is proved: it goes the way that it would have gone without a doubt. */
static void proved(struct engine *e, struct session *s, struct doubt *d, uint64_t now)
{
	if (session_observing(s)) {
		s->joinable = true;
		session_target(e, s)->proofs.found++;
		client_observe(e, s, &d->g, now);
		return;
	}
	if (proof_needed(e, s))
		proof_found(e, s, d->g.time, now);
	if (d->g.flags & TCPF_ACK)
		client_segment(e, s, &d->g, now);
	else
		client_syn_data(e, s, &d->g, now);
}

/*
 * @d, taken out of the list of @s, came of a connection that the server has not, or cannot be shown to
 * have.
 */
static void not_proved(struct engine *e, struct session *s, struct doubt *d, enum decline why, uint64_t now)
{
	session_target(e, s)->proofs.missing += why == DECLINE_UNPROVED;
	if (!session_observing(s)) {
		refuse_segment(e, &d->g, d->why);
		return;
	}
	session_declined(e, &s->key, why, now);
	s->rejoin_after = now + NOT_THERE_LIFE;
	client_observed(e, s, &d->g, why, now);
	timer_set(e, s, TIMER_LIFE, now + NOT_THERE_LIFE);
}

/* @d, taken out of the list of @s, came on a connection that exists, but not of its client. */
static void forged(struct engine *e, struct session *s, const struct doubt *d, uint64_t now)
{
	session_declined(e, &s->key, DECLINE_NOT_THERE, now);
	client_unjoined(e, &d->g, DECLINE_NOT_THERE);
	timer_set(e, s, TIMER_LIFE, now + OBSERVE_LIFE);
}

/* Somebody else sent the SYN of @s; what is in doubt came of a connection that is older. */
static void of_older(struct engine *e, struct session *s, uint64_t now)
{
	struct doubt *list = s->doubts, *d;
	struct session *o;

	s->doubts = NULL;
	s->n_doubts = 0;
	aside(s, -(int64_t)s->aside);
	timer_off(s, TIMER_DOUBT);
	session_end(e, s, OUTCOME_HALF_OPEN, now);
	o = flow_table_find(e->flows, &s->key) == s ? session_observe_again(e, s, true, now) : NULL;
	if (o) {
		o->captured_last = 0;
		o->has_turn_ack = false;
		o->rejoins = 0;
	}
	while ((d = list)) {
		list = d->next;
		e->doubt_bytes -= d->g.captured;
		if (o && flow_table_find(e->flows, &o->key) == o && session_observing(o))
			client_observe(e, o, &d->g, now);
		else
			client_unjoined(e, &d->g, DECLINE_MIDDLE);
		pool_put(e->pool, d, d->cost);
	}
}

/*
 * Decide what can be decided by @a, and when to ask again. NULL: no answer has come; the time of some may
 * be over.
 */
static void settle(struct engine *e, struct session *s, const struct online_answer *a, uint64_t asked,
		   uint64_t now)
{
	static const struct online_answer unknown = { .word = ONLINE_UNKNOWN };
	const bool believe = !e->cfg.prove || e->cfg.unproved;
	const uint64_t id = s->id;
	struct doubt **at = &s->doubts;
	struct online_answer said = a ? *a : unknown;
	enum decline why = DECLINE_UNPROVED;
	bool two;

	if (a)
		said.word = unseen_believed(e, s, a, asked);

	/* which of them is the client's, the socket cannot tell */
	two = session_observing(s) && proof_by_state(&said) && of_two_streams(s);
	while (*at && !(s->events & EV_ENDED)) {
		struct doubt *d = *at;
		const bool unproved = d->why == REFUSAL_UNPROVED;
		const bool known = a || d->had_at || now >= d->until;
		enum decision decision = two        ? FORGED
					 : unproved ? decide_unproved(e, s, d, &said, asked, &why, now)
					 : known    ? decide(s, d, &said, believe, asked, now)
						    : STILL_IN_DOUBT;

		if (decision == STILL_IN_DOUBT) {
			at = &d->next;
			continue;
		}
		if (decision == OLDER) {
			of_older(e, s, now);
			return;
		}
		/* out of the list first: what it lets through may end the session, which drops the list */
		*at = d->next;
		s->n_doubts--;
		aside(s, -(int64_t)d->cost);
		e->doubt_bytes -= d->g.captured;
		e->n.doubtful_taken += decision == TAKE;
		if (unproved && decision == TAKE)
			proved(e, s, d, now);
		else if (decision == FORGED)
			forged(e, s, d, now);
		else if (unproved)
			not_proved(e, s, d, why, now);
		else if (decision == TAKE)
			client_taken(e, s, &d->g, now);
		else
			refuse_segment(e, &d->g, d->why);
		pool_put(e->pool, d, d->cost);
		if (session_by_id(e, id) != s)
			return;
		at = &s->doubts; /* those before it may follow now */
	}
	if (!s->doubts) {
		timer_off(s, TIMER_DOUBT);
		question_withdraw(e, s, ASKER_DOUBT);
	} else if (!a) {
		timer_set(e, s, TIMER_DOUBT,
			  question_is_open(s, ASKER_DOUBT) ? s->doubts->until
							   : MIN(s->doubts->until, now + DOUBT_ASK_AGAIN));
	} else {
		timer_set(e, s, TIMER_DOUBT,
			  now < s->doubts->g.time + SERVER_HAS_SEEN
				  ? s->doubts->g.time + SERVER_HAS_SEEN
				  : MIN(s->doubts->until,
					now + (s->doubts->had_at ? BROUGHT_WITHIN : DOUBT_ASK_AGAIN)));
	}
}

void doubt_answered(struct engine *e, struct session *s, const struct online_answer *a, uint64_t asked,
		    uint64_t now)
{
	settle(e, s, a, asked, now);
}

void doubt_check(struct engine *e, struct session *s, uint64_t now)
{
	if (!s->doubts || question_is_open(s, ASKER_DOUBT))
		return;
	/* its SYN-ACK is on its way to us, and comes for nothing */
	if (proof_needed(e, s) && !session_observing(s) &&
	    now < s->doubts->until - DOUBT_LIFE + SYNACK_FOLLOWS) {
		settle(e, s, NULL, now, now);
		if (s->doubts)
			timer_set(e, s, TIMER_DOUBT, s->doubts->until - DOUBT_LIFE + SYNACK_FOLLOWS);
		return;
	}
	/* a flood of claims costs a bounded time; they wait then */
	if (!budget_spend(&e->doubt_questions, now, ASK_APART, ASK_BURST))
		settle(e, s, NULL, now, now);
	else if (question_ask(e, s, ASKER_DOUBT, now))
		timer_set(e, s, TIMER_DOUBT, MAX(s->doubts->until, now + DOUBT_ASK_AGAIN));
	else
		settle(e, s, &(struct online_answer){ .word = ONLINE_UNKNOWN }, now, now);
}

bool doubt_proved(struct engine *e, struct session *s, uint64_t now)
{
	const uint64_t id = s->id;

	settle(e, s, NULL, now, now);
	return session_by_id(e, id) == s && !(s->events & EV_ENDED);
}

bool doubt_make_room(struct engine *e, struct session *s, uint64_t now)
{
	for (struct doubt *d = s->doubts; d; d = d->next)
		if (d->had_at)
			d->had_at = 1;
	return doubt_proved(e, s, now);
}

void doubt_server_spoke(struct engine *e, struct session *s, uint64_t now)
{
	settle(e, s, NULL, now, now);
}

bool doubt_syn_answered(struct engine *e, struct session *s, uint32_t ack, uint64_t now)
{
	struct doubt **at = &s->doubts, *d;

	while (*at && ((*at)->why != REFUSAL_SYN ||
		       ((*at)->g.seq + 1 != ack && (*at)->g.seq + 1 + (*at)->g.len != ack)))
		at = &(*at)->next;
	d = *at;
	if (!d)
		return false;
	*at = d->next;
	s->n_doubts--;
	aside(s, -(int64_t)d->cost);
	e->doubt_bytes -= d->g.captured;
	e->n.doubtful_taken++;
	client_taken(e, s, &d->g, now);
	pool_put(e->pool, d, d->cost);
	return true;
}

/* TIMER_DOUBT fired. */
void doubt_timeout(struct engine *e, struct session *s, uint64_t now)
{
	if (question_is_open(s, ASKER_DOUBT))
		settle(e, s, NULL, now, now);
	else
		doubt_check(e, s, now);
}
