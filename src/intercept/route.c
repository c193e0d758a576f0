/*
 * Whose is this response? The table of watches.
 *
 * In: WATCH and UNWATCH of the connections, tuples of captured segments. Out: the watch, that is
 * connection and session id. A watch is found by its tuple for each segment, and by connection and
 * id for each UNWATCH; so it hangs in two chained hash tables of one size. Clients choose the
 * tuples, so the hash is keyed. The tables double when there are more watches than buckets and
 * halve when there are an eighth, so memory falls again after a burst; watches come from a pool for
 * the same reason. The number of watches is bounded.
 *
 * Copies: where intercept sees a packet twice (coming in and going out of a gateway, on two
 * interfaces), the second copy must not become a second duplicate ACK. The two copies may be
 * captured some packets apart, because each interface is read by itself; so a watch remembers
 * fingerprints of its last few segments.
 */
#include "intercept/route.h"

#include <linux/if_packet.h>
#include <stdlib.h>
#include <string.h>

#include "base/pool.h"
#include "base/util.h"

#define MIN_BUCKETS 1024u

struct bucket {
	struct watch *by_tuple, *by_id;
};

struct route {
	const struct siphash_key *key;
	struct pool *pool;
	struct bucket *buckets;
	unsigned n_buckets; /* a power of two */
	unsigned count;
	uint16_t side;   /* the only side that segments came from so far; 0: none yet */
	bool many_sides; /* or there are several, and copies are looked for */
};

struct route *route_new(const struct siphash_key *key)
{
	struct route *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->key = key;
	r->n_buckets = MIN_BUCKETS;
	r->buckets = calloc(r->n_buckets, sizeof(*r->buckets));
	r->pool = pool_new(0);
	if (!r->buckets || !r->pool) {
		route_free(r);
		return NULL;
	}
	return r;
}

void route_free(struct route *r)
{
	if (!r)
		return;
	if (r->pool)
		pool_free(r->pool);
	free(r->buckets);
	free(r);
}

void route_trim(struct route *r)
{
	pool_trim(r->pool);
}

static struct bucket *tuple_bucket(const struct route *r, const struct tuple *t)
{
	return &r->buckets[siphash(r->key, t, sizeof(*t)) & (r->n_buckets - 1)];
}

static struct bucket *id_bucket(const struct route *r, const struct peer *p, uint64_t id)
{
	const uint64_t both[2] = { (uint64_t)(uintptr_t)p, id };

	return &r->buckets[siphash(r->key, both, sizeof(both)) & (r->n_buckets - 1)];
}

struct watch *route_find(const struct route *r, const struct tuple *t)
{
	struct watch *w = tuple_bucket(r, t)->by_tuple;

	while (w && !tuple_eq(&w->tuple, t))
		w = w->next_by_tuple;
	return w;
}

struct watch *route_find_id(const struct route *r, const struct peer *p, uint64_t id)
{
	struct watch *w = id_bucket(r, p, id)->by_id;

	while (w && (w->peer != p || w->id != id))
		w = w->next_by_id;
	return w;
}

static void link_in(struct route *r, struct watch *w)
{
	struct bucket *t = tuple_bucket(r, &w->tuple), *i = id_bucket(r, w->peer, w->id);

	w->next_by_tuple = t->by_tuple;
	t->by_tuple = w;
	w->next_by_id = i->by_id;
	i->by_id = w;
}

/* Without memory for it the table stays as it is, which is slower but right. */
static void resize(struct route *r, unsigned n_buckets)
{
	struct bucket *old = r->buckets;
	const unsigned n_old = r->n_buckets;
	struct bucket *new = calloc(n_buckets, sizeof(*new));

	if (!new)
		return;
	r->buckets = new;
	r->n_buckets = n_buckets;
	for (unsigned i = 0; i < n_old; i++) {
		struct watch *w = old[i].by_tuple, *next;

		for (; w; w = next) {
			next = w->next_by_tuple;
			link_in(r, w);
		}
	}
	free(old);
}

struct watch *route_add(struct route *r, struct peer *p, uint64_t id, const struct tuple *t)
{
	struct watch *w = r->count < ROUTE_MAX_WATCHES ? pool_get(r->pool, sizeof(*w)) : NULL;

	if (!w)
		return NULL;
	memset(w, 0, sizeof(*w));
	w->tuple = *t;
	w->id = id;
	w->peer = p;
	link_in(r, w);
	if (++r->count > r->n_buckets)
		resize(r, r->n_buckets * 2);
	return w;
}

void route_remove(struct route *r, struct watch *w)
{
	struct watch **p;

	for (p = &tuple_bucket(r, &w->tuple)->by_tuple; *p != w; p = &(*p)->next_by_tuple)
		;
	*p = w->next_by_tuple;
	for (p = &id_bucket(r, w->peer, w->id)->by_id; *p != w; p = &(*p)->next_by_id)
		;
	*p = w->next_by_id;
	pool_put(r->pool, w, sizeof(*w));
	if (--r->count < r->n_buckets / 8 && r->n_buckets > MIN_BUCKETS)
		resize(r, r->n_buckets / 2);
}

unsigned route_count(const struct route *r)
{
	return r->count;
}

/* Not an identity: a collision between two of the last eight segments of one connection costs one
 * record. */
static uint32_t fingerprint(const struct segment *s)
{
	static const struct siphash_key key;
	const uint32_t fields[6] = { s->seq,   s->ack,
				     s->len,   (uint32_t)s->window << 16 | s->ip_id,
				     s->flags, s->opt.tsval };

	return (uint32_t)siphash(&key, fields, sizeof(fields));
}

bool route_is_copy(struct route *r, struct watch *w, const struct segment *s, int ifindex,
		   uint8_t pkttype)
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

bool route_is_next_session(struct watch *w, uint8_t flags, uint32_t ack)
{
	if ((flags & (TCPF_SYN | TCPF_ACK)) != (TCPF_SYN | TCPF_ACK))
		return false;
	if (w->handshake_seen)
		return w->handshake_ack != ack;
	w->handshake_seen = true;
	w->handshake_ack = ack;
	return false;
}
