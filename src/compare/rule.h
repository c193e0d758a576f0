#ifndef COMPARE_RULE_H
#define COMPARE_RULE_H

#include <stdbool.h>
#include <stdint.h>

#include "compare/blocks.h"

/*
 * The rules: is the target slower than it may be? Does it differ, or fail, more often than it may? Pure and
 * deterministic: the same counts give the same result. Memory is the caller's.
 */
enum verdict { VERDICT_PASS, VERDICT_FAIL, VERDICT_UNDECIDED, VERDICT_COUNT };

/* Why a rule is undecided. One table: enum, name, text. */
#define RULE_REASONS(X)                                                                                      \
	X(DECIDED, decided, "decided")                                                                       \
	X(UNSEEN, unseen, "nothing of it was seen")                                                          \
	X(FEW_BLOCKS, few_blocks, "too few blocks of time")                                                  \
	X(FEW_EXCHANGES, few_exchanges, "too few exchanges above the quantile")                              \
	X(DEPENDENT, dependent, "times change too slowly: too few independent blocks of time")               \
	X(WIDE, wide, "the limit is within the interval")                                                    \
	X(RESOLUTION, resolution, "the resolution is within the interval of the difference")                 \
	X(MEMORY, memory, "no room for all of its times")

enum rule_reason {
#define X(id, name, text) RULE_##id,
	RULE_REASONS(X)
#undef X
		RULE_REASON_COUNT
};

#define RULE_BLOCKS 20      /* fewest blocks */
#define RULE_EXCEEDANCES 20 /* fewest exchanges on either side of the quantile */
#define RULE_DEPENDENCE 0.2 /* lag-1 autocorrelation above which blocks are merged */
#define RULE_RESAMPLES 4000
#define RULE_NEVER UINT64_MAX /* no time would decide it, as far as can be seen */

/* A rule on a quantile of times. */
struct rule_quantile {
	double quantile;   /* 0.99 */
	bool absolute;     /* @limit is a time in ns of the target alone, else target / online */
	double limit;      /* 1.10, or ns */
	double resolution; /* ns; a smaller difference is none. Not for absolute limits and those below 1 */
};

/* Where a value is: the estimate and its interval. */
struct rule_interval {
	double value, low, high;
};

struct rule_result {
	enum verdict verdict;
	enum rule_reason reason;
	double online, target;           /* the quantiles, in ns; 68.7 s and more stand for never */
	struct rule_interval ratio;      /* target / online; if absolute, the target's quantile in ns */
	struct rule_interval difference; /* target - online, ns */
	unsigned blocks;                 /* that were resampled, of @length ns each */
	uint64_t length;
	double dependence; /* lag-1 autocorrelation of their log ratios' ranks */
	uint64_t more;     /* undecided: so many more ns would decide it, or RULE_NEVER */
};

/* What a rule works with; 1.8 MB. The caller fills @view, rule_judge() uses it up. */
struct rule_work {
	struct blocks_view view;
	double ratio[RULE_RESAMPLES], difference[RULE_RESAMPLES];
};

/*
 * Judge the times in w->view, with an interval of @confidence (0.95). PASS: its upper end is at most the
 * limit, or that of the difference at most the resolution. FAIL: the lower end is above the limit, and that
 * of the difference above the resolution. Otherwise, or with too little to go by, UNDECIDED.
 */
void rule_judge(struct rule_work *w, const struct rule_quantile *q, double confidence, struct rule_result *r);

/*
 * All rules that decide share one error, so that more rules do not mean more false alarms (Bonferroni): the
 * confidence of each of @rules.
 */
double rule_confidence(double of_all, unsigned rules);

/*
 * How much longer it takes until a run of @span ns is @times as long: 0 if it is; RULE_NEVER beyond 30 days.
 */
uint64_t rule_until(double times, uint64_t span);

/*
 * When may a run be judged that ends as soon as it is decided? Looking often finds something by chance, so it
 * is only when the time has doubled, with RULE_LOOK_CONFIDENCE for all rules together.
 */
#define RULE_CONFIDENCE 0.95
#define RULE_LOOK_CONFIDENCE 0.99
/* May it be judged after @judged ns in blocks? *@next, 0 at first, is when it may be next. */
bool rule_look(uint64_t *next, uint64_t judged, uint64_t length);

const char *rule_verdict_name(enum verdict v);
const char *rule_reason_name(enum rule_reason r);
const char *rule_reason_text(enum rule_reason r);

#endif
