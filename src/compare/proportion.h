#ifndef COMPARE_PROPORTION_H
#define COMPARE_PROPORTION_H

#include <stdbool.h>
#include <stdint.h>

#include "compare/rule.h"

/*
 * How large is the share of exchanges that differ, or fail? Exact intervals, for what is rare. Pure.
 */

/* What was counted: of @exchanges on @connections, @hits on @hit connections. */
struct proportion {
	uint64_t exchanges, hits;
	uint64_t connections, hit;
};

/*
 * The interval of @confidence for a probability of which @hits of @all were seen: exact (Clopper and
 * Pearson), so it is never too narrow. 0 of nothing is 0 to 1.
 */
struct rule_interval proportion_exact(uint64_t hits, uint64_t all, double confidence);

/*
 * The interval for the share of exchanges. What differs often comes together on one connection, so it is the
 * wider of two: that of the exchanges, and that of the connections times what a connection with hits adds.
 */
struct rule_interval proportion_interval(const struct proportion *p, double confidence);

/*
 * Judge *p by @limit, such as 0.001. Fills ratio (the share), verdict, reason, more; @span: ns counted so
 * far.
 */
void proportion_judge(const struct proportion *p, double limit, double confidence, uint64_t span,
		      struct rule_result *r);

/*
 * Has the limit been passed beyond doubt? May be asked after every hit: the interval is of 99.95 %, so that
 * one who looks all the time is still rarely wrong.
 */
bool proportion_passed(const struct proportion *p, double limit);

#endif
