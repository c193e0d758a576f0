/*
 * Flow table - theory of operation
 *
 * The table maps a flow_key (client, online, target, copy) to the newest session of that key. It
 * owns nothing: sessions are freed by the engine, which removes them here first. The sessions' part
 * in it is their by_key, see base/table.h: nothing is allocated for a session, growing is spread
 * over the sessions that come, and the cost of a look-up does not depend on how many have come and
 * gone.
 */
#include "session/flow_table.h"

#include <string.h>

#include "session/impl.h"

struct flow_table {
	struct pool *pool; /* where all of it comes from */
	struct table *table;
	struct siphash_key key;
};

/* The key without padding, as hashed; a shorter one where all is IPv4. */
struct packed_key {
	uint16_t client_port, online_port, target, copy;
	uint8_t client[16], online[16];
};
struct packed_key_v4 {
	uint16_t client_port, online_port, target, copy;
	uint8_t client[4], online[4];
};

static uint32_t hash_key(const struct flow_table *t, const struct flow_key *k)
{
	struct packed_key_v4 four = {
		.client_port = k->client.port,
		.online_port = k->online.port,
		.target = k->target,
		.copy = k->copy,
	};
	struct packed_key p;

	if (addr_is_v4(&k->client.addr) && addr_is_v4(&k->online.addr)) {
		memcpy(four.client, k->client.addr.b + 12, 4);
		memcpy(four.online, k->online.addr.b + 12, 4);
		return (uint32_t)siphash(&t->key, &four, sizeof(four));
	}
	memcpy(&p, &four, offsetof(struct packed_key, client));
	memcpy(p.client, k->client.addr.b, 16);
	memcpy(p.online, k->online.addr.b, 16);
	return (uint32_t)siphash(&t->key, &p, sizeof(p));
}

static struct session *session_of(struct table_node *n)
{
	return n ? CONTAINER_OF(n, struct session, by_key) : NULL;
}

static bool key_eq(struct table_node *n, const void *key)
{
	const struct flow_key *a = &session_of(n)->key, *b = key;

	return a->target == b->target && a->copy == b->copy && endpoint_eq(&a->client, &b->client) &&
	       endpoint_eq(&a->online, &b->online);
}

struct flow_table *flow_table_new(const struct siphash_key *key, struct pool *pool)
{
	struct flow_table *t = pool_get(pool, sizeof(*t));

	if (!t)
		return NULL;
	t->pool = pool;
	t->key = *key;
	t->table = table_new(pool);
	if (!t->table) {
		pool_put(pool, t, sizeof(*t));
		return NULL;
	}
	return t;
}

void flow_table_free(struct flow_table *t)
{
	if (!t)
		return;
	table_free(t->table);
	pool_put(t->pool, t, sizeof(*t));
}

struct session *flow_table_find(const struct flow_table *t, const struct flow_key *k)
{
	return session_of(table_find(t->table, hash_key(t, k), key_eq, k));
}

void flow_table_put(struct flow_table *t, struct session *s)
{
	uint32_t hash = hash_key(t, &s->key);
	struct table_node *old = table_find(t->table, hash, key_eq, &s->key);

	if (old)
		table_remove(t->table, old);
	table_add(t->table, &s->by_key, hash);
}

bool flow_table_remove(struct flow_table *t, struct session *s)
{
	return table_remove(t->table, &s->by_key);
}

uint32_t flow_table_prefetch(const struct flow_table *t, const struct flow_key *k)
{
	uint32_t hash = hash_key(t, k);

	table_prefetch(t->table, hash);
	return hash;
}

const struct session *flow_table_likely(const struct flow_table *t, uint32_t hash)
{
	return session_of(table_likely(t->table, hash));
}
