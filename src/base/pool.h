#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A pool hands out blocks in size classes from POOL_MIN to POOL_MAX bytes, four to each doubling, carved
 * from slabs. Taking and returning a block is O(1) and makes no system call, except when a class needs a
 * further slab. A pool belongs to one worker; it has no lock.
 */
#define POOL_MIN 64u
#define POOL_MAX (128u * 1024u)

struct pool;

/* limit: most bytes of slabs that the pool may hold; 0 = no limit. NULL when out of memory. */
struct pool *pool_new(size_t limit);
void pool_free(struct pool *p); /* blocks still handed out are gone with it */

/* A block of at least @size bytes (not cleared, 16-byte aligned), or NULL: limit reached, no
 * memory, or size > POOL_MAX. */
void *pool_get(struct pool *p, size_t size);

/* @size: what was asked of pool_get(), any value of the same class. @block may be NULL. */
void pool_put(struct pool *p, void *block, size_t size);

/*
 * Give back to the kernel what was not needed since the call before. To be called about once a second
 * while it returns true: there is more to give. One call gives 8 MB back at most.
 */
bool pool_trim(struct pool *p);

/* Bytes of the size class that a block of @size occupies (for accounts of memory really held). */
size_t pool_class_size(size_t size);

size_t pool_bytes_used(const struct pool *p); /* bytes in blocks handed out */
size_t pool_bytes_held(const struct pool *p); /* bytes of slabs held from the kernel */

#endif
