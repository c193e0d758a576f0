/*
 * Connections of a target whose tcpcopy went away without a word.
 *
 * In: the tuples of the watches that a lost connection had. Out: whether a response of such a tuple,
 * which nobody watches now, is to be told to a tcpcopy, and on which host: the one that had the
 * watch, for nobody else can know that the connection is nobody's. A client's own connections to the
 * target, which intercept sees on a gateway, were never watched and are never told.
 *
 * A tcpcopy that lives comes back within ORPHAN_GRACE_NS and watches again what it still has; what
 * it has not watched by then is left from one that was killed. With --state they outlive intercept.
 *
 * Entries lie in a ring in the order of their coming, chained by bucket, as in early.c: the head of
 * the ring is the oldest and first of its chain. What is watched again stays in the ring, marked,
 * until the head passes it.
 */
#include "intercept/watch/orphans.h"

#include <stdlib.h>

#include "base/util.h"

#define BUCKETS 16384u
#define NONE UINT32_MAX

struct entry {
	struct orphan is;
	uint64_t told; /* ns; 0: never */
	uint32_t next; /* of its bucket; NONE: the last */
	uint32_t bucket;
	bool gone;
};

struct orphans {
	const struct siphash_key *key;
	unsigned head, count;
	bool changed;
	uint32_t first[BUCKETS], last[BUCKETS];
	struct entry ring[ORPHANS_MAX];
};

struct orphans *orphans_new(const struct siphash_key *key)
{
	struct orphans *o = calloc(1, sizeof(*o)); /* its pages are touched when they are needed */

	if (!o)
		return NULL;
	o->key = key;
	for (unsigned i = 0; i < BUCKETS; i++)
		o->first[i] = o->last[i] = NONE;
	return o;
}

void orphans_free(struct orphans *o)
{
	free(o);
}

static uint32_t bucket_of(const struct orphans *o, const struct tuple *t)
{
	return (uint32_t)(siphash(o->key, t, sizeof(*t)) % BUCKETS);
}

static void pop(struct orphans *o)
{
	const struct entry *x = &o->ring[o->head];

	o->head = (o->head + 1) % ORPHANS_MAX;
	o->count--;
	if (x->gone)
		return;
	o->first[x->bucket] = x->next;
	if (x->next == NONE)
		o->last[x->bucket] = NONE;
}

void orphans_expire(struct orphans *o, uint64_t now)
{
	while (o->count && (o->ring[o->head].gone || o->ring[o->head].is.since + ORPHAN_LIFE_NS <= now))
		pop(o);
}

void orphans_forget(struct orphans *o, const struct tuple *t)
{
	uint32_t bucket, at, before = NONE;

	if (!o->count)
		return;
	bucket = bucket_of(o, t);
	for (at = o->first[bucket]; at != NONE && !tuple_eq(&o->ring[at].is.tuple, t); at = o->ring[at].next)
		before = at;
	if (at == NONE)
		return;
	if (before == NONE)
		o->first[bucket] = o->ring[at].next;
	else
		o->ring[before].next = o->ring[at].next;
	if (o->last[bucket] == at)
		o->last[bucket] = before;
	o->ring[at].gone = true;
	o->changed = true;
}

void orphans_add(struct orphans *o, const struct tuple *t, const struct addr *owner, uint64_t now)
{
	const uint32_t bucket = bucket_of(o, t);
	uint32_t at;

	orphans_forget(o, t);
	orphans_expire(o, now);
	if (o->count == ORPHANS_MAX)
		pop(o);
	at = (o->head + o->count++) % ORPHANS_MAX;
	o->ring[at] = (struct entry){ .is = { *t, *owner, now }, .next = NONE, .bucket = bucket };
	o->changed = true;
	if (o->last[bucket] == NONE)
		o->first[bucket] = at;
	else
		o->ring[o->last[bucket]].next = at;
	o->last[bucket] = at;
}

bool orphans_due(struct orphans *o, const struct tuple *t, uint64_t now, struct addr *owner)
{
	struct entry *x = NULL;

	if (!o->count)
		return false;
	for (uint32_t at = o->first[bucket_of(o, t)]; at != NONE && !x; at = o->ring[at].next)
		if (tuple_eq(&o->ring[at].is.tuple, t))
			x = &o->ring[at];
	if (!x || now < x->is.since + ORPHAN_GRACE_NS || (x->told && now < x->told + ORPHAN_AGAIN_NS))
		return false;
	x->told = now;
	*owner = x->is.owner;
	return true;
}

bool orphans_changed(struct orphans *o)
{
	bool changed = o->changed;

	o->changed = false;
	return changed;
}

unsigned orphans_count(const struct orphans *o)
{
	return o->count;
}

void orphans_each(const struct orphans *o, void (*fn)(const struct orphan *x, void *arg), void *arg)
{
	for (unsigned i = 0; i < o->count; i++) {
		const struct entry *x = &o->ring[(o->head + i) % ORPHANS_MAX];

		if (!x->gone)
			fn(&x->is, arg);
	}
}
