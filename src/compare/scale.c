/*
 * The scale of times: log-linear, as in base/hist, with four times its resolution: a limit of 1.10x is not
 * judged by buckets of 6 %. Who asks for a quantile interpolates inside its bucket. The range is bounded
 * at both ends to save memory: no two servers differ by 64 ns, and no answer after a minute is a good one.
 */
#include "compare/scale.h"

#define SUB (1u << SCALE_SUB_BITS)

unsigned scale_bucket(uint64_t ns)
{
	const uint64_t v = ns >> SCALE_UNIT_BITS;
	unsigned octave;

	if (v < SUB)
		return (unsigned)v;
	if (v >= 1ull << (SCALE_OCTAVES + SCALE_SUB_BITS))
		return SCALE_NEVER;
	octave = 63 - (unsigned)__builtin_clzll(v) - SCALE_SUB_BITS;
	return (octave << SCALE_SUB_BITS) + (unsigned)(v >> octave); /* the leading bit adds one SUB */
}

double scale_lower(unsigned i)
{
	const unsigned octave = i < SUB ? 0 : (i >> SCALE_SUB_BITS) - 1;
	const uint64_t v = i < SUB ? i : (uint64_t)(SUB + (i & (SUB - 1))) << octave;

	return (double)(v << SCALE_UNIT_BITS);
}

double scale_width(unsigned i)
{
	if (i >= SCALE_NEVER)
		return 0;
	return scale_lower(i + 1) - scale_lower(i);
}
