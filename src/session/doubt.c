/*
 * Session engine: segments in doubt - theory of operation
 *
 * A segment that the judge would refuse may have been taken by the server all the same: capture may have
 * lost what came before it, or several capture sockets may have handed over what the server saw in another
 * order, or the server's window was smaller than it can be. Such a segment is put aside, a few a session
 * and for DOUBT_LIFE at most, until it is known:
 *
 * - The server's socket is asked how many bytes it has received in order. A segment whose last byte is
 *   among them, while no other segment has brought that byte, was taken. A socket that is gone took the
 *   RST.
 * - A RST that capture's progress makes exact was taken.
 * - Where the socket cannot be asked, data that fills the hole at RCV.NXT, with more of the client behind
 *   it, was taken: a client that the server has not heard would send it again first.
 *
 * What is still in doubt after that is refused.
 */
#include "session/impl.h"

#define MAX_DOUBTS 8 /* a session; a flood of them is a flood of forgeries */
#define DOUBT_LIFE (100 * NS_PER_MS)
#define DOUBT_ASK_AGAIN (10 * NS_PER_MS)
#define ASK_APART (500 * NS_PER_US) /* 2000 questions a second, and a burst of them: */
#define ASK_BURST 64
#define NOT_THERE_LIFE (1000 * NS_PER_MS) /* so long a connection without a socket is not asked about again */
#define SYNACK_FOLLOWS (3 * NS_PER_MS)  /* its ACK: another socket, perhaps a ring, is read a little later */
#define SERVER_HAS_SEEN (1 * NS_PER_MS) /* what was captured that long ago */

struct doubt {
	struct doubt *next;
	uint64_t until; /* ns */
	enum refusal why;
	uint32_t cost; /* bytes asked of the pool */
	struct segment g;
	uint8_t bytes[]; /* its options, then its payload */
};

void refuse_segment(struct engine *e, const struct segment *g, enum refusal why)
{
	e->n.refused[why]++;
	e->n.refused_bytes += g->captured;
}

static void doubt_free(struct engine *e, struct session *s, struct doubt **at)
{
	struct doubt *d = *at;

	*at = d->next;
	s->n_doubts--;
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

enum decision { STILL_IN_DOUBT, TAKE, REFUSE };

/* The socket is that of a connection that has begun after all that was captured of @s. */
static bool is_newer(const struct session *s, const struct online_answer *a)
{
	uint32_t received;

	if (a->word == ONLINE_GONE)
		return true;
	if (a->tcp_state == ONLINE_SYN_RECV && s->events & (EV_CLIENT_ACKED | EV_JOINED))
		return true;
	return question_received(s, a, &received) && seq_lt(received, s->stream.nxt);
}

/* @a: what the server's socket said, at the time @asked or later. @believe: what cannot be known is. */
static enum decision decide(const struct session *s, const struct doubt *d, const struct online_answer *a,
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
		if (word == ONLINE_UNKNOWN) /* its SYN-ACK may tell */
			return believe ? TAKE : expired ? REFUSE : STILL_IN_DOUBT;
		return seen || expired ? REFUSE : STILL_IN_DOUBT;
	}
	if (d->g.flags & TCPF_RST) {
		if (word == ONLINE_GONE ||
		    (word == ONLINE_UNKNOWN && d->why == REFUSAL_RST && judge_rst_is_exact(s, d->g.seq)))
			return TAKE;
		return expired || (word == ONLINE_THERE && seen) ? REFUSE : STILL_IN_DOUBT;
	}
	if (!seq_gt(end, s->stream.nxt))
		return REFUSE; /* it brings nothing */
	/* nobody took it; or we are late, and it tells nothing of what it took before it ended */
	if (word == ONLINE_GONE)
		return exact ? TAKE : REFUSE;
	if (counted && seq_ge(received, end))
		return TAKE;
	/* the server has come to where it begins, has seen it, and did not take it */
	if (counted && seq_ge(received, d->g.seq) && seen)
		return REFUSE;
	if (counted)
		return expired ? REFUSE : STILL_IN_DOUBT;
	if (!expired)
		return STILL_IN_DOUBT;
	if (exact)
		return TAKE;
	return seq_le(d->g.seq, s->stream.nxt) && session_has_hole(s) ? TAKE : REFUSE;
}

/* Of what came before the proof. *@why: the reason of a refusal. */
static enum decision decide_unproved(struct engine *e, struct session *s, const struct doubt *d,
				     const struct online_answer *a, uint64_t asked, enum decline *why,
				     uint64_t now)
{
	enum proof proof = session_observing(s) ? PROOF_UNKNOWN : proof_of_segment(s, &d->g);

	*why = DECLINE_NOT_THERE;
	if (!session_observing(s) && !proof_needed(e, s))
		return TAKE; /* one before it was the proof */
	if (proof != PROOF_UNKNOWN)
		return proof == PROOF_GIVEN ? TAKE : REFUSE;
	if (proof_by_state(a))
		return TAKE;
	if (a->word == ONLINE_GONE && asked >= d->g.time + SERVER_HAS_SEEN)
		return REFUSE;
	if (now < d->until)
		return STILL_IN_DOUBT;
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
		proof_found(e, s, now);
	client_segment(e, s, &d->g, now);
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

	if (a)
		said.word = unseen_believed(e, s, a);

	while (*at && !(s->events & EV_ENDED)) {
		struct doubt *d = *at;
		const bool unproved = d->why == REFUSAL_UNPROVED;
		enum decision decision = unproved ? decide_unproved(e, s, d, &said, asked, &why, now)
					 : a || now >= d->until
						 ? decide(s, d, a ? a : &unknown, believe, asked, now)
						 : STILL_IN_DOUBT;

		if (decision == STILL_IN_DOUBT) {
			at = &d->next;
			continue;
		}
		/* out of the list first: what it lets through may end the session, which drops the list */
		*at = d->next;
		s->n_doubts--;
		e->doubt_bytes -= d->g.captured;
		e->n.doubtful_taken += decision == TAKE;
		if (unproved && decision == TAKE)
			proved(e, s, d, now);
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
				  : MIN(s->doubts->until, now + DOUBT_ASK_AGAIN));
	}
}

void doubt_answered(struct engine *e, struct session *s, const struct online_answer *a, uint64_t asked,
		    uint64_t now)
{
	settle(e, s, a, asked, now);
}

/* So that a flood of claims costs a bounded time; they wait then. */
static bool may_ask(struct engine *e, uint64_t now)
{
	e->doubts_asked_until = MAX(e->doubts_asked_until, now - ASK_BURST * ASK_APART);
	if (e->doubts_asked_until > now)
		return false;
	e->doubts_asked_until += ASK_APART;
	return true;
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
	if (!may_ask(e, now))
		settle(e, s, NULL, now, now);
	else if (question_ask(e, s, ASKER_DOUBT, now))
		timer_set(e, s, TIMER_DOUBT, MAX(s->doubts->until, now + DOUBT_ASK_AGAIN));
	else
		settle(e, s, &(struct online_answer){ .word = ONLINE_UNKNOWN }, now, now);
}

void doubt_server_spoke(struct engine *e, struct session *s, uint64_t now)
{
	settle(e, s, NULL, now, now);
}

bool doubt_syn_answered(struct engine *e, struct session *s, uint32_t ack, uint64_t now)
{
	struct doubt **at = &s->doubts, *d;

	while (*at && ((*at)->why != REFUSAL_SYN || (*at)->g.seq + 1 != ack))
		at = &(*at)->next;
	d = *at;
	if (!d)
		return false;
	*at = d->next;
	s->n_doubts--;
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
