/*
 * Connections on a target that a killed tcpcopy left behind - theory of operation
 *
 * In: the tuples of the watches of a channel connection that was lost. Out: whether a response of such a
 * tuple, which nobody watches now, should be reported to a tcpcopy, and on which host. It is the host that
 * had the watch, because only a tcpcopy there can know that the connection has no owner. The clients' own
 * connections to the target, which intercept sees on a gateway, were never watched and are never reported.
 *
 * A tcpcopy that is alive reconnects within ORPHAN_GRACE_NS and watches its sessions again. What it has not
 * watched by then was left by a tcpcopy that was killed. With --state the orphans survive a restart of
 * intercept.
 */
#include "intercept/watch/orphans.h"

#include <stdlib.h>

#include "base/util.h"
#include "intercept/watch/aged.h"

struct entry {
	struct aged_entry aged;
	struct addr owner;
	uint32_t process; /* 0: unknown */
	uint64_t told;    /* ns; 0: never */
};

struct orphans {
	struct aged *lost;
	bool changed;
};

struct orphans *orphans_new(const struct siphash_key *key)
{
	struct orphans *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->lost = aged_new(key, ORPHANS_MAX, sizeof(struct entry));
	if (o->lost)
		return o;
	free(o);
	return NULL;
}

void orphans_free(struct orphans *o)
{
	if (!o)
		return;
	aged_free(o->lost);
	free(o);
}

/* An entry's first member is its struct aged_entry. */
static struct entry *entry_of(struct aged_entry *a)
{
	return (struct entry *)a;
}

void orphans_expire(struct orphans *o, uint64_t now)
{
	struct aged_entry *x;

	while ((x = aged_oldest(o->lost)) && x->since + ORPHAN_LIFE_NS <= now)
		aged_remove(o->lost, x);
}

static void forget(struct orphans *o, uint32_t hash, const struct tuple *t)
{
	struct aged_entry *x = aged_find(o->lost, hash, t);

	if (!x)
		return;
	aged_remove(o->lost, x);
	o->changed = true;
}

void orphans_forget(struct orphans *o, const struct tuple *t)
{
	if (aged_count(o->lost))
		forget(o, aged_hash(o->lost, t), t);
}

bool orphans_claim(struct orphans *o, const struct tuple *t, uint32_t process)
{
	uint32_t hash;
	const struct entry *x;

	if (!process || !aged_count(o->lost))
		return false;
	hash = aged_hash(o->lost, t);
	x = entry_of(aged_find(o->lost, hash, t));
	if (!x || x->process != process)
		return false;
	forget(o, hash, t);
	return true;
}

void orphans_add(struct orphans *o, const struct tuple *t, const struct addr *owner, uint32_t process,
		 uint64_t now)
{
	const uint32_t hash = aged_hash(o->lost, t);
	struct entry *x;

	forget(o, hash, t);
	orphans_expire(o, now);
	if (aged_count(o->lost) == ORPHANS_MAX)
		aged_remove(o->lost, aged_oldest(o->lost));
	x = entry_of(aged_add(o->lost, NULL, hash, t, now));
	x->owner = *owner;
	x->process = process;
	x->told = 0;
	o->changed = true;
}

bool orphans_due(struct orphans *o, const struct tuple *t, uint64_t now, struct addr *owner)
{
	struct entry *x;

	if (!aged_count(o->lost))
		return false;
	x = entry_of(aged_find(o->lost, aged_hash(o->lost, t), t));
	if (!x || now < x->aged.since + ORPHAN_GRACE_NS || (x->told && now < x->told + ORPHAN_AGAIN_NS))
		return false;
	x->told = now;
	*owner = x->owner;
	return true;
}

bool orphans_of_another(const struct orphans *o, const struct tuple *t, const struct addr *owner,
			uint64_t now)
{
	const struct entry *x;

	if (!aged_count(o->lost))
		return false;
	x = entry_of(aged_find(o->lost, aged_hash(o->lost, t), t));
	return x && now < x->aged.since + ORPHAN_GRACE_NS && !addr_eq(&x->owner, owner);
}

bool orphans_changed(struct orphans *o)
{
	bool changed = o->changed;

	o->changed = false;
	return changed;
}

unsigned orphans_count(const struct orphans *o)
{
	return aged_count(o->lost);
}

void orphans_each(const struct orphans *o, void (*fn)(const struct orphan *x, void *arg), void *arg)
{
	for (struct aged_entry *a = aged_oldest(o->lost); a; a = a->younger) {
		const struct orphan x = { a->tuple, entry_of(a)->owner, a->since };

		fn(&x, arg);
	}
}
