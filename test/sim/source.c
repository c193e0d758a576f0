/*
 * Simulator: sources, and other tcpcopys that use them - theory of operation
 *
 * In a world about sources the copies do not all come from their clients' own addresses: some get another
 * one, and some none. Other tcpcopys have connections to the same target. Where one has the source that a
 * session was given, the target's answers go to that one, whose connection challenges our SYN (RFC 5961 4.2);
 * so nothing happens at the target, and the engine is told some time later. From then on that source may not
 * send anything. What was taken has to be given back, once. And an assistant that is full refuses to watch
 * some sessions.
 */
#include "referee.h"

#include <stdlib.h>

#define SOURCES_MOST 512

struct source {
	struct endpoint at, client;
	unsigned users, moves;
	bool elsewhere; /* another tcpcopy has it */
	bool told;      /* and the engine knows */
};

struct sources {
	struct source s[SOURCES_MOST];
	unsigned n;
	struct source *telling; /* of it the engine is told right now */
	uint32_t taken;         /* ppm: of sources that another tcpcopy has */
	bool scarce;            /* sometimes there is none */
};

static struct source *source_of(const struct world *w, const struct endpoint *at)
{
	struct sources *k = w->copy.sources;

	for (unsigned i = 0; k && i < k->n; i++)
		if (endpoint_eq(&k->s[i].at, at))
			return &k->s[i];
	return NULL;
}

const struct endpoint *sources_client(const struct world *w, const struct endpoint *at)
{
	const struct source *s = source_of(w, at);

	return s ? &s->client : at;
}

/* True: one that @key did not have, of a host that is no client; or the client's own, if @own. */
static bool take(struct world *w, const struct flow_key *key, struct endpoint *at, bool own, unsigned moves)
{
	struct sources *k = w->copy.sources;
	struct source *s = own ? source_of(w, &key->client) : NULL;

	if (k->scarce && rng_below(w, 4) == 0)
		return false;
	if (s) {
		s->users++;
		*at = s->at;
		return true;
	}
	if (k->n == SOURCES_MOST)
		return false;
	s = &k->s[k->n];
	*s = (struct source){ .at = key->client, .client = key->client, .users = 1, .moves = moves };
	if (!own) {
		s->at.addr.b[15] ^= 0x80;
		s->at.port = (uint16_t)(20000 + k->n);
	}
	s->elsewhere = rng_chance(w, k->taken);
	k->n++;
	*at = s->at;
	return true;
}

static bool op_take(void *arg, const struct flow_key *key, struct endpoint *at)
{
	struct world *w = arg;

	return take(w, key, at, rng_below(w, 2) && !source_of(w, &key->client), 0);
}

static bool op_other(void *arg, const struct flow_key *key, struct endpoint *at)
{
	struct world *w = arg;
	const unsigned moves = w->copy.sources->telling->moves + 1;

	if (moves > 4)
		fail(w, "port %u has tried %u sources", key->client.port, moves);
	return take(w, key, at, false, moves);
}

static void op_give(void *arg, const struct flow_key *key, const struct endpoint *at)
{
	struct source *s = source_of(arg, at);

	if (!s || !s->users || !endpoint_eq(&s->client, &key->client))
		fail(arg, "port %u was given back, and nobody had it", at->port);
	s->users--;
}

static void taken_time(struct world *w, void *arg, uint64_t id)
{
	struct source *s = arg;

	w->copy.sources->telling = s;
	s->told = s->elsewhere && s->users;
	engine_source_taken(w->copy.e, id, w->now);
	w->copy.sources->telling = NULL;
	copy_leave(w);
}

/* The assistant has no room for the watch of this session. */
static void full_time(struct world *w, void *arg, uint64_t id)
{
	(void)arg;
	engine_unwatched(w->copy.e, id, rng_below(w, 2), w->now);
	copy_leave(w);
}

void sources_watched(struct world *w, uint64_t id, const struct tuple *response)
{
	struct source *s = source_of(w, &response->dst);
	uint64_t wait = 2 * w->copy.channel_delay + rng_below(w, NS_PER_MS);

	if (!s)
		return;
	/* or of one that has long been answered: then it is over */
	if (s->elsewhere && !s->told)
		at(w, w->now + wait, taken_time, s, id);
	else if (w->copy.sources->scarce && rng_below(w, 8) == 0)
		at(w, w->now + rng_below(w, NS_PER_SEC), taken_time, s, id);
	else if (w->copy.sources->scarce && rng_below(w, 8) == 0)
		at(w, w->now + rng_below(w, NS_PER_SEC), full_time, s, id);
}

bool sources_elsewhere(struct world *w, const struct endpoint *at)
{
	const struct source *s = source_of(w, at);

	return s && s->elsewhere;
}

bool sources_leaves(const struct world *w, const struct endpoint *at)
{
	return w->copy.sources && w->copy.sources->telling && source_of(w, at) == w->copy.sources->telling;
}

bool sources_moved(const struct world *w, const struct endpoint *at)
{
	const struct source *s = source_of(w, at);

	return s && s->moves;
}

void sources_emitted(struct world *w, const struct endpoint *at)
{
	const struct source *s = source_of(w, at);

	if (w->copy.sources && (!s || !s->users || s->told))
		fail(w, "port %u: something is sent from a source that %s", at->port,
		     s && s->told ? "another tcpcopy has" : "was not taken");
}

void sources_begin(struct world *w)
{
	static const uint32_t taken[] = { 0, 300000, 1000000 };

	w->copy.sources = calloc(1, sizeof(*w->copy.sources));
	if (!w->copy.sources)
		abort();
	w->copy.sources->taken = taken[rng_below(w, ARRAY_SIZE(taken))];
	w->copy.sources->scarce = rng_below(w, 2);
	w->copy.ops.source_take = op_take;
	w->copy.ops.source_other = op_other;
	w->copy.ops.source_give = op_give;
}

void sources_end(struct world *w)
{
	for (unsigned i = 0; w->copy.sources && i < w->copy.sources->n; i++)
		if (w->copy.sources->s[i].users)
			fail(w, "port %u was not given back", w->copy.sources->s[i].at.port);
}

void sources_free(struct world *w)
{
	free(w->copy.sources);
}
