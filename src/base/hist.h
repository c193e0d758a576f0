#ifndef BASE_HIST_H
#define BASE_HIST_H

#include <stdint.h>

/*
 * A log-linear histogram of uint64_t values, with 16 sub-buckets per octave (a resolution of 6 %). Its size
 * is fixed, and nothing is allocated.
 */
#define HIST_SUB_BITS 4
#define HIST_BUCKETS ((64 - HIST_SUB_BITS + 1) << HIST_SUB_BITS)
struct hist {
	uint64_t count, sum, min, max;
	uint64_t bucket[HIST_BUCKETS];
};
/* Make *h empty. A zeroed struct is empty as well. */
void hist_reset(struct hist *h);

/* Count @value once, in the unit that the caller has chosen for this histogram. */
void hist_add(struct hist *h, uint64_t value);

/* Add all values of @from to @into, as if they had been added one by one. Both have the same unit. */
void hist_merge(struct hist *into, const struct hist *from);

/*
 * Subtract @then, an earlier state of *h, so that the values added since then remain. The new min and max
 * are edges of buckets.
 */
void hist_subtract(struct hist *h, const struct hist *then);

/*
 * The value below which the share @q (0 to 1) of all values lies: the upper edge of its bucket, clamped to
 * max. 0 if the histogram is empty.
 */
uint64_t hist_quantile(const struct hist *h, double q);

#endif
