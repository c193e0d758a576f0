#ifndef TCPCOPY_CHOICE_BREAKER_H
#define TCPCOPY_CHOICE_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

/* So long must all be well before sessions begin again. */
#define BREAKER_WELL (30 * 1000000000ull)

/* It trips at once when its condition holds, and is over when that has not held for BREAKER_WELL. */
struct breaker {
	bool tripped;
	uint64_t held_at; /* ns, when the condition held last; valid with tripped */
	uint64_t since;   /* ns, when it tripped last; 0: never */
	uint64_t trips;   /* how often */
};

enum breaker_news { BREAKER_NOTHING, BREAKER_TRIPS, BREAKER_OVER };

/* The condition was looked at, at @now (ns, never back): does it hold? Returns what has changed. */
enum breaker_news breaker_look(struct breaker *b, bool holds, uint64_t now);

#endif
