/*
 * Responses that arrive before their WATCH - theory of operation
 *
 * A WATCH travels to this host over TCP, and the SYN that it announces travels to the target by another path,
 * so the SYN-ACK may be here before the WATCH. In: segments without an owner. Out: their records, in order,
 * when their WATCH comes; or a call that says that a segment was given up, because it waited too long or
 * because there was no room. Each segment that comes in goes out once.
 */
#include "intercept/watch/early.h"

#include <stdlib.h>

#include "base/util.h"
#include "intercept/watch/aged.h"

struct entry {
	struct aged_entry aged;
	struct response record;
};

struct early {
	struct aged *waiting;
	void (*given_up)(const struct tuple *t, const struct response *r, void *arg);
	void *arg;
};

struct early *early_new(const struct siphash_key *key,
			void (*given_up)(const struct tuple *t, const struct response *r, void *arg),
			void *arg)
{
	struct early *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->waiting = aged_new(key, EARLY_MAX, sizeof(struct entry));
	e->given_up = given_up;
	e->arg = arg;
	if (e->waiting)
		return e;
	free(e);
	return NULL;
}

void early_free(struct early *e)
{
	if (!e)
		return;
	early_expire(e, UINT64_MAX);
	aged_free(e->waiting);
	free(e);
}

unsigned early_waiting(const struct early *e)
{
	return aged_count(e->waiting);
}

/* An entry's first member is its struct aged_entry. */
static struct entry *entry_of(struct aged_entry *a)
{
	return (struct entry *)a;
}

static void give_up(struct early *e, struct entry *x)
{
	aged_remove(e->waiting, &x->aged);
	e->given_up(&x->aged.tuple, &x->record, e->arg);
}

void early_expire(struct early *e, uint64_t now)
{
	struct aged_entry *x;

	while ((x = aged_oldest(e->waiting)) && x->since + EARLY_NS <= now)
		give_up(e, entry_of(x));
}

void early_hold(struct early *e, const struct segment *s, uint64_t now)
{
	const uint32_t hash = aged_hash(e->waiting, &s->tuple);
	struct aged_entry *first;
	unsigned same = 0;

	early_expire(e, now);
	first = aged_find(e->waiting, hash, &s->tuple);
	for (const struct aged_entry *x = first; x; x = x->same)
		same++;
	if (same >= EARLY_MAX_PER_TUPLE) { /* the first segments of a session are the most useful */
		const struct response record = response_from_segment(0, s);

		e->given_up(&s->tuple, &record, e->arg);
		return;
	}
	if (aged_count(e->waiting) == EARLY_MAX) {
		give_up(e, entry_of(aged_oldest(e->waiting)));
		first = aged_find(e->waiting, hash, &s->tuple); /* it may have been that one */
	}
	entry_of(aged_add(e->waiting, first, hash, &s->tuple, now))->record = response_from_segment(0, s);
}

const struct response *early_first(struct early *e, const struct tuple *t, uint64_t now)
{
	const struct entry *x;

	early_expire(e, now);
	x = entry_of(aged_find(e->waiting, aged_hash(e->waiting, t), t));
	return x ? &x->record : NULL;
}

unsigned early_take(struct early *e, const struct tuple *t, uint64_t now,
		    void (*fn)(const struct response *r, void *arg), void *arg)
{
	struct aged_entry *x, *next;
	unsigned n = 0;

	early_expire(e, now);
	for (x = aged_find(e->waiting, aged_hash(e->waiting, t), t); x; x = next, n++) {
		next = x->same;
		aged_remove(e->waiting, x);
		fn(&entry_of(x)->record, arg);
	}
	return n;
}
