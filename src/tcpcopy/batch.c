/*
 * Batches of captured segments and of responses - theory of operation
 *
 * With many sessions each segment finds the memory of its session cold: hash bucket, session and timer lie
 * in three places, and each waits for the one before. So segments are collected, and the memory of all of
 * them is asked for, one step of the chain after the other, before the first one is handed to the engine:
 * the waits of a batch overlap. A response finds its session by number, which lies cold as well, and so do
 * the turns that wait in it where the target is behind. Where both are captured on this host they are in
 * one batch, in the order of capture, for a request may be released by the response before it.
 *
 * The online server's SYN-ACKs come by another socket. Each is given behind the SYN that it answers, which
 * has just opened its session, or, if that was in another batch, ahead of what was captured later, such as
 * the client's ACK, whose memory has been asked for: so it finds all of it there. For the engine it may
 * also come ahead of its SYN; then it has to be kept for that, in a place that is cold. What the engine
 * asks about a SYN is answered after its SYN-ACK, which knows better whose socket is there.
 *
 * The answers of the online server come by the same socket, and are given ahead of what was captured after
 * them, for they are told from others by what the client had sent and read until then.
 */
#include "tcpcopy/batch.h"

#include <string.h>

#include "base/util.h"

#define WORTH_IT 3 /* so few segments do not wait for each other */

static struct batch_server *server_at(struct batch *b, unsigned i)
{
	return &b->server[(b->server_first + i) % BATCH_SERVER_MOST];
}

static bool answers(const struct batch_server *s, const struct batch_entry *syn)
{
	return !s->given && s->key.target == syn->key.target && s->key.copy == syn->key.copy &&
	       endpoint_eq(&s->key.client, &syn->key.client) && endpoint_eq(&s->key.online, &syn->key.online);
}

/* Give the SYN-ACK that answers @syn, with or without its data, if it has come. */
static void run_answer(struct batch *b, const struct batch_entry *syn, struct engine *e, uint64_t now)
{
	const uint32_t ack = syn->segment.seq + 1;

	for (unsigned i = 0; i < b->n_server; i++) {
		const uint32_t beyond = b->server_ack[(b->server_first + i) % BATCH_SERVER_MOST] - ack;
		struct batch_server *s = server_at(b, i);

		if ((beyond && beyond != syn->segment.len) || !answers(s, syn))
			continue;
		s->given = true;
		engine_server(e, &s->key, &s->segment, now);
	}
}

static struct batch_answer *answer_at(struct batch *b, unsigned i)
{
	return &b->answer[(b->answer_first + i) % BATCH_ANSWERS_MOST];
}

/* Give the answers of the online server that were captured before @time. */
static void run_answers_until(struct batch *b, uint64_t time, struct engine *e, uint64_t now)
{
	for (; b->n_answers && answer_at(b, 0)->segment.time <= time; b->n_answers--) {
		struct batch_answer *x = answer_at(b, 0);

		x->segment.payload = x->first;
		engine_server(e, &x->key, &x->segment, now);
		b->answer_first = (b->answer_first + 1) % BATCH_ANSWERS_MOST;
	}
}

void batch_run(struct batch *b, struct engine *e, struct answers *a, uint64_t now)
{
	uint32_t hint[BATCH_MOST];

	if (b->n >= WORTH_IT) {
		for (unsigned i = 0; i < b->n; i++)
			if (b->entry[i].is_response)
				engine_prefetch_response(e, b->entry[i].response.id);
			else
				hint[i] = engine_prefetch(e, &b->entry[i].key);
		for (unsigned i = 0; i < b->n; i++)
			if (b->entry[i].is_response)
				engine_prefetch_turn(e, b->entry[i].response.id);
			else
				engine_prefetch_session(e, hint[i]);
		for (unsigned i = 0; i < b->n; i++)
			if (b->entry[i].is_response)
				engine_prefetch_turn_after(e, b->entry[i].response.id);
			else
				engine_prefetch_timer(e, hint[i]);
	}
	for (unsigned i = 0; i < b->n; i++) {
		const struct batch_entry *x = &b->entry[i];

		if (x->is_response) {
			engine_response(e, &x->response, now);
		} else {
			while (b->n_server && b->server[b->server_first].segment.time <= x->segment.time)
				batch_run_server(b, 1, e, a, now);
			if (b->n_answers)
				run_answers_until(b, x->segment.time, e, now);
			engine_captured(e, &x->key, &x->segment, now);
			if (x->segment.flags & TCPF_SYN)
				run_answer(b, x, e, now);
		}
		answers_give(a, e, now);
	}
	b->n = 0;
}

void batch_run_server(struct batch *b, unsigned n, struct engine *e, struct answers *a, uint64_t now)
{
	for (; n && b->n_server; n--, b->n_server--) {
		const struct batch_server *x = &b->server[b->server_first];

		b->server_first = (b->server_first + 1) % BATCH_SERVER_MOST;
		if (x->given)
			continue;
		engine_server(e, &x->key, &x->segment, now);
		answers_give(a, e, now);
	}
}

bool batch_add(struct batch *b, const struct flow_key *k, const struct segment *s)
{
	struct batch_entry *x = &b->entry[b->n++];

	x->is_response = false;
	x->key = *k;
	x->segment = *s;
	return b->n == BATCH_MOST;
}

bool batch_add_response(struct batch *b, const struct response *r)
{
	struct batch_entry *x = &b->entry[b->n++];

	x->is_response = true;
	x->response = *r;
	return b->n == BATCH_MOST;
}

bool batch_add_server(struct batch *b, const struct flow_key *k, const struct segment *s)
{
	struct batch_server *x = server_at(b, b->n_server);

	if (b->n_server == BATCH_SERVER_MOST)
		return false;
	b->n_server++;
	b->server_ack[x - b->server] = s->ack;
	x->key = *k;
	x->segment = *s;
	x->given = false;
	x->segment.payload = x->segment.raw_options = NULL;
	x->segment.captured = x->segment.raw_options_len = 0;
	return true;
}

void batch_add_answer(struct batch *b, const struct flow_key *k, const struct segment *s)
{
	struct batch_answer *x;

	if (b->n_answers == BATCH_ANSWERS_MOST) {
		b->answer_first = (b->answer_first + 1) % BATCH_ANSWERS_MOST;
		b->n_answers--;
	}
	x = answer_at(b, b->n_answers++);
	x->key = *k;
	x->segment = *s;
	x->segment.captured = MIN(s->captured, sizeof(x->first));
	if (x->segment.captured)
		memcpy(x->first, s->payload, x->segment.captured);
	x->segment.payload = x->segment.raw_options = NULL;
	x->segment.raw_options_len = 0;
}

bool batch_server_after(const struct batch *b, uint64_t time)
{
	const unsigned last = (b->server_first + b->n_server - 1) % BATCH_SERVER_MOST;

	return b->n_server && b->server[last].segment.time > time;
}
