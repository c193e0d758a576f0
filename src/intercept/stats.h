#ifndef INTERCEPT_STATS_H
#define INTERCEPT_STATS_H

#include <stdint.h>

#include "packet/segment.h"

/* What happened to segments, records and watches. One table: field and its words in the final
 * report. */
#define STATS(X)                                                                                   \
	X(segments, "segments captured")                                                           \
	X(forwarded, "records sent")                                                               \
	X(merged, "records merged into another for a slow reader")                                 \
	X(dropped, "records dropped for a slow reader")                                            \
	X(gone, "records held for a connection or session that ended")                             \
	X(copies, "second copies of a segment left out")                                           \
	X(early, "held until their WATCH came")                                                    \
	X(unowned, "segments of a target for which no WATCH came")                                 \
	X(strays, "of these, reported to the tcpcopy that had them")                                \
	X(foreign, "segments that no target sent")                                                 \
	X(watches, "watches")                                                                      \
	X(replaced, "watches replaced by a newer one of their tuple")                              \
	X(refused, "watches refused for lack of memory")                                           \
	X(connections, "tcpcopy connections")                                                      \
	X(turned_away, "connections refused: limits, or no good HELLO")                            \
	X(not_allowed, "connections refused: an address that --allow does not name")

struct stats {
#define X(field, words) uint64_t field;
	STATS(X)
#undef X
	uint64_t parse[PARSE_REASON_COUNT];
};

#endif
