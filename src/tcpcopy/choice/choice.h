#ifndef TCPCOPY_CHOICE_CHOICE_H
#define TCPCOPY_CHOICE_CHOICE_H

#include <stdbool.h>
#include <stdint.h>

#include "packet/addr.h"

#define CHOICE_ALL 100000000ull /* 100 % */
#define CHOICE_SEED 1           /* fixed: two hosts that are not told otherwise choose the same */
#define CHOICE_RAMP_MOST (24 * 3600 * 1000000000ull)

/* --sample-by: what is chosen as a whole. One table: enum, name as typed, text. */
#define CHOICE_UNITS(X)                                                                                      \
	X(SESSION, "session", "by the client's address and port")                                            \
	X(CLIENT, "client", "by the client's address")
enum choice_unit {
#define X(id, name, text) CHOICE_BY_##id,
	CHOICE_UNITS(X)
#undef X
		CHOICE_UNIT_COUNT
};

/* Which sessions are replicated. Times are ns of one clock. */
struct choice {
	uint64_t share; /* at the end of the ramp, millionths of a percent: 0 to CHOICE_ALL */
	uint64_t seed;
	enum choice_unit by;
	uint64_t ramp;  /* for so long the share grows from 0; at most CHOICE_RAMP_MOST; 0: no ramp */
	uint64_t since; /* when it began; 0: not yet */
};

/* What *c chooses at @now, in millionths of a percent. It never gets less. */
uint64_t choice_share(const struct choice *c, uint64_t now);

/*
 * Does *c choose the sessions of @client at @now? Whatever is chosen once is chosen at any later time, by any
 * host with the same seed, live or from a file.
 */
bool choice_takes(const struct choice *c, const struct endpoint *client, uint64_t now);

/* Does the share still grow at @now? */
bool choice_grows(const struct choice *c, uint64_t now);

#endif
