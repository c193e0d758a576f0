/*
 * Whose is this response? The table of watches.
 *
 * In: WATCH and UNWATCH messages, and the tuples of captured segments. Out: the watch, which names the
 * connection and the session id. Each segment needs a watch by its tuple, and each UNWATCH one by connection
 * and id; so a watch is in two tables (base/table.h), which grow and shrink by one bucket at a time. Clients
 * choose the tuples, so the hash is keyed. Watches come from a pool, so that memory shrinks again after a
 * burst. Their number is bounded.
 *
 * Whose a tuple is: several tcpcopys may ask for one, and which of them has the connection is not known until
 * the target acknowledges a number that one of them has named beforehand. Until then the table has the oldest
 * watch of the tuple, and `same` leads to the others, a few at most.
 *
 * Copies: where intercept captures a packet twice (entering and leaving a gateway, on two interfaces), the
 * second copy must not become a second duplicate ACK. Other packets may be captured between the two, because
 * each interface is read separately; so a watch remembers fingerprints of its last few segments.
 */
#include "intercept/watch/route.h"

#include <linux/if_packet.h>
#include <stdlib.h>
#include <string.h>

#include "base/pool.h"
#include "base/util.h"
#include "intercept/clients/clients.h"

struct route {
	const struct siphash_key *key;
	struct pool *pool;
	struct table *by_tuple, *by_id;
	uint16_t side;   /* the first side that a segment came from; 0: none yet */
	bool many_sides; /* segments have come from other sides, too: there may be copies */
};

struct route *route_new(const struct siphash_key *key)
{
	struct route *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->key = key;
	r->pool = pool_new(0);
	if (r->pool) {
		r->by_tuple = table_new(r->pool);
		r->by_id = table_new(r->pool);
	}
	if (!r->by_tuple || !r->by_id) {
		route_free(r);
		return NULL;
	}
	return r;
}

void route_free(struct route *r)
{
	if (!r)
		return;
	table_free(r->by_tuple);
	table_free(r->by_id);
	pool_free(r->pool);
	free(r);
}

void route_trim(struct route *r)
{
	pool_trim(r->pool);
}

static uint32_t tuple_hash(const struct route *r, const struct tuple *t)
{
	return (uint32_t)siphash(r->key, t, sizeof(*t));
}

static uint32_t id_hash(const struct route *r, const struct client *p, uint64_t id)
{
	const uint64_t both[2] = { (uint64_t)(uintptr_t)p, id };

	return (uint32_t)siphash(r->key, both, sizeof(both));
}

static bool has_tuple(struct table_node *n, const void *key)
{
	return tuple_eq(&CONTAINER_OF(n, struct watch, by_tuple)->tuple, key);
}

struct watch *route_find(const struct route *r, const struct tuple *t)
{
	struct table_node *n = table_find(r->by_tuple, tuple_hash(r, t), has_tuple, t);

	return n ? CONTAINER_OF(n, struct watch, by_tuple) : NULL;
}

struct id_key {
	const struct client *client;
	uint64_t id;
};

static bool has_id(struct table_node *n, const void *key)
{
	const struct watch *w = CONTAINER_OF(n, struct watch, by_id);
	const struct id_key *k = key;

	return w->client == k->client && w->id == k->id;
}

struct watch *route_find_id(const struct route *r, const struct client *p, uint64_t id)
{
	const struct id_key k = { p, id };
	struct table_node *n = table_find(r->by_id, id_hash(r, p, id), has_id, &k);

	return n ? CONTAINER_OF(n, struct watch, by_id) : NULL;
}

struct watch *route_add(struct route *r, struct client *p, uint64_t id, const struct tuple *t)
{
	struct watch *w = NULL, *last = route_find(r, t);

	if (route_count(r) < ROUTE_MAX_WATCHES)
		w = pool_get(r->pool, sizeof(*w));
	if (!w)
		return NULL;
	memset(w, 0, sizeof(*w));
	w->tuple = *t;
	w->id = id;
	w->client = p;
	if (last) {
		while (last->same)
			last = last->same;
		last->same = w;
	} else {
		table_add(r->by_tuple, &w->by_tuple, tuple_hash(r, t));
	}
	table_add(r->by_id, &w->by_id, id_hash(r, p, id));
	return w;
}

bool route_has_share(unsigned own, unsigned total)
{
	return total < ROUTE_MAX_WATCHES && own < ROUTE_MAX_WATCHES - total;
}

void route_remove(struct route *r, struct watch *w)
{
	struct watch *before = route_find(r, &w->tuple);

	if (!before)
		return; /* it was never added */
	if (before == w) {
		table_remove(r->by_tuple, &w->by_tuple);
		if (w->same)
			table_add(r->by_tuple, &w->same->by_tuple, tuple_hash(r, &w->tuple));
	} else {
		while (before->same != w)
			before = before->same;
		before->same = w->same;
	}
	table_remove(r->by_id, &w->by_id);
	pool_put(r->pool, w, sizeof(*w));
}

unsigned route_count(const struct route *r)
{
	return table_count(r->by_id);
}

/*
 * Two segments may have the same one: such a collision among the last eight of a connection costs one record.
 */
static uint32_t fingerprint(const struct segment *s)
{
	static const struct siphash_key key;
	const uint32_t fields[6] = { s->seq,   s->ack,      s->len, (uint32_t)s->window << 16 | s->ip_id,
				     s->flags, s->opt.tsval };

	return (uint32_t)siphash(&key, fields, sizeof(fields));
}

bool route_is_copy(struct route *r, struct watch *w, const struct segment *s, int ifindex, uint8_t pkttype)
{
	const uint16_t side = (uint16_t)(ifindex << 1 | (pkttype == PACKET_OUTGOING));
	uint32_t print;

	if (!r->side)
		r->side = side;
	r->many_sides |= r->side != side;
	if (!r->many_sides)
		return false;
	print = fingerprint(s);
	for (unsigned i = 0; i < WATCH_COPIES; i++)
		if (w->side[i] && w->side[i] != side && w->print[i] == print) {
			w->side[i] = 0;
			return true;
		}
	w->print[w->print_at] = print;
	w->side[w->print_at] = side;
	w->print_at = (uint8_t)((w->print_at + 1) % WATCH_COPIES);
	return false;
}

bool route_is_of_another(const struct watch *w, uint8_t flags, uint32_t ack)
{
	const uint8_t both = TCPF_SYN | TCPF_ACK;

	return (flags & both) == both && !(w->has_number && ack == w->number + 1);
}

bool route_proves(const struct watch *w, uint8_t flags, uint32_t ack)
{
	if (!w->has_number || !(flags & TCPF_ACK))
		return false;
	if (flags & (TCPF_SYN | TCPF_RST))
		return ack == w->number + 1;
	return w->was_proved && ack - w->number - 1 < ROUTE_NEAR;
}

struct watch *route_crowded(struct watch *first)
{
	struct watch *fullest = NULL;
	unsigned count = 0, most = 0;

	for (struct watch *w = first; w; w = w->same, count++) {
		unsigned n = 0;

		for (const struct watch *v = first; v; v = v->same)
			n += addr_neighbours(&v->client->from, &w->client->from);
		if (n > most) {
			most = n;
			fullest = w;
		}
	}
	return count < ROUTE_MAX_SAME ? NULL : fullest;
}
