#ifndef TCPCOPY_BATCH_H
#define TCPCOPY_BATCH_H

#include "io/capture/source.h"
#include "session/session.h"
#include "tcpcopy/answers.h"

#define BATCH_MOST 64u
#define BATCH_SERVER_MOST 128u
#define BATCH_ANSWERS_MOST 16u

/*
 * Captured segments and responses on their way to the engine, in order, and the online server's SYN-ACKs,
 * which are given between them; see batch.c.
 */
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
	unsigned server_first, n_server; /* of the rings below */
	uint32_t server_ack[BATCH_SERVER_MOST];
	struct batch_server {
		struct flow_key key;
		struct segment segment; /* without its payload and its raw options */
		bool given;
	} server[BATCH_SERVER_MOST];
	unsigned answer_first, n_answers; /* of the ring below */
	struct batch_answer {
		struct flow_key key;
		struct segment segment; /* of its payload, only the first bytes */
		uint8_t first[RESPONSE_FIRST];
	} answer[BATCH_ANSWERS_MOST];
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
 * Add the SYN-ACK *s of the online server to the client of *k, captured after those added before. Returns
 * false if there is no room: call batch_run_server().
 */
bool batch_add_server(struct batch *b, const struct flow_key *k, const struct segment *s);

/*
 * Add the segment *s with payload, which the online server sent to the client of *k. It is a sample: if there
 * is no room, the oldest one goes.
 */
void batch_add_answer(struct batch *b, const struct flow_key *k, const struct segment *s);

/* Has the batch a SYN-ACK that was captured after @time, ns? */
bool batch_server_after(const struct batch *b, uint64_t time);

/* Give the engine the @n oldest SYN-ACKs, if there are so many. @now: ns. */
void batch_run_server(struct batch *b, unsigned n, struct engine *e, struct answers *a, uint64_t now);

/*
 * Give all of it to the engine, in order, and each SYN-ACK ahead of what was captured after it; those that
 * are newer than all else stay. What the engine asks at one entry is answered before the next. @now: ns.
 */
void batch_run(struct batch *b, struct engine *e, struct answers *a, uint64_t now);

#endif
