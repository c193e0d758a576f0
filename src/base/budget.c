/*
 * Budgets - theory of operation
 *
 * In: the wish to do something that somebody else can ask for at will, and the time. Out: whether it fits
 * into a rate. Instead of tokens that have to be filled up there is one number, the time up to which the rate
 * is spent: each use moves it on by @apart, it may not pass @now, and it lies at most @burst uses back.
 */
#include "base/budget.h"

#include "base/util.h"

bool budget_spend(struct budget *b, uint64_t now, uint64_t apart, unsigned burst)
{
	b->spent_until = MAX(b->spent_until, now - MIN(now, burst * apart));
	if (b->spent_until + apart > now)
		return false;
	b->spent_until += apart;
	return true;
}
