#ifndef INTERCEPT_WATCH_EARLY_H
#define INTERCEPT_WATCH_EARLY_H

#include <stdint.h>

#include "base/siphash.h"
#include "channel/message.h"

/* Responses that came before their WATCH (doc/PROTOCOL.md, "Early responses"). */
#define EARLY_MAX 4096u
#define EARLY_MAX_PER_TUPLE 16u
#define EARLY_NS (500 * NS_PER_MS) /* the longest that a response waits */

struct early;

/*
 * Calls @given_up with @arg for each segment that found no owner in time or no room; the id of its record is
 * 0. @key must stay valid. Returns NULL if memory ran out.
 */
struct early *early_new(const struct siphash_key *key,
			void (*given_up)(const struct tuple *t, const struct response *r, void *arg),
			void *arg);
/* Gives up the segments that are held, and frees @e, which may be NULL. */
void early_free(struct early *e);

/*
 * Holds @s until early_take() or until EARLY_NS have passed. @now: ns, as in the functions below, by the
 * clock of segment.time. If there is no room, gives up @s itself or the oldest segment.
 */
void early_hold(struct early *e, const struct segment *s, uint64_t now);

/*
 * Gives the records of the segments that are held for @t to @fn, in the order of their capture, and forgets
 * them. The ids of the records are 0. Returns their number.
 */
unsigned early_take(struct early *e, const struct tuple *t, uint64_t now,
		    void (*fn)(const struct response *r, void *arg), void *arg);

/* Returns the record of the first segment that is held for @t, or NULL. Valid until the next call. */
const struct response *early_first(struct early *e, const struct tuple *t, uint64_t now);

/* Returns the number of segments that are held. */
unsigned early_waiting(const struct early *e);

/* Gives up the segments that have waited for EARLY_NS. */
void early_expire(struct early *e, uint64_t now);

#endif
