/*
 * A breaker - theory of operation
 *
 * In: the time, and whether a condition holds. Out: whether it is tripped, and when that changes. It trips
 * with the first look at which the condition holds, for what suffers is not to wait; and it is over only
 * after a while in which the condition has not held at any look, or a target that is just about to recover
 * would be given all of the load at once, again and again.
 */
#include "tcpcopy/choice/breaker.h"

enum breaker_news breaker_look(struct breaker *b, bool holds, uint64_t now)
{
	if (holds)
		b->held_at = now;
	if (holds && !b->tripped) {
		b->tripped = true;
		b->since = now;
		b->trips++;
		return BREAKER_TRIPS;
	}
	if (b->tripped && now >= b->held_at + BREAKER_WELL) {
		b->tripped = false;
		return BREAKER_OVER;
	}
	return BREAKER_NOTHING;
}
