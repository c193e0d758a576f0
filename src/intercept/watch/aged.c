/*
 * Entries in order of age that are found by tuple - theory of operation
 *
 * Early responses and orphans (early.c, orphans.c) have this in common: whoever can send a packet can add to
 * them, so their number is bounded and the oldest makes room. They leave when they are too old, or when their
 * tuple is watched.
 *
 *     list by age    A1 ── B1 ── A2 ── A3 ── C1     oldest to youngest
 *     table          A1 ── A2 ── A3                 the table has the oldest of each tuple;
 *                    B1                             `same` leads from there to the younger ones
 *                    C1
 *
 * An entry leaves as the oldest of all or as the oldest of its tuple. Either way it is the one in the table,
 * so a removal never searches a list. The entries are one array that is allocated at the start; the free ones
 * are in a list, and only as much of the array is touched as there were entries at one time. The table takes
 * buckets from a pool of its own, which holds a megabyte for 49152 entries.
 */
#include "intercept/watch/aged.h"

#include <assert.h>
#include <stdlib.h>

#include "base/util.h"

struct aged {
	const struct siphash_key *key;
	struct pool *pool;
	struct table *table;
	struct aged_entry *oldest, *youngest;
	struct aged_entry *free; /* linked by `younger` */
	unsigned count;
	unsigned most, touched; /* entries of the array: all, and those that were ever used */
	size_t size;
	char *entries;
};

struct aged *aged_new(const struct siphash_key *key, unsigned most, size_t size)
{
	struct aged *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->key = key;
	a->most = most;
	a->size = size;
	a->entries = calloc(most, size);
	a->pool = pool_new(0);
	if (a->entries && a->pool)
		a->table = table_new(a->pool);
	if (!a->table) {
		aged_free(a);
		return NULL;
	}
	return a;
}

void aged_free(struct aged *a)
{
	if (!a)
		return;
	table_free(a->table);
	pool_free(a->pool);
	free(a->entries);
	free(a);
}

uint32_t aged_hash(const struct aged *a, const struct tuple *t)
{
	return (uint32_t)siphash(a->key, t, sizeof(*t));
}

static bool has_tuple(struct table_node *n, const void *tuple)
{
	return tuple_eq(&CONTAINER_OF(n, struct aged_entry, node)->tuple, tuple);
}

struct aged_entry *aged_find(const struct aged *a, uint32_t hash, const struct tuple *t)
{
	struct table_node *n = table_find(a->table, hash, has_tuple, t);

	return n ? CONTAINER_OF(n, struct aged_entry, node) : NULL;
}

static struct aged_entry *take_free(struct aged *a)
{
	struct aged_entry *e = a->free;

	if (e) {
		a->free = e->younger;
		return e;
	}
	assert(a->touched < a->most);
	return (struct aged_entry *)(void *)(a->entries + a->size * a->touched++);
}

struct aged_entry *aged_add(struct aged *a, struct aged_entry *first, uint32_t hash, const struct tuple *t,
			    uint64_t now)
{
	struct aged_entry *last = first, *e = take_free(a);

	e->tuple = *t;
	e->since = now;
	e->same = NULL;
	e->older = a->youngest;
	e->younger = NULL;
	*(e->older ? &e->older->younger : &a->oldest) = e;
	a->youngest = e;
	if (last) {
		while (last->same)
			last = last->same;
		last->same = e; /* which gets its hash when it comes into the table */
	} else {
		table_add(a->table, &e->node, hash);
	}
	a->count++;
	return e;
}

void aged_remove(struct aged *a, struct aged_entry *e)
{
	bool first = table_remove(a->table, &e->node);

	assert(first);
	(void)first;
	if (e->same)
		table_add(a->table, &e->same->node, e->node.hash);
	*(e->older ? &e->older->younger : &a->oldest) = e->younger;
	*(e->younger ? &e->younger->older : &a->youngest) = e->older;
	e->younger = a->free;
	a->free = e;
	a->count--;
}

struct aged_entry *aged_oldest(const struct aged *a)
{
	return a->oldest;
}

unsigned aged_count(const struct aged *a)
{
	return a->count;
}
