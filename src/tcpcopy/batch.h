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

/* @s is copied, its payload not: that must stay until batch_run(). */
void batch_add(struct batch *b, struct engine *e, struct answers *a, const struct flow_key *k,
	       const struct segment *s, uint64_t now);

/*
 * Give all of it to the engine, in order; what it asks at one segment is answered before the next. @now: ns.
 */
void batch_run(struct batch *b, struct engine *e, struct answers *a, uint64_t now);

/* The same for responses. True: no more has room before batch_run_responses(). */
bool batch_add_response(struct batch *b, const struct response *r);
void batch_run_responses(struct batch *b, struct engine *e, struct answers *a, uint64_t now);

#endif
