#ifndef TCPCOPY_RETURNS_INFLOW_H
#define TCPCOPY_RETURNS_INFLOW_H

#include <stdbool.h>
#include <stdint.h>

/*
 * How fast the answers come in to this host, against the most that may: what comes in a second at that rate
 * is free, and what exceeds it is over until the time has passed that it would have taken. One belongs to one
 * worker.
 */
struct inflow {
	uint64_t rate;    /* bytes/s; 0: no limit */
	uint64_t ahead;   /* ns that the answers would have taken at that rate, less what has passed since */
	uint64_t at;      /* ns, CLOCK_MONOTONIC, of the latest one */
	uint64_t bytes;   /* of all answers */
	uint64_t avoided; /* times that a session was not begun because it was over */
};

/* An answer of @bytes, with all headers from IP's on, has come at @now. */
void inflow_add(struct inflow *f, uint32_t bytes, uint64_t now);

/* Has more come lately than may? Counts that a session is not begun then. */
bool inflow_is_over(struct inflow *f, uint64_t now);

#endif
