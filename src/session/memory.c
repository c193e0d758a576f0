/*
 * Session engine: memory by shares - theory of operation
 *
 * What sessions hold is bounded. When it becomes short, who has to give? Everybody's connection counts as
 * much as anybody else's, but a rule whose target stands still, a client that parks data, or one session of
 * it can take all there is. So memory is shared max-min: by rule, then by client address (a /64 of IPv6,
 * because that is what one host has for nothing), then by session. The one that gives is the largest
 * session of the largest address of the largest rule. So whoever holds less than an equal share of what is
 * used gives nothing, and is not turned away either, for the sake of others.
 *
 *     engine.all ── rule ── unproved: sessions whose address may be forged
 *                       ├── client address ── session
 *                       └── client address ── session
 *
 * Until a session is proved its address says nothing, since anybody can send packets with it: all such
 * sessions of a rule share one account, and a flood of them competes with itself.
 *
 * Above SHED_ABOVE eighths of the limit those are shed who hold data or are not proved. A new session is
 * declined only where that is no help: its own client holds most, and holds nothing but sessions without
 * data. Above the limit such a session is shed for a client that holds less.
 *
 * All of this happens before a captured segment is looked at, so that nobody holds a session that goes, and
 * so that there is room for the segment: whoever sends it does not end for want of memory that others hold.
 *
 * Amounts are counted in KiB and with some slack, so most segments change none.
 */
#include "session/impl.h"
#include "session/memory.h"

#include <assert.h>

#define SHED_ABOVE 7    /* eighths of the limit */
#define SHED_AT_ONCE 8  /* sessions, for one captured segment */
#define SHED_LOOK 64    /* sessions looked at for those that have ended */
#define ROOM_FOR_ONE 4u /* KiB: what a segment takes besides its payload */

/* All sessions of one client address under one rule. */
struct account {
	struct share_whole sessions;
	struct table_node node; /* in engine.accounts; not that of the unproved */
	struct addr address;    /* the client's, or its network */
	uint16_t target;
	uint32_t n; /* sessions */
};

struct rule_memory {
	struct share_whole accounts;
	struct account unproved;
};

static struct addr account_address(const struct flow_key *k)
{
	struct addr a = k->client.addr;

	if (!addr_is_v4(&a))
		memset(a.b + 8, 0, 8);
	return a;
}

static uint32_t account_hash(const struct engine *e, const struct flow_key *k, const struct addr *address)
{
	struct {
		struct addr address;
		uint16_t target;
	} packed = { *address, k->target };

	return (uint32_t)siphash(&e->cfg.key, &packed, sizeof(packed));
}

static struct account *account_of(struct share_whole *w)
{
	return w ? CONTAINER_OF(w, struct account, sessions) : NULL;
}

struct account_key {
	struct addr address;
	uint16_t target;
};

static bool account_eq(struct table_node *n, const void *key)
{
	const struct account *a = CONTAINER_OF(n, struct account, node);
	const struct account_key *k = key;

	return a->target == k->target && addr_eq(&a->address, &k->address);
}

static struct account *account_find(const struct engine *e, const struct flow_key *k)
{
	const struct account_key key = { account_address(k), k->target };
	struct table_node *n = table_find(e->accounts, account_hash(e, k, &key.address), account_eq, &key);

	return n ? CONTAINER_OF(n, struct account, node) : NULL;
}

/* NULL: no memory. */
static struct account *account_new(struct engine *e, const struct flow_key *k)
{
	struct account *a = pool_get(e->store, sizeof(*a));
	uint32_t hash;

	if (!a)
		return NULL;
	*a = (struct account){ .address = account_address(k), .target = k->target };
	hash = account_hash(e, k, &a->address);
	share_whole_init(&a->sessions, hash);
	share_enter(&a->sessions.share, &e->target[k->target].memory->accounts, 0);
	table_add(e->accounts, &a->node, hash);
	return a;
}

static void account_leave(struct engine *e, struct session *s)
{
	struct account *a = account_of(s->share.of);

	if (!a)
		return;
	share_leave(&s->share);
	if (--a->n || a == &e->target[s->key.target].memory->unproved)
		return;
	share_leave(&a->sessions.share);
	table_remove(e->accounts, &a->node);
	pool_put(e->store, a, sizeof(*a));
}

static uint32_t kib(size_t bytes)
{
	return (uint32_t)((bytes + 1023) / 1024);
}

static void account_enter(struct session *s, struct account *a)
{
	a->n++;
	share_enter(&s->share, &a->sessions, kib(session_bytes(s)));
}

bool memory_add_rule(struct engine *e, struct target *t)
{
	struct rule_memory *m = pool_get(e->store, sizeof(*m));

	if (!m)
		return false;
	memset(m, 0, sizeof(*m));
	share_whole_init(&m->accounts, (uint32_t)siphash(&e->cfg.key, &e->n_targets, sizeof(e->n_targets)));
	share_whole_init(&m->unproved.sessions, m->accounts.large.random + 1);
	share_enter(&m->accounts.share, &e->all, 0);
	share_enter(&m->unproved.sessions.share, &m->accounts, 0);
	t->memory = m;
	return true;
}

void memory_free_rule(struct engine *e, struct target *t)
{
	pool_put(e->store, t->memory, sizeof(*t->memory));
}

void memory_session_new(struct engine *e, struct session *s)
{
	account_enter(s, &session_target(e, s)->memory->unproved);
}

void memory_session_proved(struct engine *e, struct session *s)
{
	struct account *a = account_find(e, &s->key);

	if (!a)
		a = account_new(e, &s->key);
	if (!a || a == account_of(s->share.of))
		return; /* it stays where it is: there is no memory, or it goes on with another connection */
	account_leave(e, s);
	account_enter(s, a);
}

void memory_session_over(struct engine *e, struct session *s)
{
	account_leave(e, s);
}

void memory_recount(struct session *s)
{
	share_set(&s->share, kib(session_bytes(s)));
}

/*
 * Bytes in use, without what is free as soon as the batch is flushed, and without sessions that are over:
 * they go by themselves, or sooner.
 */
static size_t memory_used(const struct engine *e)
{
	return engine_memory(e) - e->limbo_bytes - (size_t)e->lingering * sizeof(struct session);
}

static bool above_mark(const struct engine *e)
{
	return e->cfg.max_memory && memory_used(e) > e->cfg.max_memory / 8 * SHED_ABOVE;
}

bool memory_above_limit(const struct engine *e)
{
	return e->cfg.max_memory && memory_used(e) > e->cfg.max_memory;
}

/* The session that has to give, if anyone has; NULL: there is none. */
static struct session *largest(struct engine *e)
{
	struct share *rule = share_largest(&e->all), *account, *session = NULL;

	account = rule ? share_largest(CONTAINER_OF(rule, struct share_whole, share)) : NULL;
	session = account ? share_largest(CONTAINER_OF(account, struct share_whole, share)) : NULL;
	return session ? CONTAINER_OF(session, struct session, share) : NULL;
}

static bool holds_data(const struct session *s)
{
	return s->share.amount >= SHARE_SMALL;
}

bool memory_admits(struct engine *e, const struct flow_key *k)
{
	struct session *most;

	if (!above_mark(e))
		return true;
	most = largest(e);
	return !most || holds_data(most) || account_of(most->share.of) != account_find(e, k);
}

/* Without data, all that it can give is itself. An observed connection is only forgotten. */
static void shed(struct engine *e, struct session *s, uint64_t now)
{
	const bool data = holds_data(s);

	e->forgotten_at = now;
	if (session_observing(s)) {
		session_free(e, s);
		return;
	}
	session_end(e, s, OUTCOME_NO_MEMORY, now);
	if (!data)
		session_free(e, s);
}

/* Sessions that are over leave sooner than they would. */
static void hurry(struct engine *e)
{
	for (int looked = 0; looked < SHED_LOOK; looked++) {
		struct session *s = slots_from(e->sessions, &e->shed_hand);

		if (!s) {
			e->shed_hand = 0;
			return;
		}
		e->shed_hand++;
		if (s->events & EV_ENDED)
			session_free(e, s);
	}
}

static bool room_for(const struct engine *e, uint32_t payload)
{
	const size_t most = MIN(QSEG_BYTES + payload, POOL_MAX);

	return pool_spare(e->pool) >= 3 * most + ROOM_FOR_ONE * 1024 || pool_has_room(e->pool, most);
}

static void flush(struct engine *e)
{
	if (!e->limbo || !e->ops->flush)
		return;
	e->ops->flush(e->arg);
	engine_flushed(e);
}

/* The usual case, which all that follows would find out, too, in more steps. */
static bool plenty(const struct engine *e, uint32_t payload)
{
	return engine_memory(e) <= e->cfg.max_memory / 8 * SHED_ABOVE &&
	       pool_spare(e->pool) >= 3 * (QSEG_BYTES + payload) + ROOM_FOR_ONE * 1024;
}

void memory_make_room(struct engine *e, uint32_t payload, uint64_t now)
{
	struct session *s;

	if (!e->cfg.max_memory || plenty(e, payload))
		return;
	if (engine_memory(e) - e->limbo_bytes > e->cfg.max_memory && e->lingering)
		hurry(e);
	for (int n = 0; n < SHED_AT_ONCE && above_mark(e); n++) {
		s = largest(e);
		if (!s || (!holds_data(s) && s->events & EV_PROVED && !memory_above_limit(e)))
			break;
		shed(e, s, now);
	}
	if (room_for(e, payload))
		return;
	flush(e);
	for (int n = 0; n < SHED_AT_ONCE && !room_for(e, payload) && (s = largest(e)) && holds_data(s); n++) {
		shed(e, s, now);
		flush(e);
	}
}

void memory_check(const struct engine *e)
{
	uint32_t all = 0, n = 0;
	const struct session *s;

	for (uint32_t i = 0; (s = slots_from(e->sessions, &i)); i++) {
		const struct account *a = account_of(s->share.of);
		const bool proved = s->events & EV_PROVED;

		assert((a == NULL) == ((s->events & EV_ENDED) != 0));
		if (!a)
			continue;
		assert(a == &session_target(e, s)->memory->unproved
			       ? !proved || !account_find(e, &s->key)
			       : proved && a == account_find(e, &s->key));
		assert(session_bytes(s) <= (size_t)s->share.amount * 1024 &&
		       session_bytes(s) + (size_t)SHARE_SLACK * 1024 >= (size_t)s->share.amount * 1024);
		all += s->share.amount;
		n++;
	}
	for (unsigned t = 0; t < e->n_targets; t++) {
		all -= e->target[t].memory->accounts.share.amount;
		n -= e->target[t].memory->unproved.n;
	}
	assert(!all && n >= table_count(e->accounts) && !n == !table_count(e->accounts));
}
