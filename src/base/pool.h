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

/* Bytes of a pool, for the functions below; they stand first in it. */
struct pool_bytes {
	size_t limit; /* 0: none */
	size_t held;
	size_t used;
	size_t touched; /* of what is held: headers, and blocks that were ever handed out */
	size_t idle;    /* of what is touched: in empty slabs */
};

static inline const struct pool_bytes *pool_bytes(const struct pool *p)
{
	return (const struct pool_bytes *)(const void *)p;
}

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
static inline size_t pool_spare(const struct pool *p)
{
	const struct pool_bytes *n = pool_bytes(p);
	const size_t busy = n->touched - n->idle;

	return !n->limit ? SIZE_MAX : busy < n->limit ? n->limit - busy : 0;
}

/* The bytes of memory that were touched, which the limit is about. */
static inline size_t pool_bytes_touched(const struct pool *p)
{
	return pool_bytes(p)->touched;
}

/* The bytes that a block of @size bytes really occupies: those of its size class. */
static inline size_t pool_class_size(size_t size)
{
	unsigned shift;

	if (size <= POOL_MIN)
		return POOL_MIN;
	/* the classes above 2^(shift + 2) are multiples of 2^shift */
	shift = 61 - (unsigned)__builtin_clzll((unsigned long long)(size - 1));
	return (((size - 1) >> shift) + 1) << shift;
}

/* The bytes in blocks that are handed out, counted by their size classes. */
static inline size_t pool_bytes_used(const struct pool *p)
{
	return pool_bytes(p)->used;
}

/* The bytes of all slabs that the pool has from the kernel, used or not, touched or not. */
static inline size_t pool_bytes_held(const struct pool *p)
{
	return pool_bytes(p)->held;
}

#endif
