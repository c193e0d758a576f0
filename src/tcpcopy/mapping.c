/*
 * Source mapping - theory of operation
 *
 * Without a pool a session keeps the client's endpoint and nothing is stored here. With one (-c), a client
 * address is hashed to an address of the pool of its family, so that one client stays one client, and keeps
 * its port. Many clients on few addresses would collide on equal ports; so the endpoints in use towards
 * each target are kept in a table (base/table.h), and a taken one is avoided: first the other addresses of
 * the pool with the same port, then the first address with other ports. The hash is keyed, because clients
 * choose their ports.
 *
 * Workers share the pool without knowing of each other: an endpoint is for the worker to which connections
 * from its port go. With a pool they are spread by the client's port alone, so a client's own port is
 * always one of ours.
 */
#include "tcpcopy/mapping.h"

#include <stdlib.h>

#include "base/pool.h"
#include "base/table.h"
#include "base/util.h"

#define ADDRESS_TRIES 256
#define PORT_TRIES 512

/* What makes an endpoint unique: to another target it may be used again. */
struct place {
	struct endpoint source;
	uint16_t target;
};

struct taken {
	struct table_node node;
	struct place at;
};

struct mapping {
	const struct config *c;
	const struct fanout *spread;
	unsigned worker;
	struct siphash_key key;
	struct pool *pool;
	struct table *taken;
};

struct mapping *mapping_new(const struct config *c, const struct fanout *spread, unsigned worker,
			    const struct siphash_key *key)
{
	struct mapping *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->c = c;
	m->spread = spread;
	m->worker = worker;
	m->key = *key;
	m->pool = pool_new(0);
	if (m->pool)
		m->taken = table_new(m->pool);
	if (m->taken)
		return m;
	mapping_free(m);
	return NULL;
}

void mapping_free(struct mapping *m)
{
	if (!m)
		return;
	table_free(m->taken);
	pool_free(m->pool);
	free(m);
}

_Static_assert(sizeof(struct place) == 20, "there is no padding, so all of it can be hashed");

static uint32_t hash_of(const struct mapping *m, const struct place *at)
{
	return (uint32_t)siphash(&m->key, at, sizeof(*at));
}

static bool is_at(struct table_node *n, const void *key)
{
	const struct taken *t = CONTAINER_OF(n, struct taken, node);
	const struct place *at = key;

	return t->at.target == at->target && endpoint_eq(&t->at.source, &at->source);
}

/* Take @source, and remember it in @t, if it is free and ours. */
static bool claim(struct mapping *m, struct taken *t, const struct endpoint *source)
{
	uint32_t hash;

	if (fanout_port_worker(m->spread, source->port) != m->worker)
		return false;
	t->at.source = *source;
	hash = hash_of(m, &t->at);
	if (table_find(m->taken, hash, is_at, &t->at))
		return false;
	table_add(m->taken, &t->node, hash);
	return true;
}

/*
 * Addresses of a prefix that a host may have, counted up to 2^32: an IPv4 network's own and its broadcast
 * address are none.
 */
static uint64_t prefix_size(const struct prefix *p, uint64_t *first)
{
	uint64_t size = 1ull << MIN(128 - p->len, 32);
	bool ends = addr_is_v4(&p->addr) && size > 2;

	*first = ends ? 1 : 0;
	return ends ? size - 2 : size;
}

/* Addresses of the pool of one family. */
static uint64_t pool_size(const struct config *c, bool v4)
{
	uint64_t first, sum = 0;

	for (unsigned i = 0; i < c->n_pool; i++)
		if (addr_is_v4(&c->pool[i].addr) == v4)
			sum += prefix_size(&c->pool[i], &first);
	return sum;
}

/* The @n-th address of the pool of that family. */
static struct addr pool_address(const struct config *c, bool v4, uint64_t n)
{
	struct addr a = { { 0 } };

	for (unsigned i = 0; i < c->n_pool; i++) {
		uint64_t first, size = prefix_size(&c->pool[i], &first);

		if (addr_is_v4(&c->pool[i].addr) != v4)
			continue;
		if (n >= size) {
			n -= size;
			continue;
		}
		a = c->pool[i].addr;
		n += first;
		for (int byte = 15; byte >= 12; byte--, n >>= 8)
			a.b[byte] = (uint8_t)(a.b[byte] + (n & 0xff));
		break;
	}
	return a;
}

bool mapping_take(struct mapping *m, const struct flow_key *k, struct endpoint *source)
{
	bool v4 = addr_is_v4(&k->client.addr);
	uint64_t size, first, tries;
	struct taken *t;

	*source = k->client;
	if (!m->c->n_pool)
		return true;
	size = pool_size(m->c, v4);
	t = size ? pool_get(m->pool, sizeof(*t)) : NULL;
	if (!t)
		return false;
	t->at.target = k->target;
	first = siphash(&m->key, k->client.addr.b, 16) % size;
	tries = MIN(size, ADDRESS_TRIES);
	for (uint64_t i = 0; i < tries; i++) {
		source->addr = pool_address(m->c, v4, (first + i) % size);
		if (claim(m, t, source))
			return true;
	}
	source->addr = pool_address(m->c, v4, first);
	for (uint32_t i = 1; i <= PORT_TRIES * m->spread->workers; i++) {
		source->port = (uint16_t)(1024 + (k->client.port - 1024u + i * 127u) % 64512u);
		if (claim(m, t, source))
			return true;
	}
	pool_put(m->pool, t, sizeof(*t));
	return false;
}

void mapping_give(struct mapping *m, const struct flow_key *k, const struct endpoint *source)
{
	const struct place at = { *source, k->target };
	struct table_node *n;

	if (!m->c->n_pool)
		return;
	n = table_find(m->taken, hash_of(m, &at), is_at, &at);
	if (!n)
		return;
	table_remove(m->taken, n);
	pool_put(m->pool, CONTAINER_OF(n, struct taken, node), sizeof(struct taken));
}

void mapping_trim(struct mapping *m)
{
	pool_trim(m->pool);
}
