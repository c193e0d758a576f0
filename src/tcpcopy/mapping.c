/*
 * Source mapping - theory of operation
 *
 * Two live connections of a target must not have the same source: the target would take the second one's
 * SYN for a segment of the first, and one of the two would be reset. So the endpoints in use towards each
 * target are kept in a table (base/table.h), whose hash is keyed, because clients choose their ports.
 *
 * Without a pool a session has its client's endpoint. A client may use one port towards two addresses of
 * the online host, or two of its ports, and both may be copied to one target: then the second session goes
 * from another port of the client's address. A connection whose port is used again shares the endpoint with
 * its predecessor, which it waits for: that is the same connection for the target, too.
 *
 * A further copy of a connection (-n) goes from another port of the client's address. The client may use that
 * port later, and then it has the right of way: the copy ends, and the client's own session takes its
 * endpoint over, which both have until the copy's is given back.
 *
 * With a pool (-c), a client address is hashed to an address of the pool of its family, so that one client
 * stays one client, and keeps its port. Many clients on few addresses would collide on equal ports; so a
 * taken endpoint is avoided: first by the other addresses of the pool with the same port, then by the first
 * addresses with other ports, where each further copy begins elsewhere. With --sticky the first address is
 * the only one. An endpoint whose session is gone rests for a minute, in which the target may have the
 * connection in TIME-WAIT: it is as good as taken, until there is no other; then the one that has rested for
 * the longest is the next.
 *
 * Workers share the endpoints without knowing of each other: an endpoint is for the worker to which
 * connections from its port go. They are spread by the client's port alone, so a client's own port is
 * always one of ours.
 */
#include "tcpcopy/mapping.h"

#include <stdlib.h>

#include "base/pool.h"
#include "base/table.h"
#include "base/util.h"

#define ADDRESS_TRIES 256
#define PORT_TRIES 512
#define OTHER_ADDRESSES 4u  /* on which other ports are looked for */
#define RESTING_MOST 65536u /* endpoints that are not used again while there are others */
#define RESTED_TRIES 4096u
#define RESTS 61u /* seconds: a target keeps what it has closed for a minute (TIME-WAIT) */
#define FIRST_PORT 1024u
#define LOW_PORTS (32768u - FIRST_PORT) /* below those that clients have, on most systems */

/* What makes an endpoint unique: to another target it may be used again. */
struct place {
	struct endpoint source;
	uint16_t target; /* the first rule that has it */
};

struct taken {
	struct table_node node;
	struct place at;
	/* by the sessions of this connection, for this rule */
	struct endpoint online;
	uint16_t rule, copy;
	uint16_t client_port;        /* theirs; without a pool the address is the source's */
	uint16_t times;              /* 0: it rests */
	bool yields;                 /* to the client, who wants it: the one that has it now ends */
	uint8_t rested_at;           /* of mapping.age; valid with times 0 */
	struct taken *next, *before; /* that rest, by when they were given back; valid with times 0 */
};
_Static_assert(sizeof(struct taken) <= 80, "there is one for each session");

struct mapping {
	const struct config *c;
	const struct fanout *spread;
	unsigned worker;
	struct siphash_key key;
	struct pool *pool;
	struct table *taken;
	uint16_t copy_mask;
	struct taken *oldest, *newest; /* that rest */
	unsigned resting;
	uint8_t age;                      /* counts mapping_trim() */
	uint16_t first[CONFIG_MAX_RULES]; /* the first rule with the same target as this one */
};

static void find_first_rules(struct mapping *m)
{
	for (uint16_t i = 0; i < CONFIG_MAX_RULES; i++) {
		m->first[i] = i;
		for (uint16_t j = 0; j < i && i < m->c->n_rules && m->first[i] == i; j++)
			if (endpoint_eq(&m->c->rules[i].target, &m->c->rules[j].target))
				m->first[i] = j;
	}
}

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
	m->copy_mask = copies_mask(&c->copies);
	find_first_rules(m);
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

static bool claim(struct mapping *m, struct taken *t, const struct endpoint *source);

static void forget(struct mapping *m, struct taken *t)
{
	*(t->before ? &t->before->next : &m->oldest) = t->next;
	*(t->next ? &t->next->before : &m->newest) = t->before;
	m->resting--;
	table_remove(m->taken, &t->node);
	pool_put(m->pool, t, sizeof(*t));
}

static void rest(struct mapping *m, struct taken *t)
{
	t->rested_at = m->age;
	t->next = NULL;
	t->before = m->newest;
	*(m->newest ? &m->newest->next : &m->oldest) = t;
	m->newest = t;
	if (++m->resting > RESTING_MOST)
		forget(m, m->oldest);
}

/*
 * None is free that has not been used lately: the one that has rested for the longest, to the target of @t;
 * if @only is not NULL, of that address.
 */
static bool claim_rested(struct mapping *m, struct taken *t, const struct addr *only, bool v4,
			 struct endpoint *source)
{
	struct taken *r = m->oldest;

	for (unsigned i = 0; r && i < RESTED_TRIES; i++, r = r->next) {
		const struct endpoint at = r->at.source;

		if (r->at.target != t->at.target || addr_is_v4(&at.addr) != v4 ||
		    (only && !addr_eq(only, &at.addr)))
			continue;
		forget(m, r);
		*source = at;
		return claim(m, t, source);
	}
	return false;
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

static struct place place_of(const struct mapping *m, const struct flow_key *k, const struct endpoint *source)
{
	return (struct place){ *source, m->first[k->target] };
}

static struct taken *find(const struct mapping *m, const struct place *at)
{
	struct table_node *n = table_find(m->taken, hash_of(m, at), is_at, at);

	return n ? CONTAINER_OF(n, struct taken, node) : NULL;
}

static bool is_for(const struct taken *t, const struct flow_key *k)
{
	return t->rule == k->target && t->copy == k->copy && endpoint_eq(&t->online, &k->online);
}

static bool claim_other_port(struct mapping *m, struct taken *t, struct endpoint *source)
{
	const uint16_t port = source->port;

	for (uint32_t i = 1; i <= PORT_TRIES * m->spread->workers; i++) {
		source->port = (uint16_t)(1024 + (port - 1024u + i * 127u) % 64512u);
		if (claim(m, t, source))
			return true;
	}
	return false;
}

/* Where a further copy looks first: elsewhere than the others of its connection. */
static uint32_t copy_hash(const struct mapping *m, const struct flow_key *k)
{
	const struct place seed = { k->client, k->copy };

	return hash_of(m, &seed);
}

/*
 * A port for a further copy, where few clients have theirs. Each looks elsewhere first, so that one
 * which the target has closed may rest.
 */
static bool claim_copy_port(struct mapping *m, struct taken *t, const struct flow_key *k,
			    struct endpoint *source)
{
	const uint32_t from = copy_hash(m, k);

	for (uint32_t i = 0; i < PORT_TRIES * m->spread->workers; i++) {
		source->port = (uint16_t)(FIRST_PORT + (from % LOW_PORTS + i * 127u) % LOW_PORTS);
		if (claim(m, t, source))
			return true;
	}
	return claim_other_port(m, t, source);
}

static bool claim_of_pool(struct mapping *m, struct taken *t, const struct flow_key *k,
			  struct endpoint *source)
{
	const bool v4 = addr_is_v4(&source->addr);
	const uint16_t port =
		k->copy & m->copy_mask ? (uint16_t)(FIRST_PORT + copy_hash(m, k) % 64512u) : source->port;
	const uint64_t size = pool_size(m->c, v4), tries = m->c->sticky ? 1 : MIN(size, ADDRESS_TRIES);
	struct addr own;
	uint64_t first;

	if (!size)
		return false;
	first = siphash(&m->key, source->addr.b, 16) % size;
	own = pool_address(m->c, v4, first);
	for (uint64_t i = 0; i < tries; i++) {
		source->addr = pool_address(m->c, v4, (first + i) % size);
		if (claim(m, t, source))
			return true;
	}
	for (uint64_t i = 0; i < MIN(tries, OTHER_ADDRESSES); i++) {
		*source = (struct endpoint){ pool_address(m->c, v4, (first + i) % size), port };
		if (claim_other_port(m, t, source))
			return true;
	}
	return claim_rested(m, t, m->c->sticky ? &own : NULL, v4, source);
}

uint64_t mapping_pool_addresses(const struct config *c, bool v4)
{
	return pool_size(c, v4);
}

/* @other: not the client's own endpoint. */
static bool take_new(struct mapping *m, const struct flow_key *k, bool other, struct endpoint *source)
{
	struct taken *t = pool_get(m->pool, sizeof(*t));
	bool claimed;

	*source = k->client;
	if (!t)
		return false;
	*t = (struct taken){ .at = place_of(m, k, source),
			     .online = k->online,
			     .rule = k->target,
			     .copy = k->copy,
			     .client_port = k->client.port,
			     .times = 1 };
	if (m->c->n_pool)
		claimed = claim_of_pool(m, t, k, source);
	else if (k->copy & m->copy_mask)
		claimed = claim_copy_port(m, t, k, source);
	else
		claimed = (!other && claim(m, t, source)) || claim_other_port(m, t, source);
	if (!claimed)
		pool_put(m->pool, t, sizeof(*t));
	return claimed;
}

bool mapping_take(struct mapping *m, const struct flow_key *k, struct endpoint *source)
{
	const struct place own = place_of(m, k, &k->client);
	struct taken *t = m->c->n_pool ? NULL : find(m, &own);

	if (!t || !(is_for(t, k) || t->yields) || t->times == UINT16_MAX)
		return take_new(m, k, false, source);
	t->online = k->online;
	t->rule = k->target;
	t->copy = k->copy;
	t->client_port = k->client.port;
	t->yields = false;
	t->times++;
	*source = k->client;
	return true;
}

bool mapping_holder(struct mapping *m, const struct flow_key *k, struct flow_key *holder)
{
	const struct place own = place_of(m, k, &k->client);
	struct taken *t;

	if (m->c->n_pool || k->copy & m->copy_mask || !m->copy_mask)
		return false;
	t = find(m, &own);
	if (!t || !(t->copy & m->copy_mask))
		return false;
	t->yields = true;
	*holder = (struct flow_key){ .client = { own.source.addr, t->client_port },
				     .online = t->online,
				     .target = t->rule,
				     .copy = t->copy };
	return true;
}

bool mapping_take_other(struct mapping *m, const struct flow_key *k, struct endpoint *source)
{
	return take_new(m, k, true, source);
}

void mapping_prefetch(const struct mapping *m, const struct flow_key *k)
{
	const struct place own = place_of(m, k, &k->client);

	if (!m->c->n_pool)
		table_prefetch(m->taken, hash_of(m, &own));
}

void mapping_give(struct mapping *m, const struct flow_key *k, const struct endpoint *source)
{
	const struct place at = place_of(m, k, source);
	struct taken *t = find(m, &at);

	if (!t || !t->times || --t->times)
		return;
	if (m->c->n_pool) {
		rest(m, t);
		return;
	}
	table_remove(m->taken, &t->node);
	pool_put(m->pool, t, sizeof(*t));
}

static bool is_in_use(const struct taken *t)
{
	return t && t->times;
}

bool mapping_has(const struct mapping *m, const struct endpoint *target, const struct endpoint *source)
{
	for (uint16_t i = 0; i < m->c->n_rules; i++)
		if (m->first[i] == i && endpoint_eq(&m->c->rules[i].target, target))
			return is_in_use(find(m, &(struct place){ *source, i }));
	return false;
}

void mapping_trim(struct mapping *m)
{
	m->age++;
	while (m->oldest && (uint8_t)(m->age - m->oldest->rested_at) > RESTS)
		forget(m, m->oldest);
	pool_trim(m->pool);
}
