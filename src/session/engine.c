/*
 * Session engine: the engine as its caller sees it - theory of operation
 *
 * Setting up and taking down, targets, shutdown, hints for the cache, and what can be read: counters,
 * examples, sessions by state. No decision about a session is made here. This is the only file of the
 * engine that allocates by itself: the engine and its list of targets, both outside of the packet path.
 */
#include "session/impl.h"
#include "session/memory.h"

#include <stdlib.h>

const char *session_outcome_name(enum session_outcome o)
{
	static const char *const name[] = {
#define X(id, n, text) n,
		SESSION_OUTCOMES(X)
#undef X
	};
	return name[o];
}

const char *session_outcome_text(enum session_outcome o)
{
	static const char *const text[] = {
#define X(id, n, t) t,
		SESSION_OUTCOMES(X)
#undef X
	};
	return text[o];
}

const char *decline_name(enum decline d)
{
	static const char *const name[] = {
#define X(id, n, text) #n,
		DECLINES(X)
#undef X
	};
	return name[d];
}

const char *decline_text(enum decline d)
{
	static const char *const text[] = {
#define X(id, n, t) t,
		DECLINES(X)
#undef X
	};
	return text[d];
}

struct engine *engine_new(const struct engine_config *c, const struct engine_ops *ops, void *arg,
			  uint64_t now)
{
	struct engine *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->cfg = *c;
	if (!c->server_window)
		e->cfg.server_window = BELIEVE_WITHIN;
	e->ops = ops;
	e->arg = arg;
	e->started_at = now;
	e->generation = 1;
	e->announce_at = UINT64_MAX;
	e->trim_at = e->sweep_at = e->patrol_at = e->patrol_next = e->overdue_at = UINT64_MAX;
	/* room above the limit for what one batch may bring and what waits to be flushed */
	e->pool = pool_new(c->max_memory ? c->max_memory + c->max_memory / 4 : 0);
	e->store = pool_new(0);
	e->wheel = wheel_new(now);
	if (e->store) {
		e->sessions = slots_new(e->store, sizeof(struct session_slot));
		e->flows = flow_table_new(&c->key, e->store);
		e->accounts = table_new(e->store);
	}
	if (c->prove)
		e->early = calloc(EARLY_SETS, sizeof(*e->early));
	hist_reset(&e->n.capture_to_emit);
	hist_reset(&e->n.spacing_error);
	share_whole_init(&e->all, 0);
	if (!e->pool || !e->sessions || !e->wheel || !e->flows || !e->accounts) {
		engine_free(e);
		return NULL;
	}
	return e;
}

void engine_free(struct engine *e)
{
	struct session *s;

	if (!e)
		return;
	if (e->pool && e->sessions && e->wheel && e->flows && e->accounts) {
		for (uint32_t i = 0; (s = slots_from(e->sessions, &i)); i++) {
			hole_close(e, s);
			doubt_drop(e, s);
			queue_drop(e, s);
			loss_free(e, s);
			session_free(e, s);
		}
		engine_flushed(e);
	}
	free(e->early);
	for (unsigned i = 0; i < e->n_targets; i++)
		memory_free_rule(e, &e->target[i]);
	free(e->target);
	flow_table_free(e->flows);
	table_free(e->accounts);
	slots_free(e->sessions);
	wheel_free(e->wheel);
	pool_free(e->pool);
	pool_free(e->store);
	free(e);
}

int engine_add_target(struct engine *e, const struct endpoint *at, uint32_t mtu)
{
	struct target *t;

	if (e->n_targets == UINT16_MAX)
		return -1;
	t = realloc(e->target, (e->n_targets + 1) * sizeof(*t));
	if (!t)
		return -1;
	e->target = t;
	t[e->n_targets] = (struct target){ .at = *at, .join = e->cfg.join };
	path_init(&t[e->n_targets].path, !addr_is_v4(&at->addr), mtu, true);
	if (!memory_add_rule(e, &t[e->n_targets]))
		return -1;
	return (int)e->n_targets++;
}

void engine_set_target_join(struct engine *e, unsigned target, enum engine_join join)
{
	e->target[target].join = join;
}

void engine_set_target_mtu(struct engine *e, unsigned target, uint32_t mtu, bool direct)
{
	path_set_route(&e->target[target].path, mtu, direct);
}

void engine_learn_path(struct engine *e, unsigned target, const struct path *p)
{
	path_learn(&e->target[target].path, p);
}

const struct path *engine_path(const struct engine *e, unsigned target)
{
	return &e->target[target].path;
}

void engine_not_shown(struct engine *e, uint64_t now)
{
	e->forgotten_at = MAX(e->forgotten_at, now);
}

void engine_shutdown(struct engine *e, uint64_t now)
{
	struct session *s;

	for (uint32_t i = 0; (s = slots_from(e->sessions, &i)); i++) {
		if (s->succ && !(s->succ->events & EV_ENDED)) {
			s->succ->pred = NULL; /* nothing starts any more */
			s->succ = NULL;
		}
		if (!session_observing(s) && !(s->events & EV_ENDED)) {
			if (s->pred)
				s->pred->succ = NULL;
			s->pred = NULL;
			session_end(e, s, OUTCOME_SHUTDOWN, now);
		}
	}
}

static void prefetch(const struct session *s)
{
	for (size_t line = 0; s && line < sizeof(struct session_slot); line += 64)
		__builtin_prefetch((const char *)s + line, 1);
}

/* Its neighbours in the wheel are written when its timer is set. */
static void prefetch_neighbours(const struct session *s)
{
	if (s && wheel_armed(&s->node)) {
		__builtin_prefetch(s->node.next, 1);
		__builtin_prefetch(s->node.prev, 1);
	}
}

uint32_t engine_prefetch(const struct engine *e, const struct flow_key *k)
{
	return flow_table_prefetch(e->flows, k);
}

void engine_prefetch_session(const struct engine *e, uint32_t hint)
{
	prefetch(flow_table_likely(e->flows, hint));
}

void engine_prefetch_timer(const struct engine *e, uint32_t hint)
{
	prefetch_neighbours(flow_table_likely(e->flows, hint));
}

void engine_prefetch_response(const struct engine *e, uint64_t id)
{
	prefetch(slots_at(e->sessions, (uint32_t)id));
}

/* A piece and the beginning of its payload. */
static void prefetch_piece(const struct qseg *q)
{
	__builtin_prefetch(q);
	__builtin_prefetch((const char *)q + 64);
	__builtin_prefetch((const char *)q + 128);
}

void engine_prefetch_turn(const struct engine *e, uint64_t id)
{
	const struct session *s = slots_at(e->sessions, (uint32_t)id);

	if (s && s->hold)
		prefetch_piece(s->hold);
	if (s && s->stream.head)
		prefetch_piece(session_head(s));
}

void engine_prefetch_turn_after(const struct engine *e, uint64_t id)
{
	const struct session *s = slots_at(e->sessions, (uint32_t)id);

	if (s && s->hold && s->hold->piece.next)
		prefetch_piece(qseg_next(s->hold));
}

const struct engine_counters *engine_counters(const struct engine *e)
{
	return &e->n;
}

uint64_t engine_lag(const struct engine *e)
{
	return e->lag_before;
}

const struct engine_examples *engine_examples(const struct engine *e)
{
	return &e->examples;
}

const struct engine_questions *engine_questions(const struct engine *e)
{
	return &e->questions;
}

unsigned engine_turns_waiting(const struct engine *e)
{
	return e->turns_waiting;
}

unsigned engine_path_probes(const struct engine *e)
{
	unsigned n = 0;

	for (unsigned i = 0; i < e->n_targets; i++)
		n += e->target[i].probe.out;
	return n;
}

unsigned engine_holes_open(const struct engine *e)
{
	return e->holes_open;
}

const unsigned *engine_states(const struct engine *e)
{
	return e->by_state;
}

unsigned engine_sessions(const struct engine *e)
{
	return e->live;
}

unsigned engine_lingering(const struct engine *e)
{
	return e->lingering;
}

unsigned engine_observed(const struct engine *e)
{
	return e->observed;
}

bool engine_announcing(const struct engine *e)
{
	return e->announcing;
}

size_t engine_memory(const struct engine *e)
{
	return pool_bytes_used(e->pool) + (size_t)slots_count(e->sessions) * sizeof(struct session_slot);
}

uint64_t engine_doubtful_bytes(const struct engine *e)
{
	return e->doubt_bytes;
}

uint64_t engine_live_bytes(const struct engine *e)
{
	return e->live_bytes;
}

uint64_t session_id(const struct session *s)
{
	return s->id;
}

unsigned session_events(const struct session *s)
{
	return s->events;
}

const struct flow_key *session_key(const struct session *s)
{
	return &s->key;
}

struct session *engine_find(struct engine *e, const struct flow_key *k)
{
	return flow_table_find(e->flows, k);
}
