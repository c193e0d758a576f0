#ifndef TCPCOPY_CLASSIFY_H
#define TCPCOPY_CLASSIFY_H

#include "io/host/local.h"
#include "packet/parse.h"
#include "tcpcopy/config/config.h"

/* What classification did with a parsed segment. One table: field, text. */
#define CLASSIFY_COUNTERS(X)                                                                                 \
	X(no_rule, "TCP segments that match no -x rule")                                                     \
	X(loopback_source, "segments from 127.0.0.0/8 or ::1, addresses that cannot leave a host (see -c)")  \
	X(foreign, "segments that this host only forwards, to an address that no -x names")                  \
	X(given, "segments that match a rule, given to the session engine")                                  \
	X(given_again, "of these, given once more for another rule")                                         \
	X(given_copies, "and once more for each further copy (see -n)")                                      \
	X(from_here, "segments of clients on this host itself, to which the targets would answer (see -c)")  \
	X(not_chosen, "segments of sessions that are not chosen (see -r and -g)")

struct classify_counters {
	uint64_t parse[PARSE_REASON_COUNT]; /* packets by parse result, PARSE_OK included */
#define X(field, text) uint64_t field;
	CLASSIFY_COUNTERS(X)
#undef X
};

/*
 * Find the rules that match the segment *s (client -> online server) and write their indices to @rule.
 * @local: this host's addresses; NULL: all addresses count as such. @looped: *s came by loopback, as what a
 * client on this host sends does. @choice: of the sessions; NULL: all are chosen. @now: ns. Returns how many
 * rules match; copies_of() says how often each takes the segment. If none does, the reason is counted in *n.
 */
unsigned classify(const struct config *c, struct local *local, struct classify_counters *n,
		  const struct choice *choice, const struct segment *s, bool looped, uint64_t now,
		  unsigned rule[CONFIG_MAX_RULES]);

#endif
