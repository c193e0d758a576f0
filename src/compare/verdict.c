/*
 * The verdict - theory of operation
 *
 * In: conditions as they were typed, and what was counted of a run. Out: a result for each, and one word for
 * all.
 *
 * Only conditions decide. All of them share the error: with five of them each has a fifth of it. One that
 * cannot be judged, because its class never came or has no room, is undecided and so is the verdict, unless
 * another one fails: a check of a name that does not exist must not pass.
 */
#include "compare/verdict.h"

#include <string.h>

#define NO_CLASS UINT32_MAX

static unsigned class_of(const struct blocks *b, const char *name)
{
	if (!name[0])
		return BLOCKS_TOTAL;
	for (unsigned i = 1; i <= blocks_classes(b); i++) {
		if (strcmp(blocks_class_name(b, i), name) == 0)
			return i;
	}
	return NO_CLASS;
}

static bool is_time(unsigned metric)
{
	return verdict_metrics[metric].quantile;
}

static enum blocks_metric timed(unsigned metric)
{
	switch (metric) {
	case VERDICT_ON_FIRST:
		return BLOCKS_FIRST;
	case VERDICT_ON_SERVICE:
		return BLOCKS_SERVICE;
	case VERDICT_ON_FELT:
		return BLOCKS_FELT;
	default:
		return BLOCKS_LAST;
	}
}

static void judge_times(const struct verdict_run *run, const struct condition *c, unsigned class,
			double confidence, struct rule_work *w, struct rule_result *r)
{
	const struct rule_quantile q = {
		.quantile = c->quantile,
		.absolute = c->unit == CONDITION_TIME,
		.limit = c->limit,
		.resolution = run->resolution,
	};

	blocks_view(run->blocks, class, timed(c->metric), &w->view);
	rule_judge(w, &q, confidence, r);
}

static void judge_one(const struct verdict_run *run, const struct condition *c, double confidence,
		      struct rule_work *w, struct rule_result *r)
{
	const unsigned class = class_of(run->blocks, c->class);

	*r = (struct rule_result){ .verdict = VERDICT_UNDECIDED, .reason = RULE_UNSEEN, .more = RULE_NEVER };
	if (class == NO_CLASS)
		return;
	if (!is_time(c->metric))
		proportion_judge(&run->counts[class].of[c->metric], c->limit, confidence, run->span, r);
	else if (blocks_class_cut(run->blocks, class))
		r->reason = RULE_MEMORY;
	else
		judge_times(run, c, class, confidence, w, r);
}

enum verdict verdict_judge(const struct verdict_run *run, const struct condition *c, unsigned count,
			   double confidence, struct rule_work *w, struct rule_result *results)
{
	bool failed = false, passed = count != 0;

	for (unsigned i = 0; i < count; i++) {
		judge_one(run, &c[i], rule_confidence(confidence, count), w, &results[i]);
		failed |= results[i].verdict == VERDICT_FAIL;
		passed &= results[i].verdict == VERDICT_PASS;
	}
	return failed ? VERDICT_FAIL : passed ? VERDICT_PASS : VERDICT_UNDECIDED;
}

uint64_t verdict_more(const struct rule_result *results, unsigned count)
{
	uint64_t more = 0;

	for (unsigned i = 0; i < count; i++) {
		if (results[i].verdict == VERDICT_UNDECIDED && results[i].more > more)
			more = results[i].more;
	}
	return more;
}

bool verdict_passed(const struct verdict_run *run, const struct condition *c, unsigned count, unsigned *which)
{
	for (unsigned i = 0; i < count; i++) {
		const unsigned class = is_time(c[i].metric) ? NO_CLASS : class_of(run->blocks, c[i].class);

		if (class != NO_CLASS && proportion_passed(&run->counts[class].of[c[i].metric], c[i].limit)) {
			*which = i;
			return true;
		}
	}
	return false;
}
