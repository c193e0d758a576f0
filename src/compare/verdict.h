#ifndef COMPARE_VERDICT_H
#define COMPARE_VERDICT_H

#include "compare/blocks.h"
#include "compare/condition.h"
#include "compare/proportion.h"
#include "compare/rule.h"

/*
 * The verdict on a run: all conditions that decide, judged together. Pure; memory is the caller's.
 */

/* What decides if nobody says what does. */
#define VERDICT_DEFAULTS "p50 > 1.1x or p99 > 1.1x or differ > 0.1% or errors > 0.01% or silent > 0.01%"
#define VERDICT_CONDITIONS 32 /* at most */

/* Exchanges of a class that were counted, by enum verdict_metric; times have none. */
struct verdict_counts {
	struct proportion of[VERDICT_METRIC_COUNT];
};

/* What is judged. */
struct verdict_run {
	const struct blocks *blocks;
	const struct verdict_counts *counts; /* by class: [0] of all, [blocks_classes()] the last */
	double resolution;                   /* ns; a smaller difference of times is none */
	uint64_t span;                       /* ns in which was counted */
};

/*
 * Judge *run by the @count conditions at @c, with @confidence for all of them together. results[i] is that of
 * c[i]. Returns PASS if all pass and FAIL if one fails. A class that was never seen is undecided.
 */
enum verdict verdict_judge(const struct verdict_run *run, const struct condition *c, unsigned count,
			   double confidence, struct rule_work *w, struct rule_result *results);

/* So many more ns would decide all that are undecided, of @count results; RULE_NEVER: nobody knows. */
uint64_t verdict_more(const struct rule_result *results, unsigned count);

/*
 * May a run be stopped at once, because one of the conditions on counts has been passed beyond doubt? May be
 * asked after every hit; *which is its number.
 */
bool verdict_passed(const struct verdict_run *run, const struct condition *c, unsigned count,
		    unsigned *which);

#endif
