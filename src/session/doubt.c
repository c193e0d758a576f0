/*
 * Session engine: segments in doubt - theory of operation
 *
 * A segment that the judge would refuse may have been taken by the server all the same: capture may have lost
 * what came before it, or several capture sockets may have handed over what the server saw in another order,
 * or the server's window was smaller than it can be. Such a segment is put aside, a few a session and for
 * DOUBT_LIFE at most, until it is known:
 *
 * - The server's socket is asked how many bytes it has received in order. A segment whose last byte is among
 *   them, while nobody else has brought that byte, was taken. A socket that is gone took the RST.
 * - A RST that capture's progress makes exact was taken.
 * - Where the socket cannot be asked, data that fills the hole at RCV.NXT, with more of the client behind it,
 *   was taken: a client that the server has not heard would send it again first.
 *
 * What is still in doubt then is refused. A client that wrongs itself gets what the server gave it; one that
 * lies about somebody else's connection gets nothing.
 */
#include "session/impl.h"

#define MAX_DOUBTS 8 /* a session; a flood of them is a flood of forgeries */
#define DOUBT_LIFE (100 * NS_PER_MS)
#define DOUBT_ASK_AGAIN (10 * NS_PER_MS)
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

/* @a: what the server's socket said, at the time @asked or later. */
static enum decision decide(const struct session *s, const struct doubt *d, const struct online_answer *a,
			    uint64_t asked, uint64_t now)
{
	uint32_t end = d->g.seq + segment_seq_len(&d->g), received;
	bool expired = now >= d->until, seen = asked >= d->g.time + SERVER_HAS_SEEN;
	bool counted = question_received(s, a, &received);
	enum online_word word = a->word;

	if (d->why == REFUSAL_SYN) {
		if (word == ONLINE_UNKNOWN || is_newer(s, a))
			return TAKE;
		return seen || expired ? REFUSE : STILL_IN_DOUBT;
	}
	if (d->g.flags & TCPF_RST) {
		if (word == ONLINE_GONE ||
		    (word == ONLINE_UNKNOWN && d->why == REFUSAL_RST && judge_rst_is_exact(s, d->g.seq)))
			return TAKE;
		return expired || (word == ONLINE_THERE && seen) ? REFUSE : STILL_IN_DOUBT;
	}
	if (!seq_gt(end, s->stream.nxt) || word == ONLINE_GONE)
		return REFUSE; /* it brings nothing, or nobody took it */
	if (counted && seq_ge(received, end))
		return TAKE;
	/* the server has come to where it begins, has seen it, and did not take it */
	if (counted && seq_ge(received, d->g.seq) && seen)
		return REFUSE;
	if (counted)
		return expired ? REFUSE : STILL_IN_DOUBT;
	if (!expired)
		return STILL_IN_DOUBT;
	return seq_le(d->g.seq, s->stream.nxt) && session_has_hole(s) ? TAKE : REFUSE;
}

/*
 * Decide what can be decided by @a, and when to ask again. NULL: no answer has come; the time of some may be
 * over.
 */
static void settle(struct engine *e, struct session *s, const struct online_answer *a, uint64_t asked,
		   uint64_t now)
{
	static const struct online_answer unknown = { .word = ONLINE_UNKNOWN };
	struct doubt **at = &s->doubts;

	while (*at && !(s->events & EV_ENDED)) {
		struct doubt *d = *at;
		enum decision decision = STILL_IN_DOUBT;

		if (a || now >= d->until)
			decision = decide(s, d, a ? a : &unknown, asked, now);
		switch (decision) {
		case TAKE:
			/*
			 * out of the list first: what it lets through may end the session, which drops the
			 * list
			 */
			*at = d->next;
			s->n_doubts--;
			e->doubt_bytes -= d->g.captured;
			e->n.doubtful_taken++;
			client_taken(e, s, &d->g, now);
			pool_put(e->pool, d, d->cost);
			at = &s->doubts; /* those before it may follow now */
			break;
		case REFUSE:
			refuse_segment(e, &d->g, d->why);
			doubt_free(e, s, at);
			break;
		case STILL_IN_DOUBT:
			at = &d->next;
			break;
		}
	}
	if (!s->doubts) {
		timer_off(s, TIMER_DOUBT);
		question_withdraw(e, s, ASKER_DOUBT);
	} else if (!a) {
		timer_set(e, s, TIMER_DOUBT, s->doubts->until);
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

void doubt_check(struct engine *e, struct session *s, uint64_t now)
{
	if (!s->doubts || question_is_open(s, ASKER_DOUBT))
		return;
	if (question_ask(e, s, ASKER_DOUBT, now))
		timer_set(e, s, TIMER_DOUBT, MAX(s->doubts->until, now + DOUBT_ASK_AGAIN));
	else
		settle(e, s, &(struct online_answer){ .word = ONLINE_UNKNOWN }, now, now);
}

/* TIMER_DOUBT fired. */
void doubt_timeout(struct engine *e, struct session *s, uint64_t now)
{
	if (question_is_open(s, ASKER_DOUBT))
		settle(e, s, NULL, now, now);
	else
		doubt_check(e, s, now);
}
