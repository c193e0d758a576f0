#ifndef COMPARE_SCALE_H
#define COMPARE_SCALE_H

#include <stdint.h>

/*
 * The scale of all histograms of times: buckets of 64 ns up to 4.1 us, and above 64 buckets an octave (1.6
 * %), up to 68.7 s. What takes longer, and what never came, is in the top bucket.
 */
#define SCALE_SUB_BITS 6
#define SCALE_UNIT_BITS 6 /* 64 ns */
#define SCALE_OCTAVES 24
#define SCALE_NEVER ((SCALE_OCTAVES + 1) << SCALE_SUB_BITS) /* the top bucket */
#define SCALE_BUCKETS (SCALE_NEVER + 1)

/* The time of an answer that never came. */
#define TIME_NEVER UINT64_MAX

/* The bucket of the time @ns. */
unsigned scale_bucket(uint64_t ns);

/* The least time of bucket @i, in ns: of the top bucket what stands for never. */
double scale_lower(unsigned i);

/* How many ns bucket @i is wide; 0 for the top bucket. */
double scale_width(unsigned i);

#endif
