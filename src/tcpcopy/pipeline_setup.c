/*
 * Setting up and taking down the pipeline - theory of operation
 *
 * Everything that needs privilege or can be refused is opened here, before the first packet, so that a
 * start either succeeds whole or fails with a reason. The engine's wishes (ops) are bound to the stages
 * here: emit to the sink, watch and unwatch to the assistants, source addresses to the mapping. So is what
 * the engine has to know of the host besides packets: changes of routing, what the kernel dropped, and how
 * far capture has come.
 */
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/util.h"
#include "program/clock.h"
#include "io/inject/route.h"
#include "tcpcopy/pipeline.h"

#define MAX_HALF_OPEN 65536
#define MAX_SESSIONS 4000000
#define DEFAULT_MTU 1500

static void op_emit(void *arg, const struct tx_segment *t)
{
	struct pipeline *p = arg;

	sink_send(p->sink, t);
}

static void op_watch(void *arg, uint64_t id, const struct tuple *response)
{
	struct pipeline *p = arg;

	if (p->assistants)
		assistants_watch(p->assistants, id, response);
}

static bool op_watch_room(void *arg)
{
	const struct pipeline *p = arg;

	return !p->assistants || assistants_have_room(p->assistants);
}

static void op_unwatch(void *arg, uint64_t id, const struct tuple *response)
{
	struct pipeline *p = arg;

	if (p->assistants)
		assistants_unwatch(p->assistants, id, response);
}

static bool op_source_take(void *arg, const struct flow_key *key, struct endpoint *source)
{
	struct pipeline *p = arg;

	return mapping_take(p->mapping, key, source);
}

static void op_source_give(void *arg, const struct flow_key *key, const struct endpoint *source)
{
	struct pipeline *p = arg;

	mapping_give(p->mapping, key, source);
}

static bool op_online_received(void *arg, const struct flow_key *key, uint64_t *bytes)
{
	struct pipeline *p = arg;

	return p->online && online_received(p->online, &key->client, &key->online, bytes);
}

static enum online_word op_online_there(void *arg, const struct flow_key *key)
{
	struct pipeline *p = arg;

	switch (p->online ? online_there(p->online, &key->client, &key->online) : SOCKET_UNKNOWN) {
	case SOCKET_THERE:
		return ONLINE_THERE;
	case SOCKET_GONE:
		return ONLINE_GONE;
	case SOCKET_UNKNOWN:
		break;
	}
	return ONLINE_UNKNOWN;
}

static const struct engine_ops ops = {
	.emit = op_emit,
	.watch = op_watch,
	.unwatch = op_unwatch,
	.watch_room = op_watch_room,
	.source_take = op_source_take,
	.source_give = op_source_give,
	.online_received = op_online_received,
	.online_there = op_online_there,
};

static int add_targets(struct pipeline *p, char *err, size_t err_size)
{
	const struct config *c = p->config;

	for (unsigned i = 0; i < c->n_rules; i++) {
		const struct rule *r = &c->rules[i];
		char host[ADDR_TEXT_LEN];
		struct route_info route;

		if (route_lookup(&route, &r->target.addr) || route.unreachable) {
			snprintf(
				err, err_size,
				"option -x \"%s\": this host has no route to the target %s; add one (ip route add %s via "
				"GATEWAY), or correct the address",
				r->text, addr_format(host, sizeof(host), &r->target.addr), host);
			return -1;
		}
		if (engine_add_target(p->engine, &r->target,
				      c->mtu      ? c->mtu
				      : route.mtu ? route.mtu
						  : DEFAULT_MTU) < 0) {
			snprintf(err, err_size, "out of memory");
			return -1;
		}
	}
	return 0;
}

static int open_sink(struct pipeline *p, char *err, size_t err_size)
{
	const struct config *c = p->config;
	char host[ADDR_TEXT_LEN];

	p->sink = c->inject == INJECT_RAW ? sink_raw_open(err, err_size) : sink_link_open(err, err_size);
	if (!p->sink)
		return -1;
	for (unsigned i = 0; i < c->n_rules && c->inject == INJECT_LINK; i++) {
		if (sink_link_reaches(p->sink, &c->rules[i].target.addr))
			continue;
		snprintf(
			err, err_size,
			"option --inject \"link\": the way to the target %s is not Ethernet; accepted: raw, or auto",
			addr_format(host, sizeof(host), &c->rules[i].target.addr));
		return -1;
	}
	return 0;
}

static void on_routing(evutil_socket_t fd, short what, void *arg)
{
	struct pipeline *p = arg;

	(void)fd;
	(void)what;
	sink_readable(p->sink);
}

#define SETTLED (100 * NS_PER_MS) /* what a source has not shown by then it has not got */

void pipeline_progress(struct pipeline *p, unsigned i, unsigned n)
{
	uint64_t all = UINT64_MAX;

	p->taken_until[i] = n < SOURCE_TAKE_MOST ? p->now - SETTLED : p->newest;
	for (unsigned j = 0; j < p->n_sources; j++)
		all = MIN(all, p->taken_until[j]);
	engine_captured_all(p->engine, all);
}

static void on_drops(evutil_socket_t fd, short what, void *arg)
{
	struct pipeline *p = arg;
	uint64_t drops = 0;

	(void)fd;
	(void)what;
	for (unsigned i = 0; i < p->n_sources; i++) {
		struct source_counters n;

		source_counters(p->source[i], &n);
		drops += n.kernel_drops;
	}
	if (drops == p->drops_known)
		return;
	p->drops_known = drops;
	engine_capture_lost(p->engine, clock_now());
	event_active(p->timer, EV_TIMEOUT, 0); /* which sets itself for what is due now */
}

int pipeline_watch_host(struct pipeline *p)
{
	p->drops = event_new(p->base, -1, EV_PERSIST, on_drops, p);
	if (!p->drops || event_add(p->drops, &(struct timeval){ .tv_sec = 1 }))
		return -1;
	if (sink_fd(p->sink) < 0)
		return 0;
	p->routing = event_new(p->base, sink_fd(p->sink), EV_READ | EV_PERSIST, on_routing, p);
	return p->routing && !event_add(p->routing, NULL) ? 0 : -1;
}

void pipeline_follow_mtu(struct pipeline *p)
{
	const struct config *c = p->config;

	if (p->mtu_changes == p->sink->mtu_changes)
		return;
	p->mtu_changes = p->sink->mtu_changes;
	for (unsigned i = 0; i < c->n_rules && !c->mtu; i++) { /* rule [i] has target i */
		uint32_t mtu = sink_mtu(p->sink, &c->rules[i].target.addr);

		if (mtu)
			engine_set_target_mtu(p->engine, i, mtu);
	}
}

int pipeline_open(struct pipeline *p, const struct config *c, const struct fanout *spread, unsigned worker,
		  struct event_base *base, char *err, size_t err_size)
{
	struct engine_config ec = {
		.hold = c->hold,
		.session_buffer = c->session_buffer,
		.max_memory = c->memory / c->workers,
		.max_half_open = MAX_HALF_OPEN / c->workers,
		.max_sessions = MAX_SESSIONS / c->workers,
		.no_join = c->no_join,
	};

	memset(p, 0, sizeof(*p));
	p->config = c;
	p->base = base;
	p->spread = *spread;
	p->worker = worker;
	if (getrandom(&ec.key, sizeof(ec.key), 0) != sizeof(ec.key)) {
		snprintf(err, err_size, "the kernel gives no random bytes");
		return -1;
	}
	p->mapping = mapping_new(c, &p->spread, worker, &ec.key);
	p->engine = engine_new(&ec, &ops, p, clock_now());
	if (!p->mapping || !p->engine) {
		snprintf(err, err_size, "out of memory");
		return -1;
	}
	if (add_targets(p, err, err_size))
		return -1;
	p->online = online_open(); /* without it holes are waited out */
	return open_sink(p, err, err_size);
}

void pipeline_stray(const struct msg_stray *m, void *arg)
{
	struct pipeline *p = arg;

	if (engine_announcing(p->engine))
		p->strays.refused++; /* it may be one of ours */
	else
		stray_answer(p->config, &p->strays, p->sink, m, clock_now());
}

void pipeline_stop(struct pipeline *p)
{
	for (unsigned i = 0; i < p->n_sources; i++)
		if (p->readable[i])
			event_del(p->readable[i]);
	engine_shutdown(p->engine, clock_now());
	sink_flush(p->sink);
	engine_flushed(p->engine);
}

void pipeline_close(struct pipeline *p)
{
	assistants_free(p->assistants);
	p->assistants = NULL;
	for (unsigned i = 0; i < p->n_sources; i++) {
		if (p->readable[i])
			event_free(p->readable[i]);
		source_close(p->source[i]);
	}
	if (p->timer)
		event_free(p->timer);
	if (p->routing)
		event_free(p->routing);
	if (p->drops)
		event_free(p->drops);
	if (p->sink)
		sink_close(p->sink);
	online_close(p->online);
	engine_free(p->engine);
	mapping_free(p->mapping);
}
