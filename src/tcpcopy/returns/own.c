/*
 * Own addresses as a return path - theory of operation
 *
 * In: the plan. Out: for each session an address and a port of this host; and for each answer that was
 * captured, whose it is. There are no connections to anybody, so this is up from the start to the end, and a
 * watch cannot be late: it is an entry in an array, one for each own address and target, by port.
 *
 * Ports are taken in the order in which they were given back. A target that has closed first keeps the
 * connection for a minute or more (TIME-WAIT), and takes a new one of the same port sooner only if it looks
 * newer; so a port rests as long as there are others. Timestamps make it look so: clients have clocks that
 * differ, so each session's are shifted by what its port needs (own_sends()). The echo of a timestamp is
 * nothing that the engine looks at.
 *
 * A program of this host may begin to use a port of the range at any time, so the kernel is asked for a
 * socket there before a port is taken, and when an answer comes to a port that no session has. If one gets a
 * port that a session has, this host's TCP resets the target: a reset is seen leaving that we have not sent.
 * Such a port is withdrawn. So is a whole target that deaf listeners hear, and an address that goes away
 * rests until it is back. The sessions of these end, and their connections may be joined again from
 * elsewhere.
 *
 * Towards a target at a loopback address, the same client has the same own address as long as that has ports.
 *
 * Workers share the ports as the kernel shares out the answers: a port is for the worker to which its answers
 * go (io/capture/fanout.h).
 */
#include "tcpcopy/returns/own.h"

#include <event2/event.h>
#include <limits.h>
#include <stdlib.h>

#include "base/util.h"
#include "io/host/online.h"
#include "io/inject/route.h"
#include "packet/bytes.h"
#include "packet/options.h"
#include "program/log.h"
#include "tcpcopy/pipeline.h"

#define PORT_TRIES 64u /* if sockets of this host have them */

/* One port. */
struct port {
	uint64_t session;       /* its number plus one; 0: none */
	uint32_t newest, shift; /* the timestamp that left it last; what is added to those of the session */
	/* ours since the session began that were not seen leaving: most are not shown to us */
	uint8_t resets;
	bool stamped;   /* one has left it */
	bool withdrawn; /* our TCP has reset its session */
	bool begins;    /* the next SYN is the first of its session */
};

/* The ports of one own address towards one target. */
struct place {
	const struct plan_place *at;
	bool gone;                 /* the own address */
	bool heard;                /* deaf listeners hear the target */
	uint32_t withdrawn;        /* how many of its ports are */
	struct port *of;           /* by number */
	uint16_t *port;            /* a ring of those that are free */
	uint32_t size, head, free; /* of that ring */
};

struct own {
	struct returns returns;
	const struct plan *plan;
	struct online *sockets; /* NULL: this host cannot be asked */
	struct pipeline *pipeline;
	struct own_counters n;
	struct event *begin;
	unsigned next; /* where the next session looks first, so that several addresses share the load */
	unsigned n_places;
	uint16_t first[CONFIG_MAX_RULES]; /* the first rule with the same target as this one */
	struct place place[PLAN_PLACES_MAX];
};

static struct own *own_of(struct returns *r)
{
	return CONTAINER_OF(r, struct own, returns);
}

static struct place *find(struct own *o, const struct endpoint *target, const struct addr *own)
{
	for (unsigned i = 0; i < o->n_places; i++)
		if (endpoint_eq(&o->place[i].at->target, target) && addr_eq(&o->place[i].at->own, own))
			return &o->place[i];
	return NULL;
}

static void watch(struct returns *r, uint64_t id, const struct tuple *response, uint32_t number)
{
	struct place *place = find(own_of(r), &response->src, &response->dst.addr);

	(void)number; /* the port is ours, and so is what comes to it */
	if (!place)
		return;
	place->of[response->dst.port].session = id + 1;
	place->of[response->dst.port].begins = true;
	place->of[response->dst.port].resets = 0;
}

static bool announce(struct returns *r, uint64_t id, const struct tuple *response, uint32_t number)
{
	watch(r, id, response, number);
	return false;
}

static void unwatch(struct returns *r, uint64_t id, const struct tuple *response)
{
	struct place *place = find(own_of(r), &response->src, &response->dst.addr);

	if (place && place->of[response->dst.port].session == id + 1)
		place->of[response->dst.port].session = 0;
}

static void close_own(struct returns *r)
{
	struct own *o = own_of(r);

	if (o->begin)
		event_free(o->begin);
	for (unsigned i = 0; i < o->n_places; i++) {
		free(o->place[i].of);
		free(o->place[i].port);
	}
	free(o);
}

static const struct returns_ops ops = {
	.watch = watch,
	.announce = announce,
	.unwatch = unwatch,
	.close = close_own,
};

static void on_begin(evutil_socket_t fd, short what, void *arg)
{
	struct own *o = arg;

	(void)fd;
	(void)what;
	returns_up(o->pipeline);
	returns_tried(o->pipeline, NULL);
}

static bool add_place(struct own *o, const struct plan_place *at)
{
	const struct pipeline *p = o->pipeline;
	struct place *place = &o->place[o->n_places++];
	struct tuple answer = { .src = at->target, .dst = { .addr = at->own } };

	place->at = at;
	place->of = calloc(65536, sizeof(place->of[0]));
	place->port = malloc((o->plan->n_ports + 1) * sizeof(place->port[0]));
	if (!place->of || !place->port)
		return false;
	for (unsigned port = 0; port < 65536; port++) {
		answer.dst.port = (uint16_t)port;
		if (plan_usable(o->plan, (uint16_t)port) && fanout_worker(&p->spread, &answer) == p->worker)
			place->port[place->free++] = (uint16_t)port;
	}
	place->size = place->free;
	return true;
}

struct own *own_open(struct event_base *base, const struct plan *plan, struct online *sockets,
		     struct pipeline *p)
{
	struct own *o = calloc(1, sizeof(*o));
	const struct config *c = plan->config;
	bool ok;

	if (!o)
		return NULL;
	o->returns.ops = &ops;
	o->plan = plan;
	o->sockets = sockets;
	o->pipeline = p;
	for (unsigned i = 0; i < c->n_rules; i++)
		while (!endpoint_eq(&c->rules[o->first[i]].target, &c->rules[i].target))
			o->first[i]++;
	o->begin = event_new(base, -1, 0, on_begin, o);
	ok = o->begin && !event_add(o->begin, &(struct timeval){ 0 });
	for (unsigned i = 0; i < plan->n_places && ok; i++)
		ok = add_place(o, &plan->place[i]);
	if (ok)
		return o;
	close_own(&o->returns);
	return NULL;
}

struct returns *own_returns(struct own *o)
{
	return &o->returns;
}

static void give(struct place *place, uint16_t port)
{
	place->port[(place->head + place->free++) % place->size] = port;
}

/* Has a socket of this host, one that listens or a connection to the target, this port? Some 1 us. */
static bool host_has(struct own *o, const struct plan_place *at, uint16_t port)
{
	const struct endpoint own = { at->own, port };
	struct online_answer answer;

	if (!o->sockets)
		return false;
	answer = online_look(o->sockets, &at->target, &own);
	return (answer.listener && !o->plan->deaf) || answer.word == ONLINE_THERE;
}

static bool take(struct own *o, struct place *place, uint16_t *port)
{
	for (unsigned tries = MIN(place->free, PORT_TRIES); tries; tries--) {
		*port = place->port[place->head];
		place->head = (place->head + 1) % place->size;
		place->free--;
		if (!host_has(o, place->at, *port))
			return true;
		o->n.avoided++;
		give(place, *port);
	}
	return false;
}

/* Where the search for @k's source begins: at the client's own place, or at the next one. */
static unsigned start_for(const struct own *o, const struct flow_key *k)
{
	uint32_t h = 0;

	if (!addr_is_loopback(&o->plan->config->rules[k->target].target.addr))
		return o->next;
	for (unsigned i = 0; i < 16; i++)
		h = h * 31 + k->client.addr.b[i];
	return h % o->n_places;
}

/* Where all sessions of @k's client begin: --sticky. */
static struct place *sticky_place(struct own *o, const struct flow_key *k)
{
	unsigned n = 0, at;
	uint32_t h = 0;

	for (unsigned i = 0; i < o->n_places; i++)
		n += o->place[i].at->rule == o->first[k->target];
	for (unsigned i = 0; i < 16; i++)
		h = h * 31 + k->client.addr.b[i];
	at = n ? h % n : 0;
	for (unsigned i = 0; i < o->n_places; i++)
		if (o->place[i].at->rule == o->first[k->target] && !at--)
			return &o->place[i];
	return NULL;
}

static bool take_sticky(struct own *o, const struct flow_key *k, struct endpoint *source)
{
	struct place *place = sticky_place(o, k);
	uint16_t port;

	if (!place || place->gone || place->heard || !take(o, place, &port))
		return false;
	*source = (struct endpoint){ place->at->own, port };
	return true;
}

bool own_take(struct own *o, const struct flow_key *k, struct endpoint *source)
{
	const unsigned from = o->n_places ? start_for(o, k) : 0;

	if (o->plan->config->sticky)
		return take_sticky(o, k, source);
	for (unsigned i = 0; i < o->n_places; i++) {
		struct place *place = &o->place[(from + i) % o->n_places];
		uint16_t port;

		if (place->at->rule != o->first[k->target] || place->gone || place->heard ||
		    !take(o, place, &port))
			continue;
		o->next = (from + i + 1) % o->n_places;
		*source = (struct endpoint){ place->at->own, port };
		return true;
	}
	return false;
}

void own_give(struct own *o, const struct flow_key *k, const struct endpoint *source)
{
	struct place *place = find(o, &o->plan->config->rules[k->target].target, &source->addr);

	if (place && !place->of[source->port].withdrawn && place->free < place->size)
		give(place, source->port);
}

enum own_answer own_answer(struct own *o, const struct tuple *t, uint64_t *session)
{
	const struct place *place;

	if (!plan_usable(o->plan, t->dst.port) || !(place = find(o, &t->src, &t->dst.addr)))
		return OWN_NO_ANSWER;
	o->n.answers++;
	*session = place->of[t->dst.port].session - 1;
	if (place->of[t->dst.port].session) {
		o->n.given++;
		return OWN_SESSION;
	}
	if (host_has(o, place->at, t->dst.port)) {
		o->n.host++;
		return OWN_HOST;
	}
	o->n.unknown++;
	return OWN_UNKNOWN;
}

bool own_was_reset(struct own *o, const struct tuple *t, uint64_t *session)
{
	struct place *place = find(o, &t->src, &t->dst.addr);
	struct port *port = place ? &place->of[t->dst.port] : NULL;
	char own[ENDPOINT_TEXT_LEN], target[ENDPOINT_TEXT_LEN];

	if (!port || !port->session || port->withdrawn)
		return false;
	if (port->resets) {
		port->resets--;
		return false;
	}
	*session = port->session - 1;
	port->withdrawn = true;
	place->withdrawn++;
	o->n.withdrawn++;
	log_limited(
		LOGL_WARN,
		"port %s is withdrawn: this host's TCP has reset what %s sent there, so another program has "
		"it by now (\"ss -tanp sport = :%u\" shows which)",
		endpoint_format(own, sizeof(own), &t->dst), endpoint_format(target, sizeof(target), &t->src),
		t->dst.port);
	return true;
}

void own_heard(struct own *o, const struct endpoint *target)
{
	o->n.heard++;
	for (unsigned i = 0; i < o->n_places; i++)
		o->place[i].heard |= endpoint_eq(&o->place[i].at->target, target);
}

/* Where in the options of *t the timestamp's value is; NULL: it has none. */
static uint8_t *find_stamp(struct tx_segment *t)
{
	struct tcp_option_iter it;

	tcp_option_begin(&it, t->options, t->options_len);
	while (tcp_option_next(&it))
		if (it.kind == TCPOPT_TS && it.len == 8)
			return t->options + (it.body - t->options);
	return NULL;
}

void own_sends(struct own *o, struct tx_segment *t)
{
	uint8_t *stamp = t->options_len ? find_stamp(t) : NULL;
	const bool reset = t->flags & TCPF_RST;
	struct place *place = stamp || reset ? find(o, &t->tuple.dst, &t->tuple.src.addr) : NULL;
	struct port *port = place ? &place->of[t->tuple.src.port] : NULL;
	uint32_t value;

	if (port && reset && port->resets < UINT8_MAX)
		port->resets++;
	if (!port || !stamp)
		return;
	value = get_be32(stamp);
	if (t->flags & TCPF_SYN && port->begins) {
		port->begins = false;
		port->shift = 0;
		if (port->stamped && (int32_t)(port->newest - value) >= 0)
			port->shift = port->newest + 1 - value;
	}
	value += port->shift;
	if (!port->stamped || (int32_t)(value - port->newest) > 0)
		port->newest = value;
	port->stamped = true;
	put_be32(stamp, value);
}

/* Is there another address towards the target of @gone? */
static bool has_other(const struct own *o, const struct place *gone)
{
	for (unsigned i = 0; i < o->n_places; i++)
		if (&o->place[i] != gone && !o->place[i].gone && !o->place[i].heard &&
		    endpoint_eq(&o->place[i].at->target, &gone->at->target))
			return true;
	return false;
}

static void lose_sessions(const struct own *o, const struct place *place, own_lost lost)
{
	for (unsigned port = 0; port < 65536; port++)
		if (place->of[port].session)
			lost(o->pipeline, place->of[port].session - 1);
}

void own_look(struct own *o, bool say, own_lost lost)
{
	char own[ADDR_TEXT_LEN];

	for (unsigned i = 0; i < o->n_places; i++) {
		struct place *place = &o->place[i];
		struct route_info route;
		bool gone;

		if (route_lookup(&route, &place->at->own))
			continue;
		gone = !route.local;
		addr_format(own, sizeof(own), &place->at->own);
		if (gone && !place->gone && say)
			log_err("%s is no address of this host any more, so nothing comes back to it: its sessions "
				"end, and new ones begin from %s; give it back, or restart tcpcopy",
				own, has_other(o, place) ? "the other addresses" : "none");
		if (!gone && place->gone && say)
			log_info("%s is an address of this host again: sessions begin from it", own);
		place->gone = gone;
		if (gone)
			lose_sessions(o, place, lost);
	}
}

const struct own_counters *own_counters(const struct own *o)
{
	return &o->n;
}

void own_ports(const struct own *o, uint64_t *used, uint64_t *all)
{
	for (unsigned i = 0; i < o->n_places; i++) {
		*used += o->place[i].size - o->place[i].free - o->place[i].withdrawn;
		*all += o->place[i].size - o->place[i].withdrawn;
	}
}
