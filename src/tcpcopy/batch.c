/*
 * Batches of captured segments and of responses - theory of operation
 *
 * With many sessions each segment finds the memory of its session cold: hash bucket, session and timer lie
 * in three places, and each waits for the one before. So segments are collected, and the memory of all of
 * them is asked for, one step of the chain after the other, before the first one is handed to the engine:
 * the waits of a batch overlap. A response finds its session by number, which lies cold as well. The order of
 * segments stays as it was, and so does that of responses.
 */
#include "tcpcopy/batch.h"

#define WORTH_IT 3 /* so few segments do not wait for each other */

void batch_run(struct batch *b, struct engine *e, struct answers *a, uint64_t now)
{
	uint32_t hint[SOURCE_TAKE_MOST];

	if (b->n >= WORTH_IT) {
		for (unsigned i = 0; i < b->n; i++)
			hint[i] = engine_prefetch(e, &b->key[i]);
		for (unsigned i = 0; i < b->n; i++)
			engine_prefetch_session(e, hint[i]);
		for (unsigned i = 0; i < b->n; i++)
			engine_prefetch_timer(e, hint[i]);
	}
	for (unsigned i = 0; i < b->n; i++) {
		engine_captured(e, &b->key[i], &b->segment[i], now);
		answers_give(a, e, now);
	}
	b->n = 0;
}

bool batch_add(struct batch *b, const struct flow_key *k, const struct segment *s)
{
	b->key[b->n] = *k;
	b->segment[b->n++] = *s;
	return b->n == SOURCE_TAKE_MOST;
}

void batch_run_responses(struct batch *b, struct engine *e, struct answers *a, uint64_t now)
{
	for (unsigned i = 0; i < b->n_responses && b->n_responses >= WORTH_IT; i++)
		engine_prefetch_response(e, b->response[i].id);
	for (unsigned i = 0; i < b->n_responses; i++) {
		engine_response(e, &b->response[i], now);
		answers_give(a, e, now);
	}
	b->n_responses = 0;
}

bool batch_add_response(struct batch *b, const struct response *r)
{
	b->response[b->n_responses++] = *r;
	return b->n_responses == RESPONSES_MOST;
}
