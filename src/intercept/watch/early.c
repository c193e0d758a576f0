/*
 * Responses that are here before their WATCH.
 *
 * A WATCH goes over TCP to this host, the SYN that it announces over another way to the target:
 * either may be first. In: segments without an owner. Out: the same as records, when their WATCH
 * comes; or a call that says that one was given up.
 *
 * Entries lie in a ring in the order of capture, so the oldest is at its head, and those that have
 * waited too long are a prefix. Those of one bucket of tuples are also chained in that order, so
 * what leaves the ring at its head is always the first of its chain. An entry taken out of the
 * middle stays in the ring, marked, until the head passes it.
 */
#include "intercept/watch/early.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/util.h"

#define BUCKETS 1024u
#define NONE UINT16_MAX

struct entry {
	struct tuple tuple;
	struct response record;
	uint64_t time;
	uint16_t next; /* of its bucket; NONE: the last */
	uint16_t bucket;
	bool taken;
};

struct early {
	const struct siphash_key *key;
	void (*given_up)(const struct tuple *t, const struct response *r, void *arg);
	void *arg;
	unsigned head, count;
	unsigned waiting; /* of those, the ones that are not taken */
	uint16_t first[BUCKETS], last[BUCKETS];
	struct entry ring[EARLY_MAX];
};

struct early *early_new(const struct siphash_key *key,
			void (*given_up)(const struct tuple *t, const struct response *r, void *arg),
			void *arg)
{
	struct early *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->key = key;
	e->given_up = given_up;
	e->arg = arg;
	for (unsigned i = 0; i < BUCKETS; i++)
		e->first[i] = e->last[i] = NONE;
	return e;
}

void early_free(struct early *e)
{
	if (!e)
		return;
	early_expire(e, UINT64_MAX);
	free(e);
}

unsigned early_waiting(const struct early *e)
{
	return e->waiting;
}

static uint16_t bucket_of(const struct early *e, const struct tuple *t)
{
	return (uint16_t)(siphash(e->key, t, sizeof(*t)) % BUCKETS);
}

static void pop(struct early *e)
{
	struct entry *x = &e->ring[e->head];

	e->head = (e->head + 1) % EARLY_MAX;
	e->count--;
	if (x->taken)
		return;
	e->waiting--;
	e->first[x->bucket] = x->next;
	if (x->next == NONE)
		e->last[x->bucket] = NONE;
	e->given_up(&x->tuple, &x->record, e->arg);
}

void early_expire(struct early *e, uint64_t now)
{
	while (e->count && (e->ring[e->head].taken || e->ring[e->head].time + EARLY_NS <= now))
		pop(e);
}

void early_hold(struct early *e, const struct segment *s, uint64_t now)
{
	const uint16_t bucket = bucket_of(e, &s->tuple);
	unsigned same = 0, at;

	early_expire(e, now);
	for (at = e->first[bucket]; at != NONE; at = e->ring[at].next)
		same += tuple_eq(&e->ring[at].tuple, &s->tuple);
	if (same >= EARLY_MAX_PER_TUPLE) { /* what it begins with would be wanted first */
		const struct response record = response_from_segment(0, s);

		e->given_up(&s->tuple, &record, e->arg);
		return;
	}
	if (e->count == EARLY_MAX)
		pop(e);
	at = (e->head + e->count++) % EARLY_MAX;
	e->waiting++;
	e->ring[at] = (struct entry){ .tuple = s->tuple,
				      .record = response_from_segment(0, s),
				      .time = now,
				      .next = NONE,
				      .bucket = bucket };
	if (e->last[bucket] == NONE)
		e->first[bucket] = (uint16_t)at;
	else
		e->ring[e->last[bucket]].next = (uint16_t)at;
	e->last[bucket] = (uint16_t)at;
}

unsigned early_take(struct early *e, const struct tuple *t, uint64_t now,
		    void (*fn)(const struct response *r, void *arg), void *arg)
{
	const uint16_t bucket = bucket_of(e, t);
	uint16_t at, before = NONE;
	unsigned n = 0;

	early_expire(e, now);
	for (at = e->first[bucket]; at != NONE; at = e->ring[at].next) {
		struct entry *x = &e->ring[at];

		if (!tuple_eq(&x->tuple, t)) {
			before = at;
			continue;
		}
		if (before == NONE)
			e->first[bucket] = x->next;
		else
			e->ring[before].next = x->next;
		if (e->last[bucket] == at)
			e->last[bucket] = before;
		x->taken = true;
		e->waiting--;
		fn(&x->record, arg);
		n++;
	}
	return n;
}
