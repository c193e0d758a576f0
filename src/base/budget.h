#ifndef BASE_BUDGET_H
#define BASE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What may happen so often: once every `apart` ns in the long run, and up to `burst` times at once after a
 * time of rest. Zero-initialised, it is full as soon as the clock is beyond burst * apart.
 */
struct budget {
	uint64_t spent_until; /* ns */
};

/* Once more at @now (ns, which never goes back)? False: not yet, and then nothing is spent. */
bool budget_spend(struct budget *b, uint64_t now, uint64_t apart, unsigned burst);

#endif
