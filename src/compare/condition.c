/*
 * Conditions - theory of operation
 *
 * In: a text such as "GET /cart: first p50 > 5ms or errors > 0.01%". Out: what it is about and its limit, or
 * which part of it is wrong.
 *
 * The text is cut at " or ", each part at ">"; a class is what stands before the last ": ". The words on the
 * left are a metric, a quantile, or both. A name that nobody knows is an error, never a condition that is
 * always met: a check that cannot fail is worse than none.
 */
#include "compare/condition.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/number.h"
#include "base/util.h"

#define PART 160 /* bytes of one condition */
#define MILLION 1000000u
#define OR " or "

struct parser {
	const struct condition_metric *metrics;
	unsigned count;
	char *error;
	size_t size;
};

static bool PRINTF_LIKE(2, 3) wrong(const struct parser *p, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(p->error, p->size, fmt, args);
	va_end(args);
	return false;
}

/* Cut blanks off both ends. */
static char *trim(char *text)
{
	size_t len;

	text += strspn(text, " \t");
	len = strlen(text);
	while (len && strchr(" \t", text[len - 1]))
		text[--len] = '\0';
	return text;
}

/* ", "-separated names of the metrics. */
static const char *names(const struct parser *p, char *out, size_t room)
{
	size_t len = 0;

	out[0] = '\0';
	for (unsigned i = 0; i < p->count && len < room; i++)
		len += (size_t)snprintf(out + len, room - len, "%s%s", i ? ", " : "", p->metrics[i].name);
	return out;
}

/* Examples of the limits that @m takes. */
static const char *examples(const struct condition_metric *m)
{
	static const char *const words[] = {
		[CONDITION_TIMES] = "a factor (1.2x)",
		[CONDITION_TIME] = "a time (5ms)",
		[CONDITION_TIMES | CONDITION_TIME] = "a factor (1.2x), a time (5ms)",
		[CONDITION_SHARE] = "a share (0.1%)",
		[CONDITION_COUNT] = "a number (10)",
		[CONDITION_SHARE | CONDITION_TIMES] = "a factor (1.2x), a share (0.1%)",
		[CONDITION_SHARE | CONDITION_TIME] = "a time (5ms), a share (0.1%)",
		[CONDITION_SHARE | CONDITION_TIME | CONDITION_TIMES] =
			"a factor (1.2x), a time (5ms), a share (0.1%)",
	};

	return words[m->units];
}

static const struct condition_metric *find(const struct parser *p, const char *name)
{
	for (unsigned i = 0; i < p->count; i++) {
		if (strcmp(p->metrics[i].name, name) == 0)
			return &p->metrics[i];
	}
	return NULL;
}

/* Is it a p and a digit? */
static bool is_quantile(const char *word)
{
	return word[0] == 'p' && word[1] >= '0' && word[1] <= '9';
}

static bool parse_quantile(const struct parser *p, const char *word, double *quantile)
{
	uint64_t millionths;

	if (number_parse_millionths(word + 1, 1, 100 * MILLION - 1, &millionths))
		return wrong(
			p,
			"\"%s\": not a quantile; accepted: above p0 and below p100, such as p50, p99, p99.9",
			word);
	*quantile = (double)millionths / (100.0 * MILLION);
	return true;
}

/* The words before ">": a metric, a quantile, or both in this order. */
static bool parse_subject(const struct parser *p, char *text, struct condition *c,
			  const struct condition_metric **metric)
{
	char accepted[PART];
	char *second = text + strcspn(text, " \t");
	bool alone;

	if (*second) {
		*second++ = '\0';
		second = trim(second);
	}
	alone = is_quantile(text);
	*metric = alone ? &p->metrics[0] : find(p, text);
	if (!alone && !*metric)
		return wrong(
			p,
			"\"%s\": no such metric; accepted: %s, or a quantile of %s such as p99; a class ends with \": \"",
			text, names(p, accepted, sizeof(accepted)), p->metrics[0].name);
	c->metric = (*metric)->id;
	if (alone && *second)
		return wrong(p, "\"%s\": nothing may stand between the quantile and >", second);
	if (alone)
		second = text;
	if (!(*metric)->quantile && *second)
		return wrong(p, "\"%s\": %s has no quantiles", second, text);
	if ((*metric)->quantile && !is_quantile(second))
		return wrong(p, "\"%s\": a quantile is missing; accepted: %s p99 and such",
			     *second ? second : text, (*metric)->name);
	return !(*metric)->quantile || parse_quantile(p, second, &c->quantile);
}

static bool parse_limit(const struct parser *p, char *text, const struct condition_metric *m,
			struct condition *c)
{
	const size_t len = strlen(text);
	const char last = len ? text[len - 1] : '\0', *why;
	uint64_t value = 0;

	c->unit = last == 'x' ? CONDITION_TIMES : last == '%' ? CONDITION_SHARE : CONDITION_TIME;
	if (m->units == CONDITION_COUNT)
		c->unit = CONDITION_COUNT;
	if (c->unit == CONDITION_COUNT) {
		why = number_parse(text, 0, UINT32_MAX, &value);
		c->limit = (double)value;
	} else if (c->unit == CONDITION_TIME) {
		why = number_parse_duration(text, 1, UINT64_MAX / 2, &value);
		c->limit = (double)value;
	} else {
		text[len - 1] = '\0';
		why = number_parse_millionths(text, 0, 1000000ull * MILLION, &value);
		c->limit = (double)value / MILLION / (c->unit == CONDITION_SHARE ? 100 : 1);
		text[len - 1] = last;
		if (!why && c->unit == CONDITION_TIMES && !value)
			why = "a factor of 0";
		if (!why && c->unit == CONDITION_SHARE && value >= 100 * MILLION)
			why = "more than all";
	}
	if (!why && !(c->unit & m->units))
		why = "not of its kind";
	return !why || wrong(p, "\"%s\": no limit for %s: %s; accepted: %s", text, m->name, why, examples(m));
}

static bool parse_class(const struct parser *p, const char *text, struct condition *c)
{
	const size_t len = strlen(text);

	if (!len)
		return wrong(p, "\"\": the class before \": \" is empty");
	if (len >= CONDITION_CLASS)
		return wrong(p, "\"%s\": a class has at most %d characters", text, CONDITION_CLASS - 1);
	memcpy(c->class, text, len + 1);
	return true;
}

/* The last ": ", behind which the subject is, or NULL. */
static char *class_end(char *text)
{
	char *last = NULL;

	for (char *at = strstr(text, ": "); at; at = strstr(at + 1, ": "))
		last = at;
	return last;
}

/* One condition; @text is cut to pieces. */
static bool parse_one(const struct parser *p, char *text, struct condition *c)
{
	const struct condition_metric *metric = NULL;
	char *limit = strrchr(text, '>'), *subject = text, *colon;

	*c = (struct condition){ .limit = 0 };
	if (!limit)
		return wrong(p, "\"%s\": > and a limit are missing, as in p99 > %s", trim(text),
			     p->metrics[0].units & CONDITION_TIMES ? "1.2x" : "2s");
	*limit++ = '\0';
	colon = class_end(text);
	if (colon) {
		*colon = '\0';
		subject = colon + 2;
		if (!parse_class(p, trim(text), c))
			return false;
	}
	return parse_subject(p, trim(subject), c, &metric) && parse_limit(p, trim(limit), metric, c);
}

unsigned condition_parse(const char *text, const struct condition_metric *metrics, unsigned count,
			 struct condition *out, unsigned room, char *error, size_t size)
{
	const struct parser p = { .metrics = metrics, .count = count, .error = error, .size = size };
	const char *end;
	char part[PART];
	unsigned n = 0;

	assert(metrics && count);
	do {
		size_t len;

		end = strstr(text, OR);
		len = end ? (size_t)(end - text) : strlen(text);
		if (len >= sizeof(part))
			return wrong(&p, "\"%.20s...\": longer than %zu characters", text, sizeof(part) - 1);
		if (n == room)
			return wrong(&p, "\"%.60s\": more than %u conditions", text, room);
		memcpy(part, text, len);
		part[len] = '\0';
		if (!parse_one(&p, part, &out[n++]))
			return 0;
		text = end ? end + strlen(OR) : text;
	} while (end);
	return n;
}

const struct condition_metric verdict_metrics[] = {
#define X(id, name, units, quantile) { #name, VERDICT_ON_##id, units, quantile },
	VERDICT_METRICS(X)
#undef X
};
