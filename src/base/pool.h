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

/*
 * A new pool, which may touch at most @limit bytes of memory, what is lost between blocks of different sizes
 * included; 0 means no limit. NULL if out of memory.
 */
struct pool *pool_new(size_t limit);

/* Free the pool and all of its memory, including blocks that are still handed out. @p may be NULL. */
void pool_free(struct pool *p);

/*
 * A block of at least @size bytes, not cleared, aligned to 16 bytes. NULL if the limit is reached, memory ran
 * out, or @size exceeds POOL_MAX.
 */
void *pool_get(struct pool *p, size_t size);

/* Return @block, which may be NULL. @size is what pool_get() was asked for, or any size of the same class. */
void pool_put(struct pool *p, void *block, size_t size);

/*
 * Return to the kernel what was not needed since the previous call, at most 8 MiB. Returns true if there is
 * more to return; then call it again in about a second.
 */
bool pool_trim(struct pool *p);

/* Would pool_get(@size) stay within the limit now? */
bool pool_has_room(const struct pool *p, size_t size);

/* The bytes that can be touched before the limit is reached; SIZE_MAX without a limit. */
size_t pool_spare(const struct pool *p);

/* The bytes of memory that were touched, which the limit is about. */
size_t pool_bytes_touched(const struct pool *p);

/* The bytes that a block of @size bytes really occupies: those of its size class. */
size_t pool_class_size(size_t size);

/* The bytes in blocks that are handed out, counted by their size classes. */
size_t pool_bytes_used(const struct pool *p);

/* The bytes of all slabs that the pool has from the kernel, used or not, touched or not. */
size_t pool_bytes_held(const struct pool *p);

#endif
