/*
 * What the engine hears of the host besides packets and responses - theory of operation
 *
 *   how far capture has come   after each source_take(): what is older than that and was not captured was not
 *                              sent by the client, or was lost
 *   what the kernel dropped    looked at once a second: a hole may then be a loss of ours
 *   what targets do not take   looked at as often, and said when it begins and when it ends
 *   the MTUs of the ways       the sink hears of changes of routing (netlink) and counts them; its count is
 *                              compared after each batch, which costs nothing while nothing changes
 */
#include <event2/event.h>

#include "base/util.h"
#include "program/clock.h"
#include "program/log.h"
#include "tcpcopy/pipeline.h"

static void on_lost(struct pipeline *p, uint64_t session)
{
	engine_source_lost(p->engine, session, p->now);
}

/* Do the own addresses still belong to this host? */
static void look_at_own(struct pipeline *p)
{
	if (!p->own)
		return;
	p->now = clock_now();
	own_look(p->own, !p->worker, on_lost);
	event_active(p->timer, EV_TIMEOUT, 0);
}

static void on_addresses(evutil_socket_t fd, short what, void *arg)
{
	struct pipeline *p = arg;

	(void)fd;
	(void)what;
	local_readable(p->local);
	look_at_own(p);
}

static void on_routing(evutil_socket_t fd, short what, void *arg)
{
	struct pipeline *p = arg;

	(void)fd;
	(void)what;
	sink_readable(p->sink);
}

void pipeline_progress(struct pipeline *p, unsigned i, unsigned n)
{
	uint64_t all = UINT64_MAX;

	p->behind = n == SOURCE_TAKE_MOST;
	p->taken_until[i] = p->behind ? p->newest : p->now - SETTLED;
	for (unsigned j = 0; j < p->n_sources; j++)
		all = MIN(all, p->taken_until[j]);
	p->taken_all = all;
	engine_captured_all(p->engine, all);
}

static void look_for_drops(struct pipeline *p)
{
	uint64_t drops = 0;

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

/* Once for each rule what is given up, and each time that its joins stop or begin again. */
static void say_joins(struct pipeline *p)
{
	for (unsigned i = 0; i < p->config->n_rules; i++) {
		const struct engine_joins *n = engine_joins(p->engine, i);
		const char *rule = p->config->rules[i].text;

		if (n->given_up && !p->said_given_up[i]) {
			p->said_given_up[i] = true;
			log_warn(
				"-x %s: the target closed or reset a connection three times without a second "
				"response: such a connection is not joined again. It may need a login or a "
				"key that the target does not know",
				rule);
		}
		if (n->stopped && !p->said_stopped[i])
			log_warn(
				"-x %s: the target takes hardly any connection in its middle: 18 of the last "
				"20 failed. Connections that are open already are not joined any more; one "
				"is tried every 30 s. New connections are replicated",
				rule);
		if (!n->stopped && p->said_stopped[i])
			log_info("-x %s: the target takes connections in their middle again", rule);
		p->said_stopped[i] = n->stopped;
	}
}

static void say_mptcp(struct pipeline *p)
{
	const struct engine_examples *all = engine_examples(p->engine);
	const struct engine_example *x[] = { &all->ended[OUTCOME_MPTCP], &all->declined[DECLINE_MPTCP] };
	char client[ENDPOINT_TEXT_LEN];

	for (unsigned i = 0; i < 2; i++) {
		if (!x[i]->time || p->said_mptcp[x[i]->key.target])
			continue;
		p->said_mptcp[x[i]->key.target] = true;
		log_warn("-x %s: %s speaks Multipath TCP with the online server, which spreads a stream over "
			 "several connections: such connections are not replicated. Without it there "
			 "(sysctl net.mptcp.enabled=0) they are",
			 p->config->rules[x[i]->key.target].text,
			 endpoint_format(client, sizeof(client), &x[i]->key.client));
	}
}

static void on_second(evutil_socket_t fd, short what, void *arg)
{
	struct pipeline *p = arg;

	(void)fd;
	(void)what;
	look_for_drops(p);
	mapping_trim(p->mapping);
	replies_say(p);
	say_joins(p);
	say_mptcp(p);
	look_at_own(p);
	if (p->replay)
		replay_say(p->replay);
}

int pipeline_watch_host(struct pipeline *p)
{
	p->second = event_new(p->base, -1, EV_PERSIST, on_second, p);
	if (!p->second || event_add(p->second, &(struct timeval){ .tv_sec = 1 }))
		return -1;
	if (p->local) {
		p->addresses = event_new(p->base, local_fd(p->local), EV_READ | EV_PERSIST, on_addresses, p);
		if (!p->addresses || event_add(p->addresses, NULL))
			return -1;
	}
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
			engine_set_target_mtu(p->engine, i, mtu, engine_path(p->engine, i)->trusted);
	}
}
