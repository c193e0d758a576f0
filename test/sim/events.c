/*
 * Simulator: chance and time - theory of operation
 *
 * One 64-bit state (SplitMix64) feeds every decision of a run, so that a seed is a run. Time is a
 * heap of events, ordered by time and, where that is equal, by the order in which they were made.
 * Nothing in the simulator asks the machine for either.
 */
#include "sim.h"

#include <stdlib.h>

uint64_t rng(struct world *w)
{
	uint64_t z = w->rng_state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

uint64_t rng_below(struct world *w, uint64_t n)
{
	return n ? rng(w) % n : 0;
}

uint64_t rng_range(struct world *w, uint64_t lo, uint64_t hi)
{
	unsigned bits = 0;
	uint64_t span = hi - lo, value;

	while (bits < 63 && span >> bits)
		bits++;
	/* half of the time any value, else first the magnitude, then the value */
	if (rng_below(w, 2))
		return lo + rng_below(w, span + 1);
	bits = (unsigned)rng_below(w, bits + 1);
	value = rng_below(w, 1ull << bits);
	return lo + MIN(span, value);
}

bool rng_chance(struct world *w, uint32_t ppm)
{
	return ppm && rng_below(w, MILLION) < ppm;
}

static bool before(const struct event *a, const struct event *b)
{
	return a->time != b->time ? a->time < b->time : a->order < b->order;
}

void at(struct world *w, uint64_t time, void (*fn)(struct world *, void *, uint64_t), void *arg, uint64_t n)
{
	struct event e = { MAX(time, w->now), w->order++, fn, arg, n };
	size_t i = w->n_heap++;

	if (w->n_heap > w->heap_size) {
		w->heap_size = w->heap_size ? 2 * w->heap_size : 256;
		w->heap = realloc(w->heap, w->heap_size * sizeof(*w->heap));
		if (!w->heap)
			abort();
	}
	for (; i && before(&e, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = e;
}

bool events_step(struct world *w, uint64_t until)
{
	struct event first, last;
	size_t i = 0, child;

	if (!w->n_heap || w->heap[0].time > until)
		return false;
	first = w->heap[0];
	last = w->heap[--w->n_heap];
	while ((child = 2 * i + 1) < w->n_heap) {
		if (child + 1 < w->n_heap && before(&w->heap[child + 1], &w->heap[child]))
			child++;
		if (!before(&w->heap[child], &last))
			break;
		w->heap[i] = w->heap[child];
		i = child;
	}
	if (w->n_heap)
		w->heap[i] = last;
	w->now = first.time;
	first.fn(w, first.arg, first.n);
	return true;
}
