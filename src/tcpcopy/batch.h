#ifndef TCPCOPY_BATCH_H
#define TCPCOPY_BATCH_H

#include "io/capture/source.h"
#include "session/session.h"
#include "tcpcopy/answers.h"

#define BATCH_MOST 64u

/* Captured segments and responses on their way to the engine, in order; see batch.c. */
struct batch {
	unsigned n;
	struct batch_entry {
		bool is_response;
		union {
			struct {
				struct flow_key key;
				struct segment segment;
			};
			struct response response;
		};
	} entry[BATCH_MOST];
};

/*
 * Add the captured segment *s with the key *k. *s is copied; its payload is not, and must stay until
 * batch_run(). Returns true if the batch is now full, which several rules for one packet can cause: call
 * batch_run().
 */
bool batch_add(struct batch *b, const struct flow_key *k, const struct segment *s);

/* Add the response *r, which is copied. Returns true if the batch is now full: call batch_run(). */
bool batch_add_response(struct batch *b, const struct response *r);

/*
 * Give all of it to the engine, in order. What the engine asks at one entry is answered before the next.
 * @now: ns.
 */
void batch_run(struct batch *b, struct engine *e, struct answers *a, uint64_t now);

#endif
