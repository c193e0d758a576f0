/*
 * What follows from an announced target.
 *
 * In: uses and releases of endpoints by watches and connections. Out: the filter of the captures and the
 * elements of the guard's sets. To change a filter costs milliseconds, so new endpoints are gathered and put
 * into force once, at the end of the batch of messages that brought them. Whoever announces ever new ones
 * makes those of others wait, for a second at most, but not the packets. The guard takes endpoints without
 * waiting and repeats what fails; an endpoint that it does not take is offered again every second, and so is
 * a filter that the kernel does not take.
 */
#include "intercept/hole/announce.h"

#include "base/budget.h"
#include "program/clock.h"
#include "program/log.h"

/* To compile and attach a filter takes milliseconds of the thread that captures. */
#define CHANGES_APART (100 * NS_PER_MS)
#define CHANGES_BURST 32

static void offer_to_guard(struct announce *a)
{
	if (!a->guard || !a->unguarded)
		return;
	a->unguarded = false;
	for (unsigned i = 0; i < a->targets.count; i++) {
		struct target *t = &a->targets.list[i];

		t->guarded = t->guarded || guard_add(a->guard, &t->endpoint);
		a->unguarded |= !t->guarded;
	}
}

void announce_use(struct announce *a, const struct endpoint *e)
{
	const unsigned refused = a->targets.refused;

	if (targets_use(&a->targets, e)) {
		a->stale = a->unguarded = true;
	} else if (a->targets.refused != refused) {
		log_limited(LOGL_ERROR, "more than %u targets were announced; ignoring the others",
			    TARGETS_MAX);
	}
}

void announce_release(struct announce *a, const struct endpoint *e, uint64_t now)
{
	targets_release(&a->targets, e, now);
}

void announce_apply(struct announce *a)
{
	char filter[TARGETS_FILTER_SIZE], err[512];

	offer_to_guard(a);
	if (!a->stale)
		return;
	if (a->own_filter && !budget_spend(&a->changes, clock_now(), CHANGES_APART, CHANGES_BURST))
		return;
	a->stale = false;
	if (!a->own_filter)
		return;
	targets_filter(&a->targets, filter);
	a->refused = captures_set_filter(a->captures, filter, err, sizeof(err));
	if (a->refused)
		log_limited(LOGL_ERROR, "cannot change the capture filter to \"%s\": %s; trying again",
			    filter, err);
	else if (!a->silent)
		log_info("capturing %s", a->targets.count ? filter : "nothing: no target is announced");
}

static void let_go(const struct target *t, void *arg)
{
	struct announce *a = arg;

	if (t->guarded)
		guard_release(a->guard, &t->endpoint, clock_now());
}

void announce_expire(struct announce *a, uint64_t now)
{
	if (targets_expire(&a->targets, now, let_go, a) || a->refused)
		a->stale = true;
	announce_apply(a);
}
