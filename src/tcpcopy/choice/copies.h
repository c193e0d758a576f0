#ifndef TCPCOPY_CHOICE_COPIES_H
#define TCPCOPY_CHOICE_COPIES_H

#include <stdbool.h>
#include <stdint.h>

#include "packet/addr.h"
#include "packet/segment.h"
#include "session/session.h"

#define COPIES_ONE 1000000ull /* a copy, in millionths */
#define COPIES_MOST 1000u

/* Into how many copies each session is multiplied. All zero: one. */
struct copies {
	uint64_t times; /* millionths: COPIES_ONE to COPIES_MOST * COPIES_ONE; 0: one */
	uint64_t seed;
	uint64_t spread; /* ns: within so long do the copies of a connection begin one after the other */
};

/*
 * How many copies the sessions of @client have: 1 to COPIES_MOST. A client and port always have the same
 * number, at any time and on any host with the same seed, live or from a file.
 */
unsigned copies_of(const struct copies *c, const struct endpoint *client);

/* The most that any session has. */
unsigned copies_most(const struct copies *c);

/*
 * The bits of flow_key.copy that say which copy of the recorded or captured connection it is; the others say
 * which time of a recording that is played several times.
 */
uint16_t copies_mask(const struct copies *c);

/*
 * The key of copy @copy (0: the first) of the connection whose requests have the tuple *request, for the rule
 * with the index @rule. @loop: the number of the time that a recording is played; 0 of what is live.
 */
struct flow_key copies_key(const struct copies *c, const struct tuple *request, unsigned rule, unsigned copy,
			   uint64_t loop);

/*
 * By how much later than the captured connection the session of *k goes, ns, below the spread: the first copy
 * not at all, others by a hash of the client's address and port and the number of the copy.
 */
uint64_t copies_later(const struct copies *c, const struct flow_key *k);

#endif
