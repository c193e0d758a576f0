#ifndef INTERCEPT_WATCH_AGED_H
#define INTERCEPT_WATCH_AGED_H

#include <stddef.h>
#include <stdint.h>

#include "base/siphash.h"
#include "base/table.h"
#include "packet/addr.h"

/*
 * A bounded number of entries, each with a tuple and the time of its arrival. The oldest of all is found at
 * once, and so is the oldest of a tuple. The owner's structure begins with a struct aged_entry.
 */
struct aged_entry {
	struct tuple tuple;
	uint64_t since;          /* ns, as the owner said */
	struct aged_entry *same; /* the next younger one of the tuple; NULL: none */

	struct aged_entry *older, *younger; /* aged.c's, as all that follows */
	struct table_node node;
};

struct aged;

/*
 * Returns a structure for at most @most entries of @size bytes (of the owner's structure), or NULL if memory
 * ran out. @key must stay valid. All the memory for entries is taken here.
 */
struct aged *aged_new(const struct siphash_key *key, unsigned most, size_t size);
/* Frees all entries as well. @a may be NULL. */
void aged_free(struct aged *a);

/* Returns the hash of @t, for the two functions below. */
uint32_t aged_hash(const struct aged *a, const struct tuple *t);

/* Returns the oldest entry of @t, whose hash is @hash, or NULL if there is none. */
struct aged_entry *aged_find(const struct aged *a, uint32_t hash, const struct tuple *t);

/*
 * Adds an entry for @t as the youngest of all and returns it; what the owner has behind the struct aged_entry
 * is not cleared. @first: what aged_find() returns for @t at this moment. @now: ns. The structure must not be
 * full.
 */
struct aged_entry *aged_add(struct aged *a, struct aged_entry *first, uint32_t hash, const struct tuple *t,
			    uint64_t now);

/*
 * Takes @e out, which must be the oldest of its tuple. It may be read until the next aged_add(), except for
 * its `same`.
 */
void aged_remove(struct aged *a, struct aged_entry *e);

/* Returns the oldest of all, and from there the next one by `younger`; NULL: there is none. */
struct aged_entry *aged_oldest(const struct aged *a);

/* Returns the number of entries. */
unsigned aged_count(const struct aged *a);

#endif
