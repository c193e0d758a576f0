/*
 * The stages of intercept, in the order in which they are called.
 *
 *   captures -> parse -> route -+-> copies? -> relay -> the owner's connection
 *                               +-> early -+               | WATCH, UNWATCH, TARGET
 *                                          +- watch <------+
 *                                               +-> announce -> filter of the captures, guard
 *
 * One loop, one thread. In: packets and messages. Out: records. Nothing that comes in is sent on as a
 * packet: this host is a black hole; blackhole.c and guard.c see to it that its kernel is one, too.
 */
#include "intercept/pipeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include <event2/event.h>

#include "base/log.h"
#include "intercept/blackhole.h"
#include "intercept/stages.h"
#include "packet/parse.h"

#define TICK_S 1

/* Before any target is known everything may be a response; afterwards only what a target sent. */
static void without_owner(struct pipeline *p, const struct segment *s)
{
	const struct targets *t = &p->announce.targets;

	if (!t->count || targets_has(t, &s->tuple.src))
		early_hold(p->early, s, s->time);
	else
		p->stats.foreign++;
}

static void on_packet(const struct raw_packet *raw, void *arg)
{
	struct pipeline *p = arg;
	struct segment s;
	struct watch *w;
	enum parse_reason reason = parse_packet(&s, raw);
	struct response record;

	p->stats.parse[reason]++;
	if (reason != PARSE_OK)
		return;
	w = route_find(p->route, &s.tuple);
	if (!w || route_is_next_session(w, s.flags, s.ack)) {
		without_owner(p, &s);
	} else if (route_is_copy(p->route, w, &s, raw->ifindex, raw->pkttype)) {
		p->stats.copies++;
	} else {
		record = response_from_segment(w->id, &s);
		relay_deliver(p->relay, w, &record);
	}
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct pipeline *p = arg;
	const struct source_counters counters = captures_counters(p->captures);
	const uint64_t now = now_ns();

	(void)fd;
	(void)what;
	early_expire(p->early, now);
	orphans_expire(p->orphans, now);
	announce_expire(&p->announce, now);
	route_trim(p->route);
	relay_trim(p->relay);
	for (struct peer *peer = NULL; (peer = peers_next(p->peers, peer));)
		relay_report_loss(peer, counters.kernel_drops, p->stats.unowned);
	if (!p->guard)
		blackhole_watch(p->config, &p->leaks);
}

struct pipeline *pipeline_open(struct event_base *base, struct config *c, char *where,
			       size_t where_size, char *err, size_t err_size)
{
	struct pipeline *p = calloc(1, sizeof(*p));
	const char *filter = c->filter;
	char none[TARGETS_FILTER_SIZE];

	snprintf(err, err_size, "out of memory");
	if (!p || getrandom(&p->key, sizeof(p->key), 0) != sizeof(p->key))
		goto failed;
	p->config = c;
	p->route = route_new(&p->key);
	p->early = early_new(&p->key, watch_given_up, p);
	p->orphans = orphans_new(&p->key);
	p->relay = relay_new(&p->stats);
	p->tick = event_new(base, -1, EV_PERSIST, on_tick, p);
	p->probe = probe_new(base, c, &p->announce);
	if (!p->route || !p->early || !p->orphans || !p->relay || !p->tick || !p->probe)
		goto failed;
	/* Its helper process must not have the captures' sockets. */
	if (c->guard && !(p->guard = p->announce.guard = guard_open(err, err_size)))
		goto failed;
	p->announce.own_filter = !filter;
	if (!filter)
		filter = targets_filter(&p->announce.targets, none);
	p->captures = p->announce.captures =
		captures_open(base, c, filter, on_packet, p, err, err_size);
	if (!p->captures || (!c->guard && blackhole_leaks(c, err, err_size)))
		goto failed;
	p->peers = peers_open(base, c, &watch_handler, p, where, where_size, err, err_size);
	if (!p->peers)
		goto failed;
	event_add(p->tick, &(struct timeval){ TICK_S, 0 });
	return p;
failed:
	pipeline_close(p);
	return NULL;
}


void pipeline_close(struct pipeline *p)
{
	if (!p)
		return;
	for (struct peer *peer = NULL; p->peers && (peer = peers_next(p->peers, peer));)
		watch_release_all(p, peer);
	peers_close(p->peers, "intercept is stopping");
	captures_close(p->captures);
	early_free(p->early);
	orphans_free(p->orphans);
	relay_free(p->relay);
	route_free(p->route);
	guard_close(p->guard);
	probe_free(p->probe);
	if (p->tick)
		event_free(p->tick);
	free(p);
}
