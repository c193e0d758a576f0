/*
 * The stages of intercept, in the order in which they are called.
 *
 *   captures -> parse -> whose? -> route -+-> copies? -> relay -> the owner's connection
 *                               +-> early -+               | WATCH, UNWATCH, TARGET
 *                                          +- watch <------+
 *                                               +-> announce -> filter of the captures, guard
 *
 * Each worker has one loop, one thread and one of these pipelines. In: packets and messages. Out: records. No
 * packet that comes in is sent on: this host is a black hole, and blackhole.c and guard.c see to it that its
 * kernel is one, too.
 */
#include "intercept/pipeline.h"

#include <stdlib.h>
#include <sys/random.h>

#include <event2/event.h>

#include "program/clock.h"
#include "program/log.h"
#include "intercept/pipelines.h"
#include "intercept/watch/watch.h"
#include "packet/parse.h"

#define TICK_S 1

/*
 * Until a target is known, any segment may be a response; after that, only the segments of targets, unless
 * there were so many that some are not known.
 */
static void without_owner(struct pipeline *p, const struct segment *s)
{
	const struct targets *t = &p->announce.targets;

	if (!t->count || t->count == TARGETS_MAX || targets_has(t, &s->tuple.src))
		early_hold(p->early, s, s->time);
	else
		p->stats.foreign++;
}

void pipeline_segment(struct pipeline *p, const struct segment *s, int ifindex, uint8_t pkttype)
{
	struct watch *w = route_find(p->route, &s->tuple);
	struct response record;

	if (!w || watch_is_of_others(w, s->flags, s->ack)) {
		without_owner(p, s);
	} else if (route_is_copy(p->route, w, s, ifindex, pkttype)) {
		p->stats.copies++;
	} else {
		record = response_from_segment(w->id, s);
		watch_deliver(p, w, &record);
	}
}

static void on_packet(const struct raw_packet *raw, void *arg)
{
	struct pipeline *p = arg;
	struct segment s;
	enum parse_reason reason = parse_strict(parse_packet(&s, raw), &s);

	p->stats.parse[reason]++;
	if (reason == PARSE_OK && !pipelines_hand_over(p, &s, raw))
		pipeline_segment(p, &s, raw->ifindex, raw->pkttype);
}

void pipeline_idle(void *pipeline)
{
	captures_poll(((struct pipeline *)pipeline)->captures);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct pipeline *p = arg;
	const struct source_counters counters = captures_counters(p->captures);
	const uint64_t now = clock_now();

	(void)fd;
	(void)what;
	early_expire(p->early, now);
	orphans_expire(p->orphans, now);
	announce_expire(&p->announce, now);
	route_trim(p->route);
	relay_trim(p->relay);
	for (struct client *client = NULL; (client = clients_next(p->clients, client));)
		relay_report_loss(client, counters.kernel_drops, p->stats.unowned);
}

struct pipeline *pipeline_new(struct event_base *base, const struct config *c, struct admission *admission)
{
	struct pipeline *p = calloc(1, sizeof(*p));

	if (!p || getrandom(&p->key, sizeof(p->key), 0) != sizeof(p->key))
		goto failed;
	p->config = c;
	p->announce.own_filter = !c->filter;
	p->route = route_new(&p->key);
	p->early = early_new(&p->key, watch_given_up, p);
	p->orphans = orphans_new(&p->key);
	p->relay = relay_new(&p->stats);
	p->findings = findings_new(base, c, &p->announce);
	p->captures = p->announce.captures = captures_new(base, on_packet, p);
	p->clients = clients_new(base, c, admission, &watch_handler, p);
	p->tick = event_new(base, -1, EV_PERSIST, on_tick, p);
	if (p->route && p->early && p->orphans && p->relay && p->findings && p->captures && p->clients &&
	    p->tick && !event_add(p->tick, &(struct timeval){ TICK_S, 0 }))
		return p;
failed:
	pipeline_close(p);
	return NULL;
}

void pipeline_close(struct pipeline *p)
{
	if (!p)
		return;
	for (struct client *client = NULL; p->clients && (client = clients_next(p->clients, client));)
		watch_release_all(p, client);
	if (p->state)
		state_save(p->state, p->orphans, clock_now());
	state_close(p->state);
	clients_close(p->clients, "intercept is stopping");
	p->clients = NULL; /* what is given up below is reported to nobody */
	captures_close(p->captures);
	early_free(p->early);
	orphans_free(p->orphans);
	relay_free(p->relay);
	route_free(p->route);
	findings_free(p->findings);
	if (p->tick)
		event_free(p->tick);
	free(p);
}
