/*
 * The way back by own addresses, tried.
 *
 * In: the configuration. Out: which addresses and ports a start would use, and whether their answers can be
 * kept from this host's TCP. For that the helper and its table are made as a start makes them, and the
 * answers to the probes are captured as a start captures them.
 *
 * A tcpcopy that runs has the ports of the plan, and nobody else can see which are in use. So the pair of
 * address and target is claimed first. If another has it, the probe goes from a port that the kernel gives
 * us, which is in nobody's plan.
 */
#include "tcpcopy/check/own.h"

#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/capture/source.h"
#include "packet/parse.h"
#include "packet/response.h"
#include "tcpcopy/check/probe.h"
#include "tcpcopy/config/lock.h"
#include "tcpcopy/returns/plan.h"
#include "tcpcopy/returns/swallow.h"

#define TAKE_MOST 64u
#define ANSWER_BYTES 192u

struct check_own {
	struct checking *k;
	struct plan plan;
	struct swallow *swallow;
	struct source *source[CONFIG_MAX_INTERFACES];
	struct event *readable[CONFIG_MAX_INTERFACES];
	unsigned n_sources;
	int held; /* a socket that keeps our port from others; -1: none is needed */
	/* the probe that goes on */
	uint64_t id;
	struct tuple answer;
	bool watched;
	bool heard; /* it has answered with a TTL of 255, which no listening socket drops */
};

static void on_lost(void *arg)
{
	(void)arg; /* the probe will tell */
}

static void on_packet(const struct raw_packet *packet, void *arg)
{
	struct check_own *o = arg;
	struct response r;
	struct segment s;

	if (parse_packet(&s, packet) != PARSE_OK || !o->watched || !o->k->probe ||
	    !endpoint_eq(&s.tuple.src, &o->answer.src) || !endpoint_eq(&s.tuple.dst, &o->answer.dst))
		return;
	o->heard |= o->plan.deaf && s.ttl == 255;
	r = response_from_segment(o->id, &s);
	probe_response(o->k->probe, &r);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct check_own *o = arg;

	(void)what;
	for (unsigned i = 0; i < o->n_sources; i++)
		if (o->source[i]->fd == fd)
			source_poll(o->source[i], TAKE_MOST, on_packet, o);
}

static int open_sources(struct check_own *o, char *err, size_t err_size)
{
	char *filter = malloc(PLAN_FILTER_SIZE);
	int rc = filter ? plan_filter(&o->plan, filter, PLAN_FILTER_SIZE) : -1;

	snprintf(err, err_size, "out of memory or file descriptors");
	for (unsigned i = 0; i < o->k->n_interfaces && !rc; i++) {
		const struct capture_options options = {
			.interface = o->k->interfaces[i],
			.filter = filter,
			.incoming_only = true,
			.snaplen = ANSWER_BYTES,
			.mode = CAPTURE_PACKET,
			.buffer_bytes = 1u << 20,
		};
		struct source *s = capture_open(&options, err, err_size);

		if (!s) {
			rc = -1;
			break;
		}
		o->source[o->n_sources] = s;
		o->readable[o->n_sources] =
			event_new(o->k->base, s->fd, EV_READ | EV_PERSIST, on_readable, o);
		o->n_sources++;
	}
	free(filter);
	return rc;
}

/* A port that the kernel gives: the only one of the plan from now on. */
static int hold_port(struct check_own *o)
{
	static const int on = 1;
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in in = { .sin_family = AF_INET };
	socklen_t len = sizeof(in6);
	uint16_t port;

	o->held = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(o->held, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)); /* a deaf listener may have it, too */
	if (o->held >= 0 && !bind(o->held, (struct sockaddr *)&in6, sizeof(in6)) &&
	    !getsockname(o->held, (struct sockaddr *)&in6, &len)) {
		port = ntohs(in6.sin6_port);
	} else { /* a host without IPv6 */
		if (o->held >= 0)
			close(o->held);
		len = sizeof(in);
		o->held = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		setsockopt(o->held, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (o->held < 0 || bind(o->held, (struct sockaddr *)&in, sizeof(in)) ||
		    getsockname(o->held, (struct sockaddr *)&in, &len))
			return -1;
		port = ntohs(in.sin_port);
	}
	plan_only(&o->plan, port);
	return 0;
}

static void say_plan(struct check_report *report, const struct plan *p)
{
	char own[ADDR_TEXT_LEN], target[ENDPOINT_TEXT_LEN], ports[PLAN_PORTS_TEXT];

	for (unsigned i = 0; i < p->n_places; i++)
		check_note(
			report, CHECK_OK,
			"%s answers to this host's %s: %u sessions at once, from ports %s; it does not see the "
			"clients' addresses (with -s it does)",
			endpoint_format(target, sizeof(target), &p->place[i].target),
			addr_format(own, sizeof(own), &p->place[i].own), p->n_ports,
			plan_ports_format(p, ports));
}

void check_own(struct check_report *report, void *arg)
{
	struct checking *k = arg;
	const char *no_table;
	struct check_own *o;
	char err[512];

	if (k->config->way_back != RETURN_OWN)
		return;
	o = calloc(1, sizeof(*o));
	if (!o || plan_make(&o->plan, k->config, err, sizeof(err))) {
		check_note(report, CHECK_BROKEN, "%s", o ? err : "out of memory");
		free(o);
		return;
	}
	o->k = k;
	o->held = -1;
	say_plan(report, &o->plan);
	if (lock_plan(&o->plan, err, sizeof(err))) {
		check_note(report, CHECK_OK,
			   "a tcpcopy that runs has these ports, so the probe goes from another one");
		if (hold_port(o)) {
			check_note(report, CHECK_BROKEN, "this host has no free port: %s", strerror(errno));
			check_own_close(o);
			return;
		}
	}
	o->swallow = swallow_open(k->base, &o->plan, k->config->run.no_sandbox, on_lost, o, err, sizeof(err));
	if (!o->swallow || open_sources(o, err, sizeof(err))) {
		check_note(report, CHECK_BROKEN, "%s", err);
		check_own_close(o);
		return;
	}
	no_table = swallow_no_table(o->swallow);
	if (no_table)
		check_note(
			report, CHECK_WARNING,
			"no nft table (%s): %u listening sockets can keep the answers from this host's TCP "
			"instead, for as many sessions at once",
			no_table, o->plan.n_ports);
	else
		check_note(report, CHECK_OK, "an nft table can keep the answers from this host's TCP");
	k->own = o;
}

struct endpoint check_own_source(const struct check_own *o, unsigned rule, bool last)
{
	struct endpoint source = { .port = 0 };

	for (unsigned i = 0; i < o->plan.n_places && !source.port; i++) {
		if (!endpoint_eq(&o->plan.place[i].target, &o->k->config->rules[rule].target))
			continue;
		source.addr = o->plan.place[i].own;
		for (unsigned port = 1; port < 65536 && (last || !source.port); port++)
			if (plan_usable(&o->plan, (uint16_t)port))
				source.port = (uint16_t)port;
	}
	return source;
}

void check_own_send(struct check_own *o, const struct message *m)
{
	if (m->type == MSG_UNWATCH && m->watch.id == o->id)
		o->watched = false;
	if (m->type != MSG_WATCH)
		return;
	for (unsigned i = 0; i < o->n_sources; i++)
		if (o->readable[i])
			event_add(o->readable[i], NULL);
	o->id = m->watch.id;
	o->answer = m->watch.response;
	o->watched = true;
	o->heard = false;
}

bool check_own_heard(const struct check_own *o)
{
	return o && o->heard;
}

void check_own_close(struct check_own *o)
{
	if (!o)
		return;
	for (unsigned i = 0; i < o->n_sources; i++) {
		if (o->readable[i])
			event_free(o->readable[i]);
		source_close(o->source[i]);
	}
	swallow_close(o->swallow);
	if (o->held >= 0)
		close(o->held);
	free(o);
}
