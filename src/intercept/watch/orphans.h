#ifndef INTERCEPT_WATCH_ORPHANS_H
#define INTERCEPT_WATCH_ORPHANS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/siphash.h"
#include "packet/addr.h"
#include "packet/segment.h"

/* Tuples whose watches ended because their channel connection ended (doc/PROTOCOL.md, "Strays"). */
#define ORPHANS_MAX 65536u
#define ORPHAN_GRACE_NS (5 * NS_PER_SEC) /* so long may its tcpcopy take to connect and watch again */
#define ORPHAN_AGAIN_NS (1 * NS_PER_SEC) /* between two STRAYs for the same tuple */
#define ORPHAN_LIFE_NS (3600 * NS_PER_SEC)

struct orphans;

struct orphan {
	struct tuple tuple; /* of the responses: src is the target */
	struct addr owner;  /* the host of the tcpcopy that had the watch */
	uint64_t since;     /* ns, when the connection ended */
};

/* All times are ns of CLOCK_MONOTONIC. @key must stay valid. Returns NULL if memory ran out. */
struct orphans *orphans_new(const struct siphash_key *key);
/* @o may be NULL. */
void orphans_free(struct orphans *o);

/*
 * The watch of @t has ended together with the connection of a tcpcopy at @owner, whose process has the number
 * @process (0: unknown). If ORPHANS_MAX are
 * remembered, the oldest one makes room.
 */
void orphans_add(struct orphans *o, const struct tuple *t, const struct addr *owner, uint32_t process,
		 uint64_t now);

/* The connection of @t is somebody else's now. */
void orphans_forget(struct orphans *o, const struct tuple *t);
/* The tcpcopy with the number @process watches @t. If it had it before, forgets @t and returns true. */
bool orphans_claim(struct orphans *o, const struct tuple *t, uint32_t process);

/*
 * A response of @t was captured and nobody watches it. Is it time to tell a tcpcopy? If so, sets *@owner and
 * counts it as told: the answer is then no for ORPHAN_AGAIN_NS.
 */
bool orphans_due(struct orphans *o, const struct tuple *t, uint64_t now, struct addr *owner);

/* May the tcpcopy of a host other than @owner, whose connection is lost, come back for @t? */
bool orphans_of_another(const struct orphans *o, const struct tuple *t, const struct addr *owner,
			uint64_t now);

/* Forgets those that are older than ORPHAN_LIFE_NS. */
void orphans_expire(struct orphans *o, uint64_t now);

/*
 * For state.c, which saves them. Has any been added or forgotten since the last call? Expiry does not count.
 */
bool orphans_changed(struct orphans *o);
/* Returns their number. */
unsigned orphans_count(const struct orphans *o);
/* Calls @fn with @arg for each, the oldest first. @fn must not change @o. */
void orphans_each(const struct orphans *o, void (*fn)(const struct orphan *x, void *arg), void *arg);

#endif
