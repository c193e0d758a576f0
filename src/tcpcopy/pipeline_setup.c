/*
 * Setting up and taking down the pipeline - theory of operation
 *
 * Everything that needs privilege or can be refused is opened before the first packet, so that a start
 * either succeeds whole or fails with a reason. Nothing is put into the event loop until pipeline_start().
 */
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/util.h"
#include "program/clock.h"
#include "io/host/host.h"
#include "io/inject/route.h"
#include "tcpcopy/pipeline.h"
#include "tcpcopy/returns/assistants.h"
#include "tcpcopy/returns/dry.h"

#define MAX_HALF_OPEN 65536
#define MAX_OBSERVED 65536
#define DEFAULT_MTU 1500

/* No router is between this host and where *r leads, so its link's MTU is that of the whole way. */
static bool is_direct(const struct route_info *r)
{
	return r->local || (!r->has_gateway && !r->has_encapsulation);
}

static int add_targets(struct pipeline *p, char *err, size_t err_size)
{
	const struct config *c = p->config;

	for (unsigned i = 0; i < c->n_rules; i++) {
		const struct rule *r = &c->rules[i];
		char host[ADDR_TEXT_LEN];
		struct route_info route;

		if (route_lookup(&route, &r->target.addr)) {
			snprintf(err, err_size, "option -x \"%s\": cannot look up the route: %s", r->text,
				 strerror(errno));
			return -1;
		}
		if (route.unreachable) {
			snprintf(err, err_size,
				 "option -x \"%s\": this host has no route to the target %s; add one (ip "
				 "route "
				 "add %s via GATEWAY), or correct the address",
				 r->text, addr_format(host, sizeof(host), &r->target.addr), host);
			return -1;
		}
		if (engine_add_target(p->engine, &r->target,
				      c->mtu      ? c->mtu
				      : route.mtu ? route.mtu
						  : DEFAULT_MTU) < 0) {
			snprintf(err, err_size, "out of memory or file descriptors");
			return -1;
		}
		engine_set_target_mtu(p->engine, i, engine_path(p->engine, i)->route, is_direct(&route));
		engine_set_target_join(p->engine, i, r->join);
	}
	return 0;
}

static int open_sink(struct pipeline *p, char *err, size_t err_size)
{
	const struct config *c = p->config;
	char host[ADDR_TEXT_LEN];

	if (c->dry_run) {
		p->dry = dry_open(p->base, p, err, err_size);
		p->sink = p->dry ? dry_sink(p->dry) : NULL;
		return p->sink ? 0 : -1;
	}
	p->sink = c->inject == INJECT_RAW ? sink_raw_open(err, err_size) : sink_link_open(err, err_size);
	if (!p->sink)
		return -1;
	for (unsigned i = 0; i < c->n_rules && c->inject == INJECT_LINK; i++) {
		if (sink_link_reaches(p->sink, &c->rules[i].target.addr))
			continue;
		snprintf(err, err_size,
			 "option --inject \"link\": the target %s is not reached over Ethernet; accepted: "
			 "raw, or auto",
			 addr_format(host, sizeof(host), &c->rules[i].target.addr));
		return -1;
	}
	return 0;
}

int pipeline_open(struct pipeline *p, const struct config *c, const struct plan *plan,
		  const struct fanout *spread, unsigned worker, struct event_base *base, char *err,
		  size_t err_size)
{
	struct engine_config ec = {
		.hold = c->hold,
		.session_buffer = c->session_buffer,
		.max_memory = c->memory / c->run.workers,
		.max_half_open = MAX_HALF_OPEN / c->run.workers,
		.max_observed = MAX_OBSERVED / c->run.workers,
		.max_sessions = CONFIG_MAX_SESSIONS / c->run.workers,
		.engines = c->run.workers,
		.prove = !c->n_read, /* what was recorded is chosen by the user */
		.recorded = c->n_read,
		.unproved = c->unproved,
		.copy_mask = copies_mask(&c->copies),
		.server_window = c->n_read ? 0 : host_receive_window(),
	};

	memset(p, 0, sizeof(*p));
	p->config = c;
	p->choice = c->choice;
	limits_init(&p->limits, c->max_sessions, c->max_rate, c->run.workers);
	p->plan = plan;
	p->base = base;
	p->spread = *spread;
	p->worker = worker;
	if (getrandom(&ec.key, sizeof(ec.key), 0) != sizeof(ec.key)) {
		snprintf(err, err_size, "cannot get random bytes from the kernel");
		return -1;
	}
	p->mapping = mapping_new(c, &p->spread, worker, &ec.key);
	p->engine = engine_new(&ec, &pipeline_ops, p, clock_now());
	if (!p->mapping || !p->engine) {
		snprintf(err, err_size, "out of memory or file descriptors");
		return -1;
	}
	if (add_targets(p, err, err_size))
		return -1;
	p->online = online_open(); /* without it holes are waited out */
	if (open_sink(p, err, err_size))
		return -1;
	if (c->n_read) /* this host is not the one that was recorded */
		return 0;
	p->answers.online = p->online;
	p->local = local_open();
	if (replies_open(p, err, err_size))
		return -1;
	if (c->inject != INJECT_RAW && !c->dry_run)
		capture_replies_without(p->replies, sink_link_socket(p->sink));
	return 0;
}

/* The way back from the targets. */
static struct returns *open_returns(struct pipeline *p)
{
	if (!p->plan)
		return p->dry ? dry_returns(p->dry, NULL) : assistants_open(p->base, p->config, p->worker, p);
	p->inflow.rate = (p->plan->max_answers + 7) / 8 / p->config->run.workers;
	p->own = own_open(p->base, p->plan, p->online, p);
	if (p->own && p->dry)
		return dry_returns(p->dry, own_returns(p->own));
	return p->own ? own_returns(p->own) : NULL;
}

int pipeline_start(struct pipeline *p)
{
	p->timer_at = UINT64_MAX;
	p->timer = evtimer_new(p->base, pipeline_timer, p);
	if (!p->timer)
		return -1;
	for (unsigned i = 0; i < p->n_sources; i++) {
		p->readable[i] =
			event_new(p->base, p->source[i]->fd, EV_READ | EV_PERSIST, pipeline_readable, p);
		if (!p->readable[i] || event_add(p->readable[i], NULL))
			return -1;
	}
	if (p->replay ? replay_start(p->replay) : replies_start(p))
		return -1;
	p->returns = open_returns(p);
	return p->returns ? pipeline_watch_host(p) : -1;
}

void pipeline_stop(struct pipeline *p)
{
	for (unsigned i = 0; i < p->n_sources; i++)
		if (p->readable[i])
			event_del(p->readable[i]);
	if (p->replay)
		replay_stop(p->replay);
	engine_shutdown(p->engine, clock_now());
	sink_flush(p->sink);
	engine_flushed(p->engine);
}

void pipeline_close(struct pipeline *p)
{
	/*
	 * Before the engine, which withdraws nothing then: if the RST of a session that lingers was lost, the
	 * assistant still knows whose the target's next segment is, and the next tcpcopy answers it
	 * (stray.c).
	 */
	returns_close(p->returns);
	p->returns = NULL;
	p->own = NULL;
	for (unsigned i = 0; i < p->n_sources; i++) {
		if (p->readable[i])
			event_free(p->readable[i]);
		source_close(p->source[i]);
	}
	if (p->timer)
		event_free(p->timer);
	if (p->routing)
		event_free(p->routing);
	if (p->second)
		event_free(p->second);
	if (p->sink)
		sink_close(p->sink);
	online_close(p->online);
	replay_free(p->replay);
	if (p->addresses)
		event_free(p->addresses);
	replies_close(p);
	local_close(p->local);
	engine_free(p->engine);
	mapping_free(p->mapping);
}
