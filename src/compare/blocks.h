#ifndef COMPARE_BLOCKS_H
#define COMPARE_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compare/scale.h"

/*
 * Times of exchanges, as histograms: one for each block of time, side, metric and class. Pure; all memory is
 * the caller's, and its size is fixed by the number of classes. Not for several threads at once.
 */
#define BLOCKS_MOST 64    /* blocks of time; when there are so many, neighbours are merged in pairs */
#define BLOCKS_CLASSES 64 /* classes at most, beside the total */
#define BLOCKS_NAME 64    /* bytes of a class's name, with the 0 at its end */
#define BLOCKS_LENGTH                                                                                        \
	1250000000ull   /* ns at first: runs of 1, 2, 5, 10 or 20 minutes then have 48 to 60 blocks */
#define BLOCKS_TOTAL 0u /* the class of all exchanges */

/* What is timed of an exchange. One table: enum, name, text. */
#define BLOCKS_METRICS(X)                                                                                    \
	X(FIRST, first, "from the last byte of the request to the first byte of the answer")                 \
	X(LAST, last, "from the last byte of the request to the last byte of the answer")                    \
	X(SERVICE, service, "from the first byte of the request to the last byte of the answer")             \
	X(FELT, felt, "from the capture of the original's first byte to the last byte of the answer")

enum blocks_metric {
#define X(id, name, text) BLOCKS_##id,
	BLOCKS_METRICS(X)
#undef X
		BLOCKS_METRIC_COUNT
};

enum blocks_side { BLOCKS_ONLINE, BLOCKS_TARGET, BLOCKS_SIDES };

/* One exchange, in ns; TIME_NEVER: that side never answered. Of the online server felt is service. */
struct blocks_times {
	uint64_t ns[BLOCKS_SIDES][BLOCKS_METRIC_COUNT];
};

struct blocks;

/* How many bytes a struct blocks takes with room for @classes (at most BLOCKS_CLASSES) beside the total. */
size_t blocks_size(unsigned classes);

/*
 * Make an empty one in @memory of blocks_size(@classes) bytes, aligned to 8. Times are ns of one clock.
 * Before @warm nothing is timed, and the classes may still change; then blocks of @length ns begin
 * (BLOCKS_LENGTH).
 */
struct blocks *blocks_init(void *memory, unsigned classes, uint64_t warm, uint64_t length);

/*
 * A class that is kept whatever comes, for a rule names it: called first. All of its metrics are kept, of
 * others first and last alone. Returns its number, or 0 if there is no room.
 */
unsigned blocks_keep(struct blocks *b, uint64_t hash, const char *name);

/*
 * The class of an exchange at @now, by the hash of its name: its number, or 0 if it has no class of its own.
 * During the warm-up a newcomer takes the place of the quietest, so the busiest remain; afterwards the first
 * that come have what room is left.
 */
unsigned blocks_class(struct blocks *b, uint64_t now, uint64_t hash, const char *name);

/*
 * Count an exchange that was closed at @now, in the total and, unless it is 0, in @class. @now does not go
 * backwards. A block that is over is closed first, which takes longer.
 */
void blocks_add(struct blocks *b, uint64_t now, unsigned class, const struct blocks_times *t);

/* Close the blocks that are over at @now. */
void blocks_advance(struct blocks *b, uint64_t now);

/*
 * The run ends at @now: close the open block as well. If it is shorter than half of one, the last takes it
 * in.
 */
void blocks_end(struct blocks *b, uint64_t now);

/* Times of both sides as cumulative counts, of one class and metric, for the rules. 1.6 MB. */
struct blocks_view {
	unsigned blocks;                                            /* with exchanges */
	uint64_t length;                                            /* ns of one of them */
	uint64_t span;                                              /* ns of all, the empty ones too */
	uint64_t exchanges;                                         /* of all */
	uint64_t at_most[BLOCKS_SIDES][SCALE_BUCKETS][BLOCKS_MOST]; /* exchanges in this bucket and below */
};

/* Fill *@v with the closed blocks. */
void blocks_view(const struct blocks *b, unsigned class, enum blocks_metric m, struct blocks_view *v);

/* Merge neighbours in pairs: half as many blocks of twice the length; the last takes in an odd one. */
void blocks_view_pair(struct blocks_view *v);

unsigned blocks_count(const struct blocks *b);   /* closed blocks */
uint64_t blocks_length(const struct blocks *b);  /* ns of one */
uint64_t blocks_warming(const struct blocks *b); /* exchanges of the warm-up, not timed */
unsigned blocks_classes(const struct blocks *b); /* classes there are, 1 to this */
const char *blocks_class_name(const struct blocks *b, unsigned class); /* "" for the total */
uint64_t blocks_class_exchanges(const struct blocks *b, unsigned class);
/* Did the memory for closed blocks not suffice for all of this class? Then it cannot be judged. */
bool blocks_class_cut(const struct blocks *b, unsigned class);
/* Exchanges that have no class of their own. */
uint64_t blocks_elsewhere(const struct blocks *b);

const char *blocks_metric_name(enum blocks_metric m);
const char *blocks_metric_text(enum blocks_metric m);

#endif
