/*
 * Limits of sessions - theory of operation
 *
 * In: how many sessions are live, and the time. Out: may one more begin? Workers share nothing, so each
 * has its part of both limits; the kernel spreads the connections evenly over them.
 */
#include "tcpcopy/choice/limits.h"

#include "base/util.h"

#define MILLION 1000000ull
#define BURSTS_PER_SECOND 10

void limits_init(struct limits *l, uint64_t sessions, uint64_t rate, unsigned workers)
{
	*l = (struct limits){ .sessions = sessions ? (unsigned)MAX(1, sessions / workers) : 0 };
	if (!rate)
		return;
	l->apart = NS_PER_SEC * MILLION / rate * workers;
	l->burst = (unsigned)MAX(1, rate / MILLION / BURSTS_PER_SECOND / workers);
}

enum decline limits_admit(struct limits *l, unsigned live, uint64_t now)
{
	if (l->sessions && live >= l->sessions)
		return DECLINE_MAX_SESSIONS;
	if (l->apart && !budget_spend(&l->begun, now, l->apart, l->burst))
		return DECLINE_MAX_RATE;
	return DECLINE_COUNT;
}
