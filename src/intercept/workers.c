/*
 * The workers of intercept.
 *
 * A worker is a thread with an event loop and a pipeline: sockets in the fan-out group of each
 * interface, watches, segments that wait for one, connections of tcpcopys. The kernel spreads
 * responses over the workers (io/fanout), HELLO tells tcpcopys how, and each of them watches a
 * session at the worker that sees its responses, on a connection of its own. So a response goes its
 * way within one thread.
 *
 * Worker 0 listens for all. What else crosses from one thread to another goes by its mailbox and is
 * rare:
 *   - accepted connections, to the worker that they are for;
 *   - segments that the kernel gave to another worker than fanout_worker() names: those with IPv6
 *     extension headers in front of TCP, whose ports the program does not look for;
 *   - everything for connections that know nothing of workers: they are worker 0's, the other
 *     workers hand over to it what they have no watch for, and it tells them their targets. What
 *     worker 0 has no watch for either goes back, and waits for its WATCH where it belongs.
 */
#include "intercept/workers.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "program/clock.h"
#include "program/log.h"
#include "program/mailbox.h"
#include "program/threads.h"
#include "intercept/hole/blackhole.h"
#include "intercept/pipeline.h"

struct workers {
	struct threads_options options;
	struct threads *threads;
	struct fanout spread;
	struct admission *admission;
	struct guard *guard;
	unsigned plain; /* atomic: connections that do not spread their WATCHes */
	unsigned count;
	struct pipeline *pipeline[FANOUT_MAX_WORKERS];
};

static void on_idle(unsigned i, void *arg)
{
	captures_poll(((struct workers *)arg)->pipeline[i]->captures);
}

static int open_captures(struct workers *w, struct config *c, char *err, size_t err_size)
{
	struct captures *all[FANOUT_MAX_WORKERS];
	char none[TARGETS_FILTER_SIZE];
	const char *filter = c->filter;

	for (unsigned i = 0; i < w->count; i++)
		all[i] = w->pipeline[i]->captures;
	if (!filter)
		filter = targets_filter(&w->pipeline[0]->announce.targets, none);
	return captures_open(all, &w->spread, c, filter, err, err_size);
}

/* One of an intercept before: to the worker that its target's responses come to. */
static void add_orphan(const struct orphan *x, void *arg)
{
	struct workers *w = arg;
	struct pipeline *p = w->pipeline[fanout_worker(&w->spread, &x->tuple)];

	orphans_add(p->orphans, &x->tuple, &x->owner, x->since);
}

static int open_state(struct workers *w, const char *path, char *err, size_t err_size)
{
	for (unsigned i = 0; i < w->count; i++) {
		w->pipeline[i]->state = state_open(path, i, err, err_size);
		if (!w->pipeline[i]->state)
			return -1;
	}
	state_load(path, clock_now(), add_orphan, w);
	for (unsigned i = 0; i < w->count; i++)
		state_save(w->pipeline[i]->state, w->pipeline[i]->orphans, clock_now());
	state_remove_others(path, w->count);
	return 0;
}

static int open_all(struct workers *w, struct config *c, char *where, size_t where_size, char *err,
		    size_t err_size)
{
	snprintf(err, err_size, "out of memory");
	if (getrandom(&w->spread.seed, sizeof(w->spread.seed), 0) != sizeof(w->spread.seed))
		return -1;
	w->admission = admission_new(c->allow, c->n_allow);
	if (!w->admission)
		return -1;
	w->threads = threads_new(&w->options, err, err_size);
	if (!w->threads)
		return -1;
	snprintf(err, err_size, "out of memory");
	for (; w->count < c->run.workers; w->count++) {
		struct pipeline *p = pipeline_new(threads_base(w->threads, w->count), c, w->admission);

		if (!p)
			return -1;
		p->workers = w;
		p->worker = w->count;
		p->announce.silent = w->count > 0;
		w->pipeline[w->count] = p;
	}
	for (unsigned i = 0; i < w->count; i++)
		clients_spread(w->pipeline[i]->clients, &w->spread, i);
	if (c->state_path[0] && open_state(w, c->state_path, err, err_size))
		return -1;
	/* Its helper process must not have the captures' sockets. */
	if (c->guard &&
	    !(w->guard = guard_open(threads_base(w->threads, 0), c->run.no_sandbox, err, err_size)))
		return -1;
	if (open_captures(w, c, err, err_size) || (!c->guard && blackhole_leaks(c, err, err_size)) ||
	    clients_listen(w->pipeline[0]->clients, c, where, where_size, err, err_size))
		return -1;
	for (unsigned i = 0; i < w->count; i++)
		w->pipeline[i]->announce.guard = w->pipeline[i]->guard = w->guard;
	return 0;
}

struct workers *workers_open(struct config *c, char *where, size_t where_size, char *err, size_t err_size)
{
	struct workers *w = calloc(1, sizeof(*w));

	if (!w) {
		snprintf(err, err_size, "out of memory");
		return NULL;
	}
	w->spread.workers = c->run.workers;
	w->options = (struct threads_options){ .count = c->run.workers,
					       .cpus = c->run.cpus,
					       .n_cpus = c->run.n_cpus,
					       .busy = c->run.busy_poll,
					       .idle = on_idle,
					       .arg = w };
	if (open_all(w, c, where, where_size, err, err_size) == 0)
		return w;
	workers_close(w);
	return NULL;
}

int workers_start(struct workers *w, char *err, size_t err_size)
{
	return threads_start(w->threads, err, err_size);
}

void workers_collect(struct workers *w, void (*fn)(void *pipeline, void *sum), void *sum)
{
	for (unsigned i = 0; i < w->count; i++)
		threads_call(w->threads, i, fn, w->pipeline[i], sum);
}

void workers_stop(struct workers *w)
{
	threads_stop(w->threads);
}

void workers_close(struct workers *w)
{
	if (!w)
		return;
	if (w->threads)
		threads_stop(w->threads);
	for (unsigned i = 0; i < w->count; i++)
		pipeline_close(w->pipeline[i]);
	guard_close(w->guard);
	admission_free(w->admission);
	threads_free(w->threads);
	free(w);
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
	struct workers *w = p->workers;
	unsigned home = fanout_worker(&w->spread, &h.segment.tuple);

	if (home == p->worker || h.returned || route_find(p->route, &h.segment.tuple)) {
		pipeline_segment(p, &h.segment, h.ifindex, h.pkttype);
		return;
	}
	h.returned = true; /* its WATCH may be on the way to where it belongs */
	if (!threads_post(w->threads, home, on_segment, w->pipeline[home], &h, sizeof(h)))
		p->stats.not_handed_over++;
}

bool workers_hand_over(struct pipeline *from, const struct segment *s, const struct raw_packet *raw)
{
	struct handed_segment h = { *s, raw->ifindex, raw->pkttype, false };
	struct workers *w = from->workers;
	unsigned to = fanout_worker(&w->spread, &s->tuple);

	if (to == from->worker && __atomic_load_n(&w->plain, __ATOMIC_RELAXED) &&
	    !route_find(from->route, &s->tuple))
		to = 0;
	if (to == from->worker)
		return false;
	h.segment.payload = h.segment.raw_options = NULL; /* they stay behind */
	h.segment.captured = h.segment.raw_options_len = 0;
	if (threads_post(w->threads, to, on_segment, w->pipeline[to], &h, sizeof(h)))
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

bool workers_hand_connection(struct pipeline *from, unsigned to, int fd, const struct endpoint *client)
{
	const struct handed_connection h = { fd, *client };
	struct workers *w = from->workers;

	return to < w->count && threads_post(w->threads, to, on_connection, w->pipeline[to], &h, sizeof(h));
}

void workers_count_plain(struct pipeline *from, int n)
{
	__atomic_add_fetch(&from->workers->plain, (unsigned)n, __ATOMIC_RELAXED);
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

void workers_announce(struct pipeline *from, const struct endpoint *e, bool use)
{
	const struct announcement a = { *e, use };
	struct workers *w = from->workers;

	for (unsigned i = 0; i < w->count; i++)
		if (i != from->worker &&
		    !threads_post(w->threads, i, on_announcement, w->pipeline[i], &a, sizeof(a)))
			log_limited(LOGL_ERROR, "worker %u is overloaded and has missed a target", i);
}
