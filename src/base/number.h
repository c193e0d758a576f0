#ifndef BASE_NUMBER_H
#define BASE_NUMBER_H

#include <stdint.h>

/*
 * Strict parsers of what people type. Each takes the whole of @text: no blanks, signs or rest are
 * let through. They return NULL and set *@out, or say in words what is wrong and leave *@out alone.
 * The words are in static memory of the thread, and hold until one of these is called there again.
 */

/* A decimal number from @min to @max. */
const char *number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *out);

/* Bytes: a number, or one with K, M, G or T (powers of 1024): 65536, 64K, 1.5G. */
const char *number_parse_size(const char *text, uint64_t min, uint64_t max, uint64_t *out);

/* A time in ns: a number with ns, us, ms, s, m or h: 3s, 200ms, 1.5s; 0 needs no unit. @min and
 * @max in ns. */
const char *number_parse_duration(const char *text, uint64_t min, uint64_t max, uint64_t *out);

#endif
