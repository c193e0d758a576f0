#ifndef BASE_NUMBER_H
#define BASE_NUMBER_H

#include <stdint.h>

/*
 * Strict parsers of what people type. Each parses the whole of @text: blanks, signs and trailing characters
 * are wrong. They return NULL and set *@out, or return words that say what is wrong and leave *@out alone.
 * The words are in static memory of the thread and hold until one of these functions is called there again.
 */

/* Parse a decimal number from @min to @max, both included, without a unit. */
const char *number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *out);

/*
 * Parse a size in bytes, from @min to @max bytes: a number alone, or with the unit K, M, G or T (powers of
 * 1024), such as 65536, 64K or 1.5G.
 */
const char *number_parse_size(const char *text, uint64_t min, uint64_t max, uint64_t *out);

/*
 * Parse a rate in bits/s, from @min to @max: a number alone, or with the unit K, M or G (powers of 1000),
 * such as 100M or 2.5G.
 */
const char *number_parse_rate(const char *text, uint64_t min, uint64_t max, uint64_t *out);

/*
 * Parse a factor or a count with a fraction, such as 0.25 or 1000, from @min to @max millionths, into those.
 */
const char *number_parse_millionths(const char *text, uint64_t min, uint64_t max, uint64_t *out);

/*
 * Parse a duration into ns, from @min to @max ns: a number with the unit ns, us, ms, s, m or h, such as 3s,
 * 200ms or 1.5s. 0 needs no unit.
 */
const char *number_parse_duration(const char *text, uint64_t min, uint64_t max, uint64_t *out);

#endif
