#ifndef TCPCOPY_BATCH_H
#define TCPCOPY_BATCH_H

#include "io/capture/source.h"
#include "session/session.h"
#include "tcpcopy/answers.h"

/* Captured segments on their way to the engine; see batch.c. */
struct batch {
	unsigned n;
	struct flow_key key[SOURCE_TAKE_MOST];
	struct segment segment[SOURCE_TAKE_MOST];
};

/* @s is copied, its payload not: that must stay until batch_run(). */
void batch_add(struct batch *b, struct engine *e, struct answers *a, const struct flow_key *k,
	       const struct segment *s, uint64_t now);

/*
 * Give all of it to the engine, in order; what it asks at one segment is answered before the next. @now: ns.
 */
void batch_run(struct batch *b, struct engine *e, struct answers *a, uint64_t now);

#endif
