#ifndef BASE_TABLE_H
#define BASE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"

/*
 * A hash table for any number of entries whose every operation takes a bounded time: it grows and
 * shrinks by one bucket at a time (linear hashing, Litwin 1980). Entries embed a table_node and
 * belong to the caller. Whoever lets others choose the keys gives a keyed hash. Several entries may
 * have equal hashes and equal keys; the table does not mind.
 */
struct table_node {
	struct table_node *next; /* the table's */
	uint32_t hash;
};

struct table;

/* @pool: where buckets come from, 64 KB a time; a pool that refuses makes the table slower, not
 * wrong. NULL: no memory. */
struct table *table_new(struct pool *pool);
void table_free(struct table *t); /* forgets its entries */

void table_add(struct table *t, struct table_node *n, uint32_t hash);
bool table_remove(struct table *t, struct table_node *n); /* false: was not in it */

/* The entry with @hash for which eq(entry, key) holds; NULL: none. */
struct table_node *table_find(const struct table *t, uint32_t hash,
			      bool (*eq)(struct table_node *n, const void *key), const void *key);

uint32_t table_count(const struct table *t);
size_t table_bytes(const struct table *t); /* of its buckets */

/*
 * To look up several entries at once: table_prefetch() for each, then table_likely() for each,
 * which tells the entry without touching it (seldom a wrong one; NULL: it is not there, or not
 * among the first), so that the caller can prefetch that, then table_find().
 */
void table_prefetch(const struct table *t, uint32_t hash);
struct table_node *table_likely(const struct table *t, uint32_t hash);

#endif
