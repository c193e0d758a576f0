#ifndef TCPCOPY_CHOICE_TARGETS_H
#define TCPCOPY_CHOICE_TARGETS_H

#include <stdint.h>

#include "packet/addr.h"

#define TARGETS_WEIGHT_MOST 1000000u

/* --targets: what becomes of requests that several rules match. One table: enum, name as typed. */
#define TARGETS(X)                                                                                           \
	X(ONE, "one") /* that is refused; cannot be typed */                                                 \
	X(ALL, "all")                                                                                        \
	X(SPREAD, "spread")
enum targets_mode {
#define X(id, name) TARGETS_##id,
	TARGETS(X)
#undef X
		TARGETS_COUNT
};

/* --spread-by: what goes to one target as a whole. One table: enum, name as typed. */
#define TARGETS_UNITS(X)                                                                                     \
	X(SESSION, "session") /* by the client's address and port */                                         \
	X(CLIENT, "client")   /* by its address */
enum targets_unit {
#define X(id, name) TARGETS_BY_##id,
	TARGETS_UNITS(X)
#undef X
		TARGETS_UNIT_COUNT
};

/* How requests are divided among the rules that match them. All zero: no request has several. */
struct targets {
	enum targets_mode mode;
	enum targets_unit by;
	uint64_t seed;
};

/*
 * Which of @n targets with the weights @weight, each 1 to TARGETS_WEIGHT_MOST, is that of @client? Its index
 * is the same at any time and on any host with the same seed, live or from a file.
 */
unsigned targets_choose(const struct targets *t, const struct endpoint *client, const uint32_t weight[],
			unsigned n);

#endif
