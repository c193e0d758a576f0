#ifndef SESSION_TURN_H
#define SESSION_TURN_H

/* When may a turn go? Between the files of the engine; see turn.c. */
#include "base/util.h"
#include "session/session.h"

#define PAUSE_FLOOR (1 * NS_PER_MS)
#define REST_PAUSE (200 * NS_PER_MS)  /* where all that came may be the rest of the answer before */
#define PARTS_APART (300 * NS_PER_MS) /* acks of the client: longer than it delays one */
#define HOLD_LEAST (200 * NS_PER_MS)  /* of a session whose answers do not come, at first */
#define HOLD_ANSWERS 8                /* or so many of its usual answer times */
#define HOLD_RECOVERED 16             /* answers in a row, after which --hold is its hold again */

struct qseg;

/* How long a session waits for an answer. */
struct patience {
	uint64_t released_at; /* ns, the newest turn; 0: none was */
	uint64_t usual;       /* ns from there to the first byte of its answer; falls slowly */
	uint8_t misses;       /* turns that were released on their deadline since answers came last */
	uint8_t answers;      /* in a row since then */
};

void turn_linked(struct engine *e, struct session *s, struct qseg *q); /* q was just appended in order */
/* @new_bytes of answer, its FIN (if @fin) counted as one, came with @r, whose ack was taken before. */
void turn_response(struct engine *e, struct session *s, const struct response *r, uint32_t new_bytes,
		   bool fin, uint64_t now);
/* The client will have read more, beyond client_read, by what it acknowledges at @at, ns. */
void turn_client_reads(struct session *s, uint64_t at);
/* The online server sent the payload of *g: if it begins an answer, its class is counted. */
void turn_server(struct engine *e, const struct session *s, const struct segment *g);
void turn_check(struct engine *e, struct session *s, uint64_t now); /* release what may go, arm the timers */
/* with EV_CLIENT_RST or EV_CUT */
bool turn_rst_may_go(const struct engine *e, const struct session *s, uint64_t now);

#endif
