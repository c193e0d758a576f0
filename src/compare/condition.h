#ifndef COMPARE_CONDITION_H
#define COMPARE_CONDITION_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Conditions as people type them:
 *
 *     [CLASS: ] [METRIC] [pQUANTILE] > LIMIT [or ...]
 *
 * such as "p99 > 1.2x", "GET /cart: first p50 > 5ms", "differ > 0.1% or errors > 0.01%". Which metrics there
 * are, and what limits they take, is the caller's table. Pure; nothing is allocated.
 */
#define CONDITION_CLASS 64 /* bytes of a class's name, with the 0 at its end */

/* What a limit is. A set in struct condition_metric. */
enum condition_unit {
	CONDITION_TIMES = 1, /* 1.2x */
	CONDITION_TIME = 2,  /* 5ms */
	CONDITION_SHARE = 4, /* 0.1% */
	CONDITION_COUNT = 8, /* 10; of a metric that takes nothing else */
};

struct condition_metric {
	const char *name;
	unsigned id;    /* the caller's */
	unsigned units; /* a set of enum condition_unit */
	bool quantile;  /* it is a distribution: a condition on it needs a quantile */
};

struct condition {
	char class[CONDITION_CLASS]; /* "": of all */
	unsigned metric;             /* id of the table's row */
	double quantile;             /* 0.99, or 0 for a metric that has none */
	enum condition_unit unit;
	double limit; /* a factor, ns, a share of 1, or a number */
};

/*
 * Parse @text into at most @room conditions at @out, of which one is enough. Returns how many there are, or 0
 * and sets @error (of @size bytes) to words that name the wrong part and what is accepted. A quantile without
 * a metric is one of @metrics[0].
 */
unsigned condition_parse(const char *text, const struct condition_metric *metrics, unsigned count,
			 struct condition *out, unsigned room, char *error, size_t size);

/* What a verdict can be about. One table: enum, name, set of units, has it quantiles? */
#define VERDICT_METRICS(X)                                                                                   \
	X(LAST, last, CONDITION_TIMES | CONDITION_TIME, true)                                                \
	X(FIRST, first, CONDITION_TIMES | CONDITION_TIME, true)                                              \
	X(SERVICE, service, CONDITION_TIMES | CONDITION_TIME, true)                                          \
	X(FELT, felt, CONDITION_TIMES | CONDITION_TIME, true)                                                \
	X(DIFFER, differ, CONDITION_SHARE, false)                                                            \
	X(ERRORS, errors, CONDITION_SHARE, false)                                                            \
	X(SILENT, silent, CONDITION_SHARE, false)                                                            \
	X(CLOSED, closed, CONDITION_SHARE, false)

enum verdict_metric {
#define X(id, name, units, quantile) VERDICT_ON_##id,
	VERDICT_METRICS(X)
#undef X
		VERDICT_METRIC_COUNT
};

/* The table for condition_parse(), of VERDICT_METRIC_COUNT rows; ids are enum verdict_metric. */
extern const struct condition_metric verdict_metrics[];

#endif
