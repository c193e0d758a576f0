/*
 * The live probe of --check.
 *
 * For each target one probe (probe.c), by the same sink as copies and over the connections that
 * were made to the assistants. Its source is never invented: it is what --probe-from says, or an
 * address of -c, or the client of a request that was captured a moment ago, with a port that no
 * connection of that client to the service has. Without any of these only an ordinary connection to
 * the target is tried.
 */
#include <event2/event.h>
#include <string.h>
#include <sys/random.h>

#include "io/sink.h"
#include "io/sockets.h"
#include "tcpcopy/check_parts.h"
#include "tcpcopy/mapping.h"
#include "tcpcopy/probe.h"

static void send_to_all(void *arg, const struct message *m)
{
	const struct checking *k = arg;

	for (unsigned i = 0; i < k->config->n_peers; i++)
		if (k->peer[i].up)
			channel_conn_send(k->peer[i].conn, m);
}

static void on_done(void *arg)
{
	event_base_loopbreak(((struct checking *)arg)->base);
}

/* Is a port in use by this client? */
struct using
{
	const struct checking *k;
	const struct addr *client;
	uint16_t port;
	bool found;
};

static bool on_socket(const struct endpoint *local, const struct endpoint *remote, void *arg)
{
	struct using *u = arg;

	(void)local;
	u->found |= remote->port == u->port && addr_eq(&remote->addr, u->client);
	return !u->found;
}

static bool in_use(void *arg, uint16_t port)
{
	struct using *u = arg;

	u->port = port;
	u->found = u->k->has_client && u->k->client.port == port &&
		   addr_eq(&u->k->client.addr, u->client);
	for (unsigned i = 0; i < u->k->config->n_rules && !u->found; i++)
		sockets_connected(u->k->config->rules[i].online_port, on_socket, u);
	return u->found;
}

/* An address of -c, in @any's family; unspecified where there is none. */
static struct addr pool_address(const struct config *c, struct addr any, unsigned rule)
{
	static const struct fanout alone = { .workers = 1, .source_port_only = true };
	const struct flow_key client = { .client = { any, 1 }, .target = (uint16_t)rule };
	struct siphash_key key = { 0 };
	struct endpoint source = { .addr = any };
	struct mapping *m;

	if (getrandom(&key, sizeof(key), GRND_NONBLOCK) != sizeof(key))
		return any;
	m = mapping_new(c, &alone, 0, &key);
	if (m && !mapping_take(m, &client, &source))
		source.addr = any;
	mapping_free(m);
	return source.addr;
}

/* Port 0: there is none. */
static struct endpoint source_for(const struct checking *k, unsigned rule)
{
	const struct config *c = k->config;
	bool v4 = addr_is_v4(&c->rules[rule].target.addr);
	struct endpoint source = { .port = 0 };
	struct using u = { .k = k, .client = &source.addr };

	if (v4)
		source.addr = addr_from_v4("\0\0\0\0");
	if (c->has_probe_from && addr_is_v4(&c->probe_from.addr) == v4)
		source = c->probe_from;
	else if (c->n_pool)
		source.addr = pool_address(c, source.addr, rule);
	else if (k->has_client && addr_is_v4(&k->client.addr) == v4)
		source.addr = k->client.addr;
	if (!source.port && !addr_is_any(&source.addr))
		source.port = probe_port(in_use, &u);
	return source;
}

static bool any_up(const struct checking *k)
{
	for (unsigned i = 0; i < k->config->n_peers; i++)
		if (k->peer[i].up)
			return true;
	return false;
}

static void probe_one(struct check_report *report, struct checking *k, unsigned rule)
{
	struct probe_way way = {
		.base = k->base,
		.sink = k->sink,
		.config = k->config,
		.target = &k->config->rules[rule].target,
		.send = send_to_all,
		.done = on_done,
		.arg = k,
	};
	struct check_result r = { 0 };
	char at[ENDPOINT_TEXT_LEN], command[900];

	if (any_up(k))
		way.source = source_for(k, rule);
	k->probe = probe_start(&way);
	if (!k->probe) {
		check_note(report, CHECK_BROKEN, "out of memory");
		return;
	}
	event_base_dispatch(k->base);
	probe_diagnose(&r, probe_result(k->probe), k->config);
	probe_free(k->probe);
	k->probe = NULL;
	check_say(report, &r);
	if (way.source.port || !any_up(k))
		return;
	check_text(
		&r, CHECK_WARNING,
		"no client is known, so the way back from %s was not tried; with the address of one",
		endpoint_format(at, sizeof(at), way.target));
	check_cure(&r, "this host", "%s",
		   check_command(command, sizeof(command), k->argv, NULL, "--probe-from ADDRESS"));
	check_say(report, &r);
}

/* Routing changes: the neighbour of the first SYN becomes known. */
static void on_routing(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	sink_readable(arg);
}

void check_probe(struct check_report *report, void *arg)
{
	struct checking *k = arg;
	const struct config *c = k->config;
	struct event *routing = NULL;
	char err[512];

	k->sink = c->inject == INJECT_RAW ? sink_raw_open(err, sizeof(err))
					  : sink_link_open(err, sizeof(err));
	if (!k->sink)
		return; /* said before */
	if (sink_fd(k->sink) >= 0)
		routing = event_new(k->base, sink_fd(k->sink), EV_READ | EV_PERSIST, on_routing,
				    k->sink);
	if (routing)
		event_add(routing, NULL);
	for (unsigned i = 0; i < c->n_rules; i++) {
		unsigned j = 0;

		while (j < i && !endpoint_eq(&c->rules[j].target, &c->rules[i].target))
			j++;
		if (j == i)
			probe_one(report, k, i);
	}
	if (routing)
		event_free(routing);
	sink_close(k->sink);
	k->sink = NULL;
}
