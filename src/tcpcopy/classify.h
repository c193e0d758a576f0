#ifndef TCPCOPY_CLASSIFY_H
#define TCPCOPY_CLASSIFY_H

#include "io/host/local.h"
#include "packet/parse.h"
#include "tcpcopy/config/config.h"

/* Where a parsed segment went from classification. One table: field, text. */
#define CLASSIFY_COUNTERS(X)                                                                                 \
	X(no_rule, "TCP segments that match no -x rule")                                                     \
	X(loopback_source, "segments from 127.0.0.0/8 or ::1, addresses that cannot leave a host (see -c)")  \
	X(foreign,                                                                                           \
	  "segments that the host only forwards: not to an address of its own, and no -x names theirs")      \
	X(given, "segments that match a rule, given to the session engine")                                  \
	X(given_again, "of these, given once more for another rule")

struct classify_counters {
	uint64_t parse[PARSE_REASON_COUNT]; /* packets by what parsing said; PARSE_OK included */
#define X(field, text) uint64_t field;
	CLASSIFY_COUNTERS(X)
#undef X
};

/*
 * The rules that segment @s (client -> online) is for: their indices into @rule, at most CONFIG_MAX_RULES.
 * @local: the host's addresses; NULL: all count as such. @now: ns. Returns how many; reasons for none are
 * counted.
 */
unsigned classify(const struct config *c, struct local *local, struct classify_counters *n,
		  const struct segment *s, uint64_t now, unsigned rule[CONFIG_MAX_RULES]);

#endif
