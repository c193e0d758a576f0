#ifndef BASE_SLOTS_H
#define BASE_SLOTS_H

#include <stdint.h>

#include "base/pool.h"

/*
 * Objects of one size, each with a number by which it is found in O(1) as long as it lives. Takes
 * 64 KB from a pool whenever it is full, gives them back when they are empty (all but one piece),
 * and never moves or copies an object.
 */
struct slots;

/* @size: bytes of an object, a multiple of 8, from 256 to 65536. NULL: no memory. */
struct slots *slots_new(struct pool *pool, size_t size);
void slots_free(struct slots *s); /* objects in use are gone with it */

/* An object, not cleared, and its number; NULL: no memory. */
void *slots_take(struct slots *s, uint32_t *number);
void slots_give(struct slots *s, uint32_t number);

/* NULL: not in use. @number may be anything. */
void *slots_at(const struct slots *s, uint32_t number);

/* The object in use with the lowest number from *@number on, which becomes its number; NULL: there
 * is none. */
void *slots_from(const struct slots *s, uint32_t *number);

uint32_t slots_count(const struct slots *s); /* objects in use */

#endif
