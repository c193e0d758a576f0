#ifndef BASE_HIST_H
#define BASE_HIST_H

#include <stdint.h>

/* A log-linear histogram (16 sub-buckets an octave: 6 % resolution) of uint64_t values, fixed size,
 * no allocation. */
#define HIST_SUB_BITS 4
#define HIST_BUCKETS ((64 - HIST_SUB_BITS + 1) << HIST_SUB_BITS)
struct hist {
	uint64_t count, sum, min, max;
	uint64_t bucket[HIST_BUCKETS];
};
void hist_reset(struct hist *h);
void hist_add(struct hist *h, uint64_t value);
void hist_merge(struct hist *into, const struct hist *from);
/*
 * Take away @then, an earlier state of *h: what was added since remains. Its min and max are then edges of
 * buckets.
 */
void hist_subtract(struct hist *h, const struct hist *then);
/* @q: 0 to 1. The upper edge of the bucket, clamped to max; 0 when empty. */
uint64_t hist_quantile(const struct hist *h, double q);

#endif
