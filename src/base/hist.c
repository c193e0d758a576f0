/*
 * A log-linear histogram: values under 16 have a bucket each; above, every octave (2^k to 2^(k+1))
 * is cut into 16 equal parts, so a quantile is wrong by 1/16 of its value at most, at any
 * magnitude, and adding is a shift and an increment. The sum saturates instead of wrapping: a mean
 * that is too small beats one that is nonsense.
 *
 * In: values of any unit, one at a time or from another histogram. Out: count, sum, min, max,
 * quantiles. The owner is whoever declares the struct; there is nothing to free.
 */
#include "base/hist.h"

#include <stdbool.h>
#include <string.h>

#define SUB (1u << HIST_SUB_BITS)

static unsigned bucket_of(uint64_t value)
{
	unsigned octave;

	if (value < SUB)
		return (unsigned)value;
	octave = 63 - (unsigned)__builtin_clzll(value) - HIST_SUB_BITS;
	return (octave << HIST_SUB_BITS) + (unsigned)(value >> octave); /* the leading bit adds one SUB */
}

/* The greatest value that falls into bucket @i. */
static uint64_t upper_edge(unsigned i)
{
	unsigned octave;

	if (i < 2 * SUB)
		return i;
	octave = (i >> HIST_SUB_BITS) - 1;
	return ((uint64_t)(SUB + (i & (SUB - 1))) << octave) + ((1ull << octave) - 1);
}

static uint64_t add_saturating(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

void hist_reset(struct hist *h)
{
	memset(h, 0, sizeof(*h));
}

void hist_add(struct hist *h, uint64_t value)
{
	if (!h->count || value < h->min)
		h->min = value;
	if (value > h->max)
		h->max = value;
	h->count++;
	h->sum = add_saturating(h->sum, value);
	h->bucket[bucket_of(value)]++;
}

void hist_merge(struct hist *into, const struct hist *from)
{
	if (!from->count)
		return;
	if (!into->count || from->min < into->min)
		into->min = from->min;
	if (from->max > into->max)
		into->max = from->max;
	into->count += from->count;
	into->sum = add_saturating(into->sum, from->sum);
	for (unsigned i = 0; i < HIST_BUCKETS; i++)
		into->bucket[i] += from->bucket[i];
}

void hist_subtract(struct hist *h, const struct hist *then)
{
	uint64_t most = h->max;
	bool any = false;

	h->count -= then->count;
	h->sum -= then->sum;
	h->min = h->max = 0;
	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		h->bucket[i] -= then->bucket[i];
		if (!h->bucket[i])
			continue;
		h->max = upper_edge(i) < most ? upper_edge(i) : most;
		if (!any)
			h->min = i ? upper_edge(i - 1) + 1 : 0;
		any = true;
	}
}

uint64_t hist_quantile(const struct hist *h, double q)
{
	uint64_t rank, seen = 0;

	if (!h->count || q >= 1)
		return h->max;
	rank = q > 0 ? (uint64_t)(q * (double)h->count) : 0;
	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen > rank) {
			uint64_t edge = upper_edge(i);

			return edge < h->max ? edge : h->max;
		}
	}
	return h->max;
}
