/*
 * Source mapping - theory of operation
 *
 * Without a pool a session keeps the client's endpoint and nothing is stored here. With one (-c), a client
 * address is hashed to an address of the pool of its family, so that one client stays one client, and keeps
 * its port. Many clients on few addresses would collide on equal ports; so the endpoints in use towards
 * each target are kept in a set, and a taken one is avoided: first the other addresses of the pool with the
 * same port, then the first address with other ports. The set is open addressing with SipHash, and
 * backward-shift deletion.
 *
 * Workers share the pool without knowing of each other: an endpoint is for the worker to which connections
 * from its port go. With a pool they are spread by the client's port alone, so a client's own port is
 * always one of ours.
 */
#include "tcpcopy/mapping.h"

#include <stdlib.h>

#include "base/util.h"

#define ADDRESS_TRIES 256
#define PORT_TRIES 512

struct taken {
	struct endpoint source;
	uint16_t target;
	bool used;
};

struct mapping {
	const struct config *c;
	const struct fanout *spread;
	unsigned worker;
	struct siphash_key key;
	struct taken *slot;
	uint32_t mask, count;
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
	m->mask = 255;
	m->slot = calloc((size_t)m->mask + 1, sizeof(*m->slot));
	if (!m->slot) {
		free(m);
		return NULL;
	}
	return m;
}

void mapping_free(struct mapping *m)
{
	if (!m)
		return;
	free(m->slot);
	free(m);
}

static uint32_t home(const struct mapping *m, const struct endpoint *source, uint16_t target)
{
	uint8_t bytes[20];

	memcpy(bytes, source->addr.b, 16);
	memcpy(bytes + 16, &source->port, 2);
	memcpy(bytes + 18, &target, 2);
	return (uint32_t)siphash(&m->key, bytes, sizeof(bytes));
}

static uint32_t probe(const struct mapping *m, const struct endpoint *source, uint16_t target)
{
	uint32_t i = home(m, source, target) & m->mask;

	while (m->slot[i].used && !(m->slot[i].target == target && endpoint_eq(&m->slot[i].source, source)))
		i = (i + 1) & m->mask;
	return i;
}

static bool grow(struct mapping *m)
{
	struct taken *old = m->slot;
	uint32_t old_mask = m->mask;
	struct taken *slot = calloc(((size_t)m->mask + 1) * 2, sizeof(*slot));

	if (!slot)
		return false;
	m->slot = slot;
	m->mask = m->mask * 2 + 1;
	for (uint32_t i = 0; i <= old_mask; i++)
		if (old[i].used)
			m->slot[probe(m, &old[i].source, old[i].target)] = old[i];
	free(old);
	return true;
}

/* Take @source if it is free and ours. */
static bool claim(struct mapping *m, const struct endpoint *source, uint16_t target)
{
	uint32_t i;

	if (fanout_port_worker(m->spread, source->port) != m->worker)
		return false;
	i = probe(m, source, target);
	if (m->slot[i].used)
		return false;
	m->slot[i] = (struct taken){ .source = *source, .target = target, .used = true };
	m->count++;
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
	uint64_t first;

	uint64_t sum = 0;

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

	*source = k->client;
	if (!m->c->n_pool)
		return true;
	size = pool_size(m->c, v4);
	if (!size || (m->count >= m->mask / 4 * 3 && !grow(m)))
		return false;
	first = siphash(&m->key, k->client.addr.b, 16) % size;
	tries = MIN(size, ADDRESS_TRIES);
	for (uint64_t i = 0; i < tries; i++) {
		source->addr = pool_address(m->c, v4, (first + i) % size);
		if (claim(m, source, k->target))
			return true;
	}
	source->addr = pool_address(m->c, v4, first);
	for (uint32_t i = 1; i <= PORT_TRIES * m->spread->workers; i++) {
		source->port = (uint16_t)(1024 + (k->client.port - 1024u + i * 127u) % 64512u);
		if (claim(m, source, k->target))
			return true;
	}
	return false;
}

void mapping_give(struct mapping *m, const struct flow_key *k, const struct endpoint *source)
{
	uint32_t hole, i;

	if (!m->c->n_pool)
		return;
	hole = i = probe(m, source, k->target);
	if (!m->slot[hole].used)
		return;
	m->count--;
	for (;;) {
		i = (i + 1) & m->mask;
		if (!m->slot[i].used)
			break;
		if (((i - home(m, &m->slot[i].source, m->slot[i].target)) & m->mask) >=
		    ((i - hole) & m->mask)) {
			m->slot[hole] = m->slot[i];
			hole = i;
		}
	}
	m->slot[hole].used = false;
}

uint32_t mapping_count(const struct mapping *m)
{
	return m->count;
}
