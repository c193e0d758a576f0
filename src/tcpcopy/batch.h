#ifndef TCPCOPY_BATCH_H
#define TCPCOPY_BATCH_H

#include "io/capture/source.h"
#include "session/session.h"
#include "tcpcopy/answers.h"

#define RESPONSES_MOST 64

/* Captured segments and responses on their way to the engine; see batch.c. */
struct batch {
	unsigned n;
	struct flow_key key[SOURCE_TAKE_MOST];
	struct segment segment[SOURCE_TAKE_MOST];
	unsigned n_responses;
	struct response response[RESPONSES_MOST];
};

/*
 * Add the captured segment *s with the key *k. *s is copied; its payload is not, and must stay until
 * batch_run(). Returns true if the batch is now full, which several rules for one packet can cause: call
 * batch_run().
 */
bool batch_add(struct batch *b, const struct flow_key *k, const struct segment *s);

/*
 * Give all segments to the engine, in order. What the engine asks at one segment is answered before the next.
 * @now: ns.
 */
void batch_run(struct batch *b, struct engine *e, struct answers *a, uint64_t now);

/* Add the response *r, which is copied. Returns true if the batch is now full: call batch_run_responses(). */
bool batch_add_response(struct batch *b, const struct response *r);

/* Give all responses to the engine, in order, and answer what it asks. @now: ns. */
void batch_run_responses(struct batch *b, struct engine *e, struct answers *a, uint64_t now);

#endif
