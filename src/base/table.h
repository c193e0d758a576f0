#ifndef BASE_TABLE_H
#define BASE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"

/*
 * A hash table for any number of entries in which every operation takes a bounded time: it grows and shrinks
 * by one bucket at a time (linear hashing, Litwin 1980). Entries embed a table_node and belong to the caller.
 * If others choose the keys, the caller must use a keyed hash. Several entries may have equal hashes and
 * equal keys.
 */
struct table_node {
	struct table_node *next; /* the table's */
	uint32_t hash;
};

struct table;

/*
 * A new table, which takes its buckets from @pool, 64 KiB at a time. A pool that refuses makes the table
 * slower, not wrong. NULL if out of memory.
 */
struct table *table_new(struct pool *pool);

/* Free the table. Its entries belong to the caller and are not touched. */
void table_free(struct table *t);

/* Add the entry @n, which must not be in a table, under @hash. Always succeeds. */
void table_add(struct table *t, struct table_node *n, uint32_t hash);

/* Remove the entry @n. Returns false if it was not in the table. */
bool table_remove(struct table *t, struct table_node *n);

/* The entry under @hash for which eq(entry, @key) holds, or NULL if there is none. */
struct table_node *table_find(const struct table *t, uint32_t hash,
			      bool (*eq)(struct table_node *n, const void *key), const void *key);

/* How many entries the table has. */
uint32_t table_count(const struct table *t);

/* The bytes that its buckets occupy; those of the entries are not among them. */
size_t table_bytes(const struct table *t);

/*
 * To look up several entries at once, so that their memory is fetched at the same time, call table_prefetch()
 * for each, then table_likely() for each, prefetch what that returns, and then call table_find() for each.
 */
void table_prefetch(const struct table *t, uint32_t hash);

/*
 * The entry under @hash, found without touching it. It is seldom a wrong one. NULL if there is none, or not
 * among the first of its bucket.
 */
struct table_node *table_likely(const struct table *t, uint32_t hash);

#endif
