/*
 * The end by itself - theory of operation
 *
 * In: the time since the start, and what the workers have counted, which are asked ten times a second.
 * Out: one call, when the first of the wanted numbers is reached, and a line in the log. Then the program
 * ends as by a signal: what is still open is reset at the target. A few more sessions or requests than
 * wanted may have come between two looks. A session counts when it has ended, unless its client never
 * completed the handshake.
 */
#include "tcpcopy/govern/stop.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/util.h"
#include "program/clock.h"
#include "program/log.h"
#include "program/workers.h"
#include "tcpcopy/pipeline.h"

#define LOOK_MS 100

struct stop {
	struct workers *workers;
	const struct config *config;
	struct event *timer;
	uint64_t began_at; /* ns */
	void (*reached)(void *arg);
	void *arg;
};

struct done {
	uint64_t sessions, requests;
};

static void collect(void *pipeline, void *sum)
{
	const struct pipeline *p = pipeline;
	struct done *d = sum;

	for (unsigned i = 0; i < OUTCOME_COUNT; i++)
		if (i != OUTCOME_HALF_OPEN)
			d->sessions += engine_counters(p->engine)->ended[i];
	for (unsigned i = 0; i < p->config->n_rules; i++)
		d->requests += engine_exchanges(p->engine, i)->all;
}

static bool is_reached(const struct stop *s)
{
	const struct config *c = s->config;
	struct done d = { .sessions = 0 };

	if (c->stop_time && clock_now() - s->began_at >= c->stop_time) {
		log_info("--stop-after: replicated for %.6g s: ending",
			 (double)c->stop_time / (double)NS_PER_SEC);
		return true;
	}
	if (!c->stop_sessions && !c->stop_requests)
		return false;
	workers_collect(s->workers, collect, &d);
	if (c->stop_sessions && d.sessions >= c->stop_sessions) {
		log_info("--stop-after: %" PRIu64 " sessions have ended: ending", d.sessions);
		return true;
	}
	if (c->stop_requests && d.requests >= c->stop_requests) {
		log_info("--stop-after: %" PRIu64 " requests were replicated: ending", d.requests);
		return true;
	}
	return false;
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
	struct stop *s = arg;

	(void)fd;
	(void)what;
	if (!is_reached(s))
		return;
	event_del(s->timer);
	s->reached(s->arg);
}

struct stop *stop_new(struct event_base *base, struct workers *w, const struct config *c,
		      void (*reached)(void *arg), void *arg)
{
	struct stop *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	*s = (struct stop){ .workers = w, .config = c, .reached = reached, .arg = arg };
	s->timer = event_new(base, -1, EV_PERSIST, on_time, s);
	if (s->timer)
		return s;
	free(s);
	return NULL;
}

void stop_begin(struct stop *s)
{
	const struct config *c = s->config;
	static const struct timeval look = { .tv_usec = LOOK_MS * 1000 };

	s->began_at = clock_now();
	if (c->stop_time || c->stop_sessions || c->stop_requests)
		event_add(s->timer, &look);
}

void stop_free(struct stop *s)
{
	if (!s)
		return;
	event_free(s->timer);
	free(s);
}
