#ifndef BASE_SLOTS_H
#define BASE_SLOTS_H

#include <stdint.h>

#include "base/pool.h"

/*
 * Objects of one size, each with a number by which it is found in O(1) for as long as it lives. Memory is
 * taken from a pool in pieces of 64 KiB, and all empty pieces but one are returned to it. Objects never move.
 */
struct slots;

/*
 * New slots for objects of @size bytes, a multiple of 8 from 256 to 65536. @pool must outlive them. NULL if
 * out of memory.
 */
struct slots *slots_new(struct pool *pool, size_t size);

/* Free the slots and all objects, including those that are in use. */
void slots_free(struct slots *s);

/* Take an object, which is not cleared, and set *@number to its number. NULL if out of memory. */
void *slots_take(struct slots *s, uint32_t *number);

/* Return the object @number, which must be in use. The number may be given out again. */
void slots_give(struct slots *s, uint32_t number);

/* The object @number, or NULL if none in use has this number. Any value is allowed. */
void *slots_at(const struct slots *s, uint32_t number);

/*
 * The object in use with the lowest number that is at least *@number, which is set to that number. NULL if
 * there is none.
 */
void *slots_from(const struct slots *s, uint32_t *number);

/* How many objects are in use. */
uint32_t slots_count(const struct slots *s);

#endif
