/*
 * Batches of captured segments and of responses - theory of operation
 *
 * With many sessions each segment finds the memory of its session cold: hash bucket, session and timer lie in
 * three places, and each waits for the one before. So segments are collected, and the memory of all of them
 * is asked for, one step of the chain after the other, before the first one is handed to the engine: the
 * waits of a batch overlap. A response finds its session by number, which lies cold as well, and so do the
 * turns that wait in it where the target is behind. Where both are captured on this host they are in one
 * batch, in the order of capture, for a request may be released by the response before it.
 */
#include "tcpcopy/batch.h"

#define WORTH_IT 3 /* so few segments do not wait for each other */

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

		if (x->is_response)
			engine_response(e, &x->response, now);
		else
			engine_captured(e, &x->key, &x->segment, now);
		answers_give(a, e, now);
	}
	b->n = 0;
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
