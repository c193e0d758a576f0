/*
 * Flow table - theory of operation
 *
 * The table maps a flow_key (client, online, target, copy) to the newest session of that key. It owns nothing: sessions are freed by the
 * engine, which removes them here first.
 *
 * A slot is 16 bytes: the session's pointer and 32 bits of the hash, so a probe of a foreign slot is decided without touching
 * the foreign session. The table doubles at 3/4 full. Deletion shifts the following slots back, so there are no tombstones and the cost of a look-up
 * does not depend on how many sessions have come and gone.
 */
#include "tcpcopy/flow_table.h"

#include <stdlib.h>
#include <string.h>

struct slot {
	struct session *session;
	uint32_t hash;
};

struct flow_table {
	struct slot *slot;
	uint32_t mask;
	uint32_t count;
	struct siphash_key key;
};

/* The key without padding, as hashed. */
struct packed_key {
	uint8_t client[16], online[16];
	uint16_t client_port, online_port, target, copy;
};

static uint32_t hash_key(const struct flow_table *t, const struct flow_key *k)
{
	struct packed_key p;

	memcpy(p.client, k->client.addr.b, 16);
	memcpy(p.online, k->online.addr.b, 16);
	p.client_port = k->client.port;
	p.online_port = k->online.port;
	p.target = k->target;
	p.copy = k->copy;
	return (uint32_t)siphash(&t->key, &p, sizeof(p));
}

static bool key_eq(const struct flow_key *a, const struct flow_key *b)
{
	return a->target == b->target && a->copy == b->copy && endpoint_eq(&a->client, &b->client) &&
	       endpoint_eq(&a->online, &b->online);
}

struct flow_table *flow_table_new(const struct siphash_key *key)
{
	struct flow_table *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->key = *key;
	t->mask = 255;
	t->slot = calloc((size_t)t->mask + 1, sizeof(*t->slot));
	if (!t->slot) {
		free(t);
		return NULL;
	}
	return t;
}

void flow_table_free(struct flow_table *t)
{
	if (!t)
		return;
	free(t->slot);
	free(t);
}

/* Slot of @k, or the empty slot where its probe ends. */
static uint32_t probe(const struct flow_table *t, const struct flow_key *k, uint32_t hash)
{
	uint32_t i = hash & t->mask;

	while (t->slot[i].session &&
	       !(t->slot[i].hash == hash && key_eq(session_key(t->slot[i].session), k)))
		i = (i + 1) & t->mask;
	return i;
}

struct session *flow_table_find(const struct flow_table *t, const struct flow_key *k)
{
	return t->slot[probe(t, k, hash_key(t, k))].session;
}

static bool grow(struct flow_table *t)
{
	uint32_t mask = t->mask * 2 + 1;
	struct slot *slot = calloc((size_t)mask + 1, sizeof(*slot));

	if (!slot)
		return false;
	for (uint32_t i = 0; i <= t->mask; i++) {
		uint32_t j;

		if (!t->slot[i].session)
			continue;
		for (j = t->slot[i].hash & mask; slot[j].session; j = (j + 1) & mask)
			;
		slot[j] = t->slot[i];
	}
	free(t->slot);
	t->slot = slot;
	t->mask = mask;
	return true;
}

bool flow_table_put(struct flow_table *t, const struct flow_key *k, struct session *s)
{
	uint32_t hash = hash_key(t, k), i = probe(t, k, hash);

	if (!t->slot[i].session) {
		if (t->count >= t->mask / 4 * 3) {
			if (!grow(t))
				return false;
			i = probe(t, k, hash);
		}
		t->count++;
	}
	t->slot[i].session = s;
	t->slot[i].hash = hash;
	return true;
}

void flow_table_remove(struct flow_table *t, const struct flow_key *k)
{
	uint32_t hole = probe(t, k, hash_key(t, k)), i = hole;

	if (!t->slot[hole].session)
		return;
	t->count--;
	for (;;) {
		i = (i + 1) & t->mask;
		if (!t->slot[i].session)
			break;
		/* may move back only if its home is not inside (hole, i] */
		if (((i - t->slot[i].hash) & t->mask) >= ((i - hole) & t->mask)) {
			t->slot[hole] = t->slot[i];
			hole = i;
		}
	}
	t->slot[hole].session = NULL;
}

uint32_t flow_table_count(const struct flow_table *t)
{
	return t->count;
}
