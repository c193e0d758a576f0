#ifndef INTERCEPT_REPORT_STATS_H
#define INTERCEPT_REPORT_STATS_H

#include <stdint.h>

#include "packet/segment.h"

/*
 * What happened to segments, watches and connections: a table for each, with fields and their texts. Every
 * parsed segment counts in one row of the first, or still waits (in early.c or in relay.c).
 */
#define SEGMENT_STATS(X)                                                                                     \
	X(forwarded, "records sent")                                                                         \
	X(merged, "records merged into another because the reader was slow")                                 \
	X(dropped, "records dropped because the reader was slow")                                            \
	X(gone, "records held for a connection or session that then ended")                                  \
	X(copies, "second copies of a segment, ignored")                                                     \
	X(unowned, "segments from a target for which no WATCH came")                                         \
	X(foreign, "segments not from a target")                                                             \
	X(not_handed_over, "segments for another worker's sessions, which was overloaded")

#define WATCH_STATS(X)                                                                                       \
	X(watches, "watches")                                                                                \
	X(ended, "of these, ended")                                                                          \
	X(replaced, "of the ended ones, replaced by a newer watch of the same tuple")                        \
	X(refused, "watches refused: too many, or out of memory")                                            \
	X(taken, "watches refused or ended: another tcpcopy has that connection")                            \
	X(shared, "records sent to a second asker of a tuple, before it was known whose it is")              \
	X(handed_over, "segments handed over to the worker that has their session")                          \
	X(early, "segments held until their WATCH came")                                                     \
	X(strays, "segments without a WATCH, reported as strays")

#define CONNECTION_STATS(X)                                                                                  \
	X(connections, "tcpcopy connections")                                                                \
	X(turned_away, "connections refused: over a limit, or no valid HELLO")                               \
	X(not_allowed, "connections refused: address not allowed by --allow")                                \
	X(probes_ignored, "PROBEs left without an answer: more than a few a second")

struct stats {
#define X(field, words) uint64_t field;
	SEGMENT_STATS(X)
	WATCH_STATS(X)
	CONNECTION_STATS(X)
#undef X
	uint64_t parse[PARSE_REASON_COUNT];
};

#endif
