/*
 * What a probe stands on: a sink, connections to the assistants, and a source.
 *
 * Used by --check, and by the self-diagnosis of a tcpcopy that replicates; both on the main thread,
 * so that no packet waits for it. The source is never invented: it is what --probe-from says, or an
 * address of -c, or the client of a request that was captured, with a port that no connection of
 * that client to the service has. Without any of these only an ordinary connection to the target is
 * tried.
 */
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "build/config.h"
#include "io/inject/sink.h"
#include "io/host/sockets.h"
#include "tcpcopy/check/own.h"
#include "tcpcopy/mapping.h"
#include "tcpcopy/check/probe.h"
#include "tcpcopy/check/unheard.h"

#define CONNECT_TIMEOUT_MS 3000

static void decided(struct check_assistant *p)
{
	if (p->decided)
		return; /* lost later */
	p->decided = true;
	for (unsigned i = 0; i < p->all->config->n_assistants; i++)
		if (!p->all->assistant[i].decided)
			return;
	p->all->connected(p->all);
}

static void on_up(struct channel_conn *conn, const struct msg_hello *hello, uint16_t version, void *arg)
{
	struct check_assistant *p = arg;

	(void)conn;
	p->up = true;
	p->hello = *hello;
	p->version = version;
	decided(p);
}

static void on_down(struct channel_conn *conn, const char *why, void *arg)
{
	struct check_assistant *p = arg;

	(void)conn;
	p->conn = NULL;
	p->up = false;
	snprintf(p->why, sizeof(p->why), "%s", why);
	decided(p);
}

static void on_message(struct channel_conn *conn, const struct message *m, void *arg)
{
	struct check_assistant *p = arg;
	struct probe *probe = p->all->probe;

	(void)conn;
	if (probe && m->type == MSG_RESPONSE)
		probe_response(probe, &m->response);
	else if (probe && m->type == MSG_FINDINGS)
		probe_findings(probe, (unsigned)(p - p->all->assistant), &m->findings);
}

void check_live_connect(struct checking *k, void (*connected)(struct checking *k))
{
	static const struct channel_handler handler = { .up = on_up, .message = on_message, .down = on_down };
	const struct channel_options options = {
		.program = "tcpcopy",
		.release = VERSION,
		.secret = k->config->secret,
	};
	const struct config *c = k->config;

	k->connected = connected;
	for (unsigned i = 0; i < c->n_assistants; i++) {
		struct check_assistant *p = &k->assistant[i];

		*p = (struct check_assistant){ .all = k, .address = &c->assistants[i] };
	}
	for (unsigned i = 0; i < c->n_assistants; i++) {
		struct check_assistant *p = &k->assistant[i];

		p->conn =
			channel_connect(k->base, &p->address->at, CONNECT_TIMEOUT_MS, &options, &handler, p);
		if (!p->conn)
			on_down(NULL, "out of memory", p);
	}
}

/* Routing changes: the neighbour of the first SYN becomes known. */
static void on_routing(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	sink_readable(arg);
}

int check_live_open(struct checking *k, char *err, size_t err_size)
{
	k->sink = k->config->inject == INJECT_RAW ? sink_raw_open(err, err_size)
						  : sink_link_open(err, err_size);
	return k->sink ? 0 : -1;
}

void check_live_close(struct checking *k)
{
	probe_free(k->probe);
	if (k->routing)
		event_free(k->routing);
	if (k->sink)
		sink_close(k->sink);
	for (unsigned i = 0; i < k->config->n_assistants; i++)
		if (k->assistant[i].conn)
			channel_conn_close(k->assistant[i].conn, "the check is over");
	k->probe = NULL;
	k->routing = NULL;
	k->sink = NULL;
	memset(k->assistant, 0, sizeof(k->assistant));
}

static void send_to_all(void *arg, const struct message *m)
{
	const struct checking *k = arg;

	for (unsigned i = 0; i < k->config->n_assistants; i++)
		if (k->assistant[i].up)
			channel_conn_send(k->assistant[i].conn, m);
}

static void send_to_own(void *arg, const struct message *m)
{
	const struct checking *k = arg;

	check_own_send(k->own, m);
}

static void on_done(void *arg)
{
	struct checking *k = arg;

	k->probed(k);
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
	u->found = u->k->has_client && u->k->client.port == port && addr_eq(&u->k->client.addr, u->client);
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

bool check_live_any_up(const struct checking *k)
{
	for (unsigned i = 0; i < k->config->n_assistants; i++)
		if (k->assistant[i].up)
			return true;
	return false;
}

struct listener {
	const struct rule *rule;
	bool found;
};

static bool on_listener(const struct endpoint *local, const struct endpoint *remote, void *arg)
{
	struct listener *l = arg;

	(void)remote;
	l->found = unheard_reached(l->rule, &local->addr);
	return !l->found;
}

/* Is this the host that serves the clients of @rule? */
static bool is_served(const struct checking *k, const struct rule *rule)
{
	struct listener l = { .rule = rule, .found = k->has_client };

	if (!l.found)
		sockets_listening(rule->online_port, on_listener, &l);
	return l.found;
}

bool check_live_probe(struct checking *k, unsigned rule, void (*probed)(struct checking *k))
{
	struct probe_way way = {
		.base = k->base,
		.sink = k->sink,
		.config = k->config,
		.target = &k->config->rules[rule].target,
		.served = is_served(k, &k->config->rules[rule]),
		.online_port = k->config->rules[rule].online_port,
		.send = send_to_all,
		.done = on_done,
		.arg = k,
	};

	if (!k->routing && sink_fd(k->sink) >= 0)
		k->routing = event_new(k->base, sink_fd(k->sink), EV_READ | EV_PERSIST, on_routing, k->sink);
	if (k->routing)
		event_add(k->routing, NULL);
	if (check_live_any_up(k))
		way.source = source_for(k, rule);
	if (k->own) {
		way.send = send_to_own;
		way.source = check_own_source(k->own, rule, k->last_port);
	}
	probe_free(k->probe);
	k->probed = probed;
	k->probe = probe_start(&way);
	return k->probe;
}
