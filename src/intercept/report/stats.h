#ifndef INTERCEPT_REPORT_STATS_H
#define INTERCEPT_REPORT_STATS_H

#include <stdint.h>

#include "packet/segment.h"

/*
 * What happened to segments, watches and connections. A table each: field and its words. Every
 * parsed segment is in one row of the first, or still waits (in early.c, or in relay.c).
 */
#define SEGMENT_STATS(X)                                                                                     \
	X(forwarded, "records sent")                                                                         \
	X(merged, "records merged into another for a slow reader")                                           \
	X(dropped, "records dropped for a slow reader")                                                      \
	X(gone, "records held for a connection or session that ended")                                       \
	X(copies, "second copies of a segment left out")                                                     \
	X(unowned, "segments of a target for which no WATCH came")                                           \
	X(foreign, "segments that no target sent")                                                           \
	X(not_handed_over, "segments of another worker's sessions, which had too much to do")

#define WATCH_STATS(X)                                                                                       \
	X(watches, "watches")                                                                                \
	X(ended, "of these, ended")                                                                          \
	X(replaced, "of the ended, replaced by a newer one of their tuple")                                  \
	X(refused, "watches refused: too many, or no memory")                                                \
	X(handed_over, "segments that went to the worker that has their session")                            \
	X(early, "segments that were held until their WATCH came")                                           \
	X(strays, "segments without a WATCH that were reported to the tcpcopy that had them")

#define CONNECTION_STATS(X)                                                                                  \
	X(connections, "tcpcopy connections")                                                                \
	X(turned_away, "connections refused: limits, or no good HELLO")                                      \
	X(not_allowed, "connections refused: an address that --allow does not name")

struct stats {
#define X(field, words) uint64_t field;
	SEGMENT_STATS(X)
	WATCH_STATS(X)
	CONNECTION_STATS(X)
#undef X
	uint64_t parse[PARSE_REASON_COUNT];
};

#endif
