/*
 * The pipelines of all workers of intercept - theory of operation
 *
 * A worker is a thread with an event loop and a pipeline: sockets in the fan-out group of each interface,
 * watches, segments that wait for their WATCH, connections of tcpcopys. The kernel spreads responses over
 * the workers (io/capture/fanout.h), and HELLO tells the tcpcopys how. A tcpcopy has a connection to every
 * worker, and watches a session at the worker that captures its responses. So a response stays within one
 * thread.
 *
 * Worker 0 listens for all. Whatever else crosses from one thread to another goes through a mailbox and is
 * rare:
 *   - accepted connections, to the worker that they are for;
 *   - segments that the kernel gave to another worker than fanout_worker() names: those with IPv6 extension
 *     headers in front of TCP, because the kernel's program does not look behind these for the ports;
 *   - everything for connections that do not know about workers: worker 0 serves them. The other workers
 *     hand over to it the segments that they have no watch for, and it tells them the targets. A segment
 *     that worker 0 has no watch for either goes back, and waits for its WATCH at the worker where it
 *     belongs.
 *
 * Workers must not wait for anything but packets, so the main thread does what may take long: it writes the
 * files of --state, checks whether the kernel forwards, and talks to the guard's helper.
 */
#include "intercept/pipelines.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <event2/event.h>

#include "program/clock.h"
#include "program/log.h"
#include "intercept/hole/blackhole.h"
#include "intercept/hole/on_target.h"
#include "intercept/pipeline.h"

_Static_assert(RUN_MAX_WORKERS == FANOUT_MAX_WORKERS, "each worker has a pipeline");

#define TICK_S 1

struct pipelines {
	const struct config *config;
	struct workers *workers;
	struct event_base *base; /* the main thread's loop */
	struct event *tick;      /* in it */
	bool leaks;              /* the kernel forwards, and the log says so */
	bool failed;
	struct fanout spread;
	struct admission *admission;
	struct guard *guard;
	struct on_target *on_target;
	unsigned plain; /* atomic: connections that do not spread their WATCHes */
	unsigned count;
	struct pipeline *pipeline[FANOUT_MAX_WORKERS];
};

static int open_captures(struct pipelines *all, const struct config *c, char *err, size_t err_size)
{
	struct captures *list[FANOUT_MAX_WORKERS];
	char none[TARGETS_FILTER_SIZE];
	const char *filter = c->filter;

	for (unsigned i = 0; i < all->count; i++)
		list[i] = all->pipeline[i]->captures;
	if (!filter)
		filter = targets_filter(&all->pipeline[0]->announce.targets, none);
	return captures_open(list, &all->spread, c, filter, err, err_size);
}

/* An orphan of an earlier intercept goes to the worker that captures its target's responses. */
static void add_orphan(const struct orphan *x, void *arg)
{
	struct pipelines *all = arg;
	struct pipeline *p = all->pipeline[fanout_worker(&all->spread, &x->tuple)];

	orphans_add(p->orphans, &x->tuple, &x->owner, 0, x->since);
}

static int open_state(struct pipelines *all, const char *path, char *err, size_t err_size)
{
	for (unsigned i = 0; i < all->count; i++) {
		all->pipeline[i]->state = state_open(path, i, err, err_size);
		if (!all->pipeline[i]->state)
			return -1;
	}
	state_load(path, clock_now(), add_orphan, all);
	for (unsigned i = 0; i < all->count; i++)
		state_save(all->pipeline[i]->state, all->pipeline[i]->orphans, clock_now());
	state_remove_others(path, all->count);
	return 0;
}

/* --- what the main thread does --- */

static void take_state(void *pipeline, void *sum)
{
	struct pipeline *p = pipeline;

	(void)sum;
	state_take(p->state, p->orphans, clock_now());
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct pipelines *all = arg;

	(void)fd;
	(void)what;
	if (all->config->state_path[0]) {
		workers_collect(all->workers, take_state, NULL);
		for (unsigned i = 0; i < all->count; i++)
			state_write(all->pipeline[i]->state);
	}
	if (!guard_holds(all->guard))
		blackhole_watch(all->config, &all->leaks);
}

/*
 * Without the table, or the rule, the clients would get the target's responses. Without an intercept there
 * are none, because tcpcopy copies nothing.
 */
static void on_hole_lost(void *arg)
{
	struct pipelines *all = arg;

	all->failed = true;
	event_base_loopbreak(all->base);
}

static int begin_ticks(struct pipelines *all)
{
	all->tick = event_new(all->base, -1, EV_PERSIST, on_tick, all);
	return all->tick ? event_add(all->tick, &(struct timeval){ TICK_S, 0 }) : -1;
}

/* --- open and close --- */

static int open_all(struct pipelines *all, struct config *c, char *where, size_t where_size, char *err,
		    size_t err_size)
{
	if (fanout_init(&all->spread, workers_count(all->workers), false)) {
		snprintf(err, err_size, "the kernel gives no random bytes");
		return -1;
	}
	snprintf(err, err_size, "out of memory or file descriptors");
	all->admission = admission_new(c->allow, c->n_allow);
	if (!all->admission)
		return -1;
	for (; all->count < all->spread.workers; all->count++) {
		struct pipeline *p = pipeline_new(workers_base(all->workers, all->count), c, all->admission);

		if (!p)
			return -1;
		p->all = all;
		p->worker = all->count;
		p->announce.silent = all->count > 0;
		all->pipeline[all->count] = p;
		workers_give(all->workers, all->count, p);
	}
	for (unsigned i = 0; i < all->count; i++)
		clients_spread(all->pipeline[i]->clients, &all->spread, i);
	if (c->state_path[0] && open_state(all, c->state_path, err, err_size))
		return -1;
	if (c->n_on_target &&
	    !(all->on_target = on_target_open(all->base, c, on_hole_lost, all, err, err_size)))
		return -1;
	if (captures_choose(c, err, err_size))
		return -1;
	/* Its helper process must not have the captures' sockets. */
	if (c->guard && !(all->guard = guard_open(all->base, c, on_hole_lost, all, err, err_size)))
		return -1;
	if (open_captures(all, c, err, err_size) || (!c->guard && blackhole_leaks(c, err, err_size)) ||
	    clients_listen(all->pipeline[0]->clients, c, where, where_size, err, err_size))
		return -1;
	for (unsigned i = 0; i < all->count; i++)
		all->pipeline[i]->announce.guard = all->guard;
	snprintf(err, err_size, "out of memory or file descriptors");
	return begin_ticks(all);
}

struct pipelines *pipelines_open(struct config *c, struct workers *workers, struct event_base *base,
				 char *where, size_t where_size, char *err, size_t err_size)
{
	struct pipelines *all = calloc(1, sizeof(*all));

	if (!all) {
		snprintf(err, err_size, "out of memory or file descriptors");
		return NULL;
	}
	all->config = c;
	all->workers = workers;
	all->base = base;
	if (open_all(all, c, where, where_size, err, err_size) == 0)
		return all;
	pipelines_close(all);
	return NULL;
}

bool pipelines_failed(const struct pipelines *all)
{
	return all->failed;
}

void pipelines_close(struct pipelines *all)
{
	if (!all)
		return;
	if (all->tick)
		event_free(all->tick);
	for (unsigned i = 0; i < all->count; i++)
		pipeline_close(all->pipeline[i]);
	guard_close(all->guard);
	on_target_close(all->on_target);
	admission_free(all->admission);
	free(all);
}

struct handed_segment {
	struct segment segment;
	int ifindex;
	uint8_t pkttype;
	bool returned; /* worker 0 has nobody for it either */
};

static void on_segment(void *arg, const void *data)
{
	struct handed_segment h = *(const struct handed_segment *)data;
	struct pipeline *p = arg;
	struct pipelines *all = p->all;
	unsigned home = fanout_worker(&all->spread, &h.segment.tuple);

	if (home == p->worker || h.returned || route_find(p->route, &h.segment.tuple)) {
		pipeline_segment(p, &h.segment, h.ifindex, h.pkttype);
		return;
	}
	h.returned = true; /* its WATCH may be on the way to where it belongs */
	if (!workers_post(all->workers, home, on_segment, &h, sizeof(h)))
		p->stats.not_handed_over++;
}

bool pipelines_hand_over(struct pipeline *from, const struct segment *s, const struct raw_packet *raw)
{
	struct handed_segment h = { *s, raw->ifindex, raw->pkttype, false };
	struct pipelines *all = from->all;
	unsigned to = fanout_worker(&all->spread, &s->tuple);

	if (to == from->worker && __atomic_load_n(&all->plain, __ATOMIC_RELAXED) &&
	    !route_find(from->route, &s->tuple))
		to = 0;
	if (to == from->worker)
		return false;
	h.segment.payload = h.segment.raw_options = NULL; /* they stay behind */
	h.segment.captured = h.segment.raw_options_len = 0;
	if (workers_post(all->workers, to, on_segment, &h, sizeof(h)))
		from->stats.handed_over++;
	else
		from->stats.not_handed_over++;
	return true;
}

struct handed_connection {
	int fd;
	struct endpoint client;
};

static void on_connection(void *arg, const void *data)
{
	const struct handed_connection *h = data;
	struct pipeline *p = arg;

	clients_serve(p->clients, h->fd, &h->client);
}

bool pipelines_hand_connection(struct pipeline *from, unsigned to, int fd, const struct endpoint *client)
{
	const struct handed_connection h = { fd, *client };
	struct pipelines *all = from->all;

	return to < all->count && workers_post(all->workers, to, on_connection, &h, sizeof(h));
}

void pipelines_count_plain(struct pipeline *from, int n)
{
	__atomic_add_fetch(&from->all->plain, (unsigned)n, __ATOMIC_RELAXED);
}

struct announcement {
	struct endpoint endpoint;
	bool use;
};

static void on_announcement(void *arg, const void *data)
{
	const struct announcement *a = data;
	struct pipeline *p = arg;

	if (a->use)
		announce_use(&p->announce, &a->endpoint);
	else
		announce_release(&p->announce, &a->endpoint, clock_now());
	announce_apply(&p->announce);
}

void pipelines_announce(struct pipeline *from, const struct endpoint *e, bool use)
{
	const struct announcement a = { *e, use };
	struct pipelines *all = from->all;

	for (unsigned i = 0; i < all->count; i++)
		if (i != from->worker && !workers_post(all->workers, i, on_announcement, &a, sizeof(a)))
			log_limited(LOGL_ERROR, "worker %u is overloaded and has missed a target", i);
}
