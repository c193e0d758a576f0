/*
 * Numbers, sizes and durations as typed on a command line or in a configuration, parsed by hand:
 * strtoull() lets blanks, signs and wrapped negatives through.
 *
 * A number is digits, for those with a unit also a fraction, then the unit. The value is computed
 * exactly, in integers: whole * unit + fraction * unit / 10^digits, with every step checked for
 * overflow; what does not fit is out of range, like everything beyond the caller's limits, which
 * are said back in the caller's unit.
 */
#include "base/number.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#include "base/util.h"

#define FRACTION_DIGITS 9

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit size_units[] = {
	{ "", 1 }, { "K", 1ull << 10 }, { "M", 1ull << 20 }, { "G", 1ull << 30 }, { "T", 1ull << 40 },
};

static const struct unit rate_units[] = {
	{ "", 1 },
	{ "K", 1000 },
	{ "M", 1000000 },
	{ "G", 1000000000 },
};

/* A point is only for numbers that may have a unit, so this one may have either. */
static const struct unit millionths[] = { { "", 1000000 }, { "", 1000000 } };

static const struct unit duration_units[] = {
	{ "ns", 1 },         { "us", NS_PER_US },      { "ms", NS_PER_MS },
	{ "s", NS_PER_SEC }, { "m", 60 * NS_PER_SEC }, { "h", 3600 * NS_PER_SEC },
};

static _Thread_local char words[160];

static const char *PRINTF_LIKE(1, 2) say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(words, sizeof(words), fmt, args);
	va_end(args);
	return words;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Digits into *@value; returns what follows them. *@overflow: they do not fit. */
static const char *digits(const char *p, uint64_t *value, bool *overflow)
{
	*value = 0;
	*overflow = false;
	for (; is_digit(*p); p++) {
		*overflow |= __builtin_mul_overflow(*value, 10, value);
		*overflow |= __builtin_add_overflow(*value, (uint64_t)(*p - '0'), value);
	}
	return p;
}

/* @value in the greatest unit that says it without a fraction. */
static const char *in_units(uint64_t value, const struct unit *units, size_t count, char *out, size_t room)
{
	size_t best = 0;

	for (size_t i = 0; value && i < count; i++) {
		if (value % units[i].factor == 0)
			best = i;
	}
	snprintf(out, room, "%llu%s", (unsigned long long)(value / units[best].factor),
		 value ? units[best].name : "");
	return out;
}

static const char *range(uint64_t min, uint64_t max, const struct unit *units, size_t count)
{
	char low[32], high[32];

	in_units(min, units, count, low, sizeof(low));
	if (max == UINT64_MAX)
		return say("out of range (%s or more, below 2^64)", low);
	return say("out of range (%s to %s)", low, in_units(max, units, count, high, sizeof(high)));
}

static const char *parse(const char *text, const struct unit *units, size_t count, const char *unit_words,
			 uint64_t min, uint64_t max, uint64_t *out)
{
	uint64_t whole, fraction = 0, scale = 1, value;
	const struct unit *unit = NULL;
	const char *p = text;
	bool overflow;

	if (!*p)
		return say("empty");
	if (*p == '-' && is_digit(p[1]))
		return range(min, max, units, count);
	if (!is_digit(*p))
		return say("not a number");
	p = digits(p, &whole, &overflow);
	if (*p == '.' && is_digit(p[1]) && count > 1) {
		for (p++; is_digit(*p); p++) {
			if (scale >= 1000000000)
				return say("more than %d digits after the point", FRACTION_DIGITS);
			fraction = fraction * 10 + (uint64_t)(*p - '0');
			scale *= 10;
		}
	}
	for (size_t i = 0; i < count; i++) {
		if (strcasecmp(p, units[i].name) == 0)
			unit = &units[i];
	}
	if (!unit && !*p && !whole && !fraction)
		unit = &units[0]; /* nothing of any unit */
	if (!unit && !*p)
		return say("a unit is missing (%s)", unit_words);
	if (!unit && count > 1)
		return say("\"%.20s\" is not a unit (%s)", p, unit_words);
	if (!unit)
		return say("not a number: \"%.20s\" follows the digits", p);
	/* fraction < 10^9 and the factors are below 2^42 (1 h in ns, 1 T): the product fits 128
	 * bits with ease */
	if (overflow || __builtin_mul_overflow(whole, unit->factor, &value) ||
	    __builtin_add_overflow(value, (uint64_t)((unsigned __int128)fraction * unit->factor / scale),
				   &value) ||
	    value < min || value > max)
		return range(min, max, units, count);
	*out = value;
	return NULL;
}

const char *number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	return parse(text, size_units, 1, "", min, max, out);
}

const char *number_parse_size(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	return parse(text, size_units, ARRAY_SIZE(size_units), "K, M, G or T", min, max, out);
}

const char *number_parse_rate(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	return parse(text, rate_units, ARRAY_SIZE(rate_units), "K, M or G", min, max, out);
}

const char *number_parse_millionths(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	return parse(text, millionths, ARRAY_SIZE(millionths), "none", min, max, out);
}

const char *number_parse_duration(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	return parse(text, duration_units, ARRAY_SIZE(duration_units), "ns, us, ms, s, m or h", min, max,
		     out);
}
