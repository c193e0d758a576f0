/*
 * The pipeline's side of the engine - theory of operation
 *
 * What the engine wants done is bound to the other stages here: emit to the sink, watch and unwatch to the
 * return path, source addresses to the mapping, questions to those who answer them. And what it waits for is
 * given to it when it has returned: answers, and word of how much room the return path has for
 * announcements.
 */
#include "base/util.h"
#include "packet/text.h"
#include "program/clock.h"
#include "program/log.h"
#include "tcpcopy/pipeline.h"

#define ROOM_AGAIN (1 * NS_PER_MS) /* while the return path has no room: look again */

static void op_emit(void *arg, const struct tx_segment *t)
{
	struct pipeline *p = arg;
	struct tx_segment stamped;

	if (p->own) {
		stamped = *t;
		own_sends(p->own, &stamped);
		t = &stamped;
	}
	sink_send(p->sink, t);
}

static void op_flush(void *arg)
{
	struct pipeline *p = arg;

	sink_flush(p->sink);
}

static void op_watch(void *arg, uint64_t id, const struct tuple *response, uint32_t number)
{
	struct pipeline *p = arg;

	if (p->returns)
		returns_watch(p->returns, id, response, number);
}

static bool op_announce(void *arg, uint64_t id, const struct tuple *response, uint32_t number)
{
	struct pipeline *p = arg;

	return returns_announce(p->returns, id, response, number);
}

static void op_unwatch(void *arg, uint64_t id, const struct tuple *response)
{
	struct pipeline *p = arg;

	if (p->returns) /* it goes before the engine does */
		returns_unwatch(p->returns, id, response);
}

/* Without a pool targets see the client's port; it has to be said where they do not. Once for each rule. */
static void say_source(struct pipeline *p, const struct flow_key *key, const struct endpoint *source)
{
	char client[ENDPOINT_TEXT_LEN];

	if (p->said_source[key->target])
		return;
	p->said_source[key->target] = true;
	endpoint_format(client, sizeof(client), &key->client);
	if (source)
		log_info(
			"-x %s: %s has several connections at a time that are copied to this target: only the "
			"first can have that port there, the next goes from port %u",
			p->config->rules[key->target].text, client, source->port);
	else
		log_warn(
			"-x %s: a connection of %s is declined: no port of that address is free towards this "
			"target",
			p->config->rules[key->target].text, client);
}

/* No more answers than this host is to take. */
static bool answers_are_over(struct pipeline *p)
{
	if (!inflow_is_over(&p->inflow, p->now))
		return false;
	if (!p->said_inflow)
		log_warn(
			"more than %.0f Mbit/s of answers come in to this host, and no session begins until fewer do; "
			"--max-answers sets another limit, and with -s, or intercept --on-target on the target, "
			"they need not come here",
			(double)p->plan->max_answers / 1e6);
	p->said_inflow = true;
	return true;
}

static enum decline op_admit(void *arg, const struct flow_key *key, unsigned live, uint64_t now)
{
	struct pipeline *p = arg;
	const enum decline why = gates_admit(p->gates, key->target);

	return why == DECLINE_COUNT ? limits_admit(&p->limits, live, now) : why;
}

static bool op_source_take(void *arg, const struct flow_key *key, struct endpoint *source)
{
	struct pipeline *p = arg;
	bool taken;

	if (p->plan)
		return p->own && !answers_are_over(p) && own_take(p->own, key, source);
	taken = mapping_take(p->mapping, key, source);
	if (taken && key->copy & copies_mask(&p->config->copies))
		return true;
	if (!p->config->n_pool && (!taken || source->port != key->client.port))
		say_source(p, key, taken ? source : NULL);
	return taken;
}

static bool op_source_holder(void *arg, const struct flow_key *key, struct flow_key *holder)
{
	struct pipeline *p = arg;

	return !p->plan && mapping_holder(p->mapping, key, holder);
}

static uint64_t op_later(void *arg, const struct flow_key *key)
{
	const struct pipeline *p = arg;

	return copies_later(&p->config->copies, key);
}

static bool op_source_other(void *arg, const struct flow_key *key, struct endpoint *source)
{
	struct pipeline *p = arg;
	char client[ENDPOINT_TEXT_LEN];

	if (!p->said_taken[key->target]) {
		p->said_taken[key->target] = true;
		log_warn(
			"-x %s: another tcpcopy copies a connection of %s to this target at the same time: ours "
			"goes from another port",
			p->config->rules[key->target].text,
			endpoint_format(client, sizeof(client), &key->client));
	}
	return mapping_take_other(p->mapping, key, source);
}

static void op_source_give(void *arg, const struct flow_key *key, const struct endpoint *source)
{
	struct pipeline *p = arg;

	if (p->own)
		own_give(p->own, key, source);
	else
		mapping_give(p->mapping, key, source);
}

static void op_online_ask(void *arg, uint64_t question, const struct flow_key *key)
{
	struct pipeline *p = arg;

	answers_ask(&p->answers, question, key);
}

static bool op_path_probe(void *arg, unsigned target)
{
	struct pipeline *p = arg;

	p->probing[target] = paths_claim(p->paths, target);
	return p->probing[target];
}

static void op_path(void *arg, unsigned target, const struct path *path)
{
	struct pipeline *p = arg;
	const bool over = p->probing[target] && !path->probing;

	p->probing[target] &= path->probing;
	paths_news(p->paths, p->workers, p->worker, target, path, over);
}

const struct engine_ops pipeline_ops = {
	.emit = op_emit,
	.flush = op_flush,
	.watch = op_watch,
	.announce = op_announce,
	.unwatch = op_unwatch,
	.admit = op_admit,
	.source_take = op_source_take,
	.source_holder = op_source_holder,
	.later = op_later,
	.source_other = op_source_other,
	.source_give = op_source_give,
	.online_ask = op_online_ask,
	.path_probe = op_path_probe,
	.path = op_path,
};

void pipeline_give_responses(struct pipeline *p)
{
	if (!p->batch.n)
		return;
	p->now = clock_now();
	batch_run(&p->batch, p->engine, &p->answers, p->now);
}

/* When the engine or a reset that is kept wants the pipeline to look at its sources again, ns. */
static uint64_t next(const struct pipeline *p)
{
	uint64_t at = engine_next(p->engine);

	return p->n_resets ? MIN(at, p->reset[0].segment.time + SETTLED + 1) : at;
}

uint64_t pipeline_settle(struct pipeline *p)
{
	unsigned room;

	pipeline_give_responses(p);
	answers_give(&p->answers, p->engine, p->now);
	if (!engine_announcing(p->engine)) {
		returns_announced(p->returns);
		return next(p);
	}
	room = returns_room(p->returns);
	engine_channel_room(p->engine, room, p->now);
	return room ? next(p) : MIN(next(p), p->now + ROOM_AGAIN);
}
