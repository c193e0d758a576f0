#ifndef INTERCEPT_WATCH_EARLY_H
#define INTERCEPT_WATCH_EARLY_H

#include <stdint.h>

#include "base/siphash.h"
#include "channel/message.h"

/* Responses that came before their WATCH (doc/PROTOCOL.md, "Early responses"). */
#define EARLY_MAX 4096u
#define EARLY_MAX_PER_TUPLE 16u
#define EARLY_NS (500 * NS_PER_MS)

struct early;

/* @given_up is called for each segment that found no owner in time; its record carries id 0. */
struct early *early_new(const struct siphash_key *key,
			void (*given_up)(const struct tuple *t, const struct response *r, void *arg),
			void *arg);
void early_free(struct early *e); /* what is held is given up */

void early_hold(struct early *e, const struct segment *s, uint64_t now);

/* Give what is held for @t to @fn, in order, and forget it. The records carry id 0. Returns how
 * many. */
unsigned early_take(struct early *e, const struct tuple *t, uint64_t now,
		    void (*fn)(const struct response *r, void *arg), void *arg);

unsigned early_waiting(const struct early *e);

/* Give up what has waited too long. */
void early_expire(struct early *e, uint64_t now);

#endif
