#ifndef INTERCEPT_WATCH_ORPHANS_H
#define INTERCEPT_WATCH_ORPHANS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/siphash.h"
#include "packet/addr.h"
#include "packet/segment.h"

/* Tuples whose watches went with their connection (doc/PROTOCOL.md, "Strays"). */
#define ORPHANS_MAX 65536u
#define ORPHAN_GRACE_NS (5 * NS_PER_SEC) /* its tcpcopy has so long to come back and watch again */
#define ORPHAN_AGAIN_NS (1 * NS_PER_SEC) /* between two STRAYs of one */
#define ORPHAN_LIFE_NS (3600 * NS_PER_SEC)

struct orphans;

struct orphan {
	struct tuple tuple; /* of the responses */
	struct addr owner;
	uint64_t since; /* ns */
};

/* @key must stay valid. NULL: no memory. Times are those of CLOCK_MONOTONIC, ns. */
struct orphans *orphans_new(const struct siphash_key *key);
void orphans_free(struct orphans *o);

/* The watch of @t went with the connection of a tcpcopy at @owner. The oldest one makes room. */
void orphans_add(struct orphans *o, const struct tuple *t, const struct addr *owner, uint64_t now);

/* Somebody watches @t again. */
void orphans_forget(struct orphans *o, const struct tuple *t);

/* May @owner's tcpcopy be told now that @t speaks? Once a second for each. */
bool orphans_due(struct orphans *o, const struct tuple *t, uint64_t now, struct addr *owner);

void orphans_expire(struct orphans *o, uint64_t now);

/* For a file that has them all (state.c). orphans_changed(): since the call of it before. */
bool orphans_changed(struct orphans *o);
unsigned orphans_count(const struct orphans *o);
void orphans_each(const struct orphans *o, void (*fn)(const struct orphan *x, void *arg), void *arg);

#endif
