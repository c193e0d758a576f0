/*
 * Watches: which responses the tcpcopys want, whose they are, and what happens when their connections end.
 *
 * In: WATCH, UNWATCH, TARGET and the ends of connections. Out: changes of the route table and of the
 * announced targets; and segments that came early are delivered. A watch is in the table by tuple and by id,
 * and in its connection's list; forget() removes it from all of them, and nothing else does.
 *
 * Whoever reaches the port can ask for any tuple, before or after the tcpcopy whose connection it is. So no
 * asker takes a tuple from another: all get its responses, until a SYN-ACK acknowledges the number that one
 * of them has named. Only that one can have sent the SYN; the others are told TAKEN, and later ones refused.
 * A watch that was proved so and ends because its connection is lost is remembered for a while (orphans.c).
 * Where its process comes back, what was acknowledged since may prove it again; from others that proves
 * nothing, because they may have heard the numbers before.
 */
#include "intercept/watch/watch.h"

#include "program/clock.h"
#include "program/log.h"
#include "intercept/pipeline.h"
#include "intercept/pipelines.h"

static void forget(struct pipeline *p, struct watch *w)
{
	p->stats.ended++;
	relay_forget(p->relay, w);
	announce_release(&p->announce, &w->tuple.src, clock_now());
	if (w->client_prev)
		w->client_prev->client_next = w->client_next;
	else
		w->client->watches = w->client_next;
	w->client->n_watches--;
	if (w->client_next)
		w->client_next->client_prev = w->client_prev;
	route_remove(p->route, w);
}

/*
 * The tcpcopy that gets the strays of @owner: it is on the same host, has this target, and has been connected
 * for so long that it has watched all its sessions again. If several of its workers qualify, the first one
 * gets them.
 */
static struct client *stray_receiver(const struct pipeline *p, const struct addr *owner,
				     const struct endpoint *target, uint64_t now)
{
	for (struct client *client = NULL; (client = clients_next(p->clients, client));) {
		if (!addr_eq(&client->from, owner) || now < client->up_at + ORPHAN_GRACE_NS)
			continue;
		for (unsigned i = 0; i < client->n_targets; i++)
			if (endpoint_eq(&client->targets[i], target))
				return client;
	}
	return NULL;
}

/* @r belongs to nobody that is known: if a lost tcpcopy had the tuple @t, tell the one on its host. */
static void tell_stray(struct pipeline *p, const struct tuple *t, const struct response *r)
{
	struct message m = { .type = MSG_STRAY,
			     .stray = { .response = *t, .seq = r->seq, .ack = r->ack, .flags = r->flags } };
	const uint64_t now = clock_now();
	struct client *client;
	struct addr owner;

	if (!p->clients || !(r->flags & TCPF_ACK) || r->flags & TCPF_RST ||
	    !orphans_due(p->orphans, t, now, &owner))
		return;
	client = stray_receiver(p, &owner, &t->src, now);
	if (client && channel_conn_send(client->conn, &m))
		p->stats.strays++;
}

/* While less than half of the table is in use, nobody can have more than is left. */
static bool has_share(const struct pipeline *p, const struct client *client)
{
	const unsigned total = route_count(p->route);

	return route_has_share(
		total < ROUTE_MAX_WATCHES / 2 ? total : clients_watches(p->clients, &client->from), total);
}

/* A process has a connection for each of its workers, and makes lost ones again. */
static bool same_process(const struct client *a, const struct client *b)
{
	return a->process || b->process ? a->process == b->process : addr_eq(&a->from, &b->from);
}

static void refuse(struct pipeline *p, struct client *client, uint64_t id, const struct tuple *t)
{
	const struct message taken = { .type = MSG_TAKEN, .watch = { .id = id } };
	char text[ENDPOINT_TEXT_LEN];

	if (!p->stats.taken++)
		log_warn("%s has a connection of %s that another tcpcopy copies to this target already; the "
			 "second copy gets another port, or ends",
			 client->name, endpoint_format(text, sizeof(text), &t->dst));
	channel_conn_send(client->conn, &taken);
}

static void refuse_and_forget(struct pipeline *p, struct watch *w)
{
	refuse(p, w->client, w->id, &w->tuple);
	forget(p, w);
}

/*
 * Two online hosts may copy connections of one client port, as a load balancer makes them, to one target.
 * There the second SYN would end the first one's copy. So whose SYN the target has acknowledged has the tuple
 * for as long as its tcpcopy is connected, or may come back. Before that it is nobody's: who asks first may
 * be anyone.
 */
static bool is_taken(const struct pipeline *p, const struct client *client, const struct watch *first,
		     const struct tuple *t)
{
	if (first && first->proved)
		return !same_process(first->client, client);
	return orphans_of_another(p->orphans, t, &client->from, clock_now());
}

/* The target has acknowledged what @owner sent: the tuple is its alone. */
static void prove(struct pipeline *p, struct watch *owner)
{
	struct watch *next;

	owner->proved = true;
	orphans_forget(p->orphans, &owner->tuple);
	for (struct watch *w = route_find(p->route, &owner->tuple); w; w = next) {
		next = w->same;
		if (w != owner)
			refuse_and_forget(p, w);
	}
}

bool watch_is_of_others(const struct watch *first, uint8_t flags, uint32_t ack)
{
	const struct watch *w = first;

	while (w && route_is_of_another(w, flags, ack))
		w = w->same;
	return !w;
}

void watch_deliver(struct pipeline *p, struct watch *first, const struct response *r)
{
	struct watch *owner = first;

	while (!first->proved && owner && !route_proves(owner, r->flags, r->ack))
		owner = owner->same;
	if (owner) {
		if (!owner->proved && !(r->flags & TCPF_RST))
			prove(p, owner);
		relay_deliver(p->relay, owner, r);
		return;
	}
	tell_stray(p, &first->tuple, r);
	relay_deliver(p->relay, first, r);
	for (struct watch *w = first->same; w; w = w->same) {
		p->stats.shared++;
		relay_deliver(p->relay, w, r);
	}
}

struct delivery {
	struct pipeline *pipeline;
	struct tuple tuple;
};

static void deliver_early(const struct response *r, void *arg)
{
	struct delivery *d = arg;

	d->pipeline->stats.early++;
	watch_deliver(d->pipeline, route_find(d->pipeline->route, &d->tuple), r);
}

/* A SYN-ACK that is not of the new watch @w goes on waiting for its own. */
static void take_early(struct pipeline *p, const struct watch *w)
{
	struct delivery d = { p, w->tuple };
	const uint64_t now = clock_now();
	const struct response *r = early_first(p->early, &d.tuple, now);

	if (r && !route_is_of_another(w, r->flags, r->ack))
		early_take(p->early, &d.tuple, now, deliver_early, &d);
}

/* The new watch @w is in the table: into the list of its client. */
static void begin(struct pipeline *p, struct watch *w, struct client *client)
{
	p->stats.watches++;
	w->client_next = client->watches;
	if (w->client_next)
		w->client_next->client_prev = w;
	client->watches = w;
	client->n_watches++;
	announce_use(&p->announce, &w->tuple.src);
}

/* Returns the oldest watch that @client's process has not. *@was_proved: the one that it had was proved. */
static struct watch *replace(struct pipeline *p, const struct client *client, const struct tuple *t,
			     bool *was_proved)
{
	struct watch *next;

	for (struct watch *w = route_find(p->route, t); w; w = next) {
		next = w->same;
		if (!same_process(w->client, client))
			continue;
		*was_proved |= w->proved || w->was_proved;
		p->stats.replaced++;
		forget(p, w);
	}
	return route_find(p->route, t);
}

/* There is no room for it. A tcpcopy that does not know the message has a session that hears nothing. */
static void refuse_full(struct pipeline *p, struct client *client, uint64_t id, const char *why)
{
	const struct message full = { .type = MSG_FULL, .watch = { .id = id } };

	p->stats.refused++;
	log_limited(LOGL_ERROR, "cannot watch a session for %s: %s (its address has %u of %u watches)",
		    client->name, why, clients_watches(p->clients, &client->from), route_count(p->route));
	channel_conn_send(client->conn, &full);
}

static void on_watch(struct client *client, const struct msg_watch *m, void *arg)
{
	struct pipeline *p = arg;
	struct watch *w = route_find_id(p->route, client, m->id), *crowded;
	bool was_proved = false;

	if (w && tuple_eq(&w->tuple, &m->response)) {
		if (!w->proved && m->has_number)
			w->number = m->number, w->has_number = true;
		return;
	}
	if (w)
		forget(p, w);
	if (is_taken(p, client, route_find(p->route, &m->response), &m->response)) {
		refuse(p, client, m->id, &m->response);
		return;
	}
	crowded = route_crowded(replace(p, client, &m->response, &was_proved));
	if (crowded)
		refuse_and_forget(p, crowded);
	if (!has_share(p, client)) {
		refuse_full(p, client, m->id, "the table is full, or its address has too much of it");
		return;
	}
	w = route_add(p->route, client, m->id, &m->response);
	if (!w) {
		refuse_full(p, client, m->id, "out of memory");
		return;
	}
	w->number = m->number;
	w->has_number = m->has_number;
	w->was_proved = orphans_claim(p->orphans, &m->response, client->process) || was_proved;
	begin(p, w, client);
	take_early(p, w);
}

static void on_unwatch(struct client *client, uint64_t id, void *arg)
{
	struct pipeline *p = arg;
	struct watch *w = route_find_id(p->route, client, id);

	if (w)
		forget(p, w);
}

static void on_target(struct client *client, const struct endpoint *e, void *arg)
{
	struct pipeline *p = arg;

	for (unsigned i = 0; i < client->n_targets; i++)
		if (endpoint_eq(&client->targets[i], e))
			return;
	if (client->n_targets == CLIENT_MAX_TARGETS)
		return; /* its WATCHes will announce it */
	client->targets[client->n_targets++] = *e;
	announce_use(&p->announce, e);
	if (!client->spreads)
		pipelines_announce(p, e, true);
}

static void on_probe(struct client *client, const struct msg_watch *m, void *arg)
{
	struct pipeline *p = arg;

	announce_apply(&p->announce); /* a WATCH in the same batch may have announced a new target */
	if (!findings_ask(p->findings, client, m))
		p->stats.probes_ignored++;
}

static void on_batch_end(void *arg)
{
	announce_apply(&((struct pipeline *)arg)->announce);
}

static void on_up(struct client *client, void *arg)
{
	struct pipeline *p = arg;

	p->stats.connections++;
	client->up_at = clock_now();
	if (!client->spreads)
		pipelines_count_plain(p, 1);
	client->kernel_drops_before = captures_counters(p->captures).kernel_drops;
	client->unowned_before = p->stats.unowned;
}

static void on_drained(struct client *client, void *arg)
{
	relay_flush(((struct pipeline *)arg)->relay, client);
}

void watch_given_up(const struct tuple *t, const struct response *r, void *arg)
{
	struct pipeline *p = arg;
	struct watch *w = route_find(p->route, t);

	if (w && !w->proved) {
		watch_deliver(p, w, r); /* a SYN-ACK of an older connection, or of one not announced */
		return;
	}
	if (!targets_has(&p->announce.targets, &t->src)) {
		p->stats.foreign++;
		return;
	}
	p->stats.unowned++;
	if (!w)
		tell_stray(p, t, r);
}

void watch_release_all(struct pipeline *p, struct client *client)
{
	const struct addr *owner = &client->from;

	while (client->watches) {
		const struct watch *w = client->watches;

		if (w->proved || w->was_proved) /* else whoever asks for a tuple could make it one's own */
			orphans_add(p->orphans, &w->tuple, owner, client->process, clock_now());
		forget(p, client->watches);
	}
	while (client->n_targets) {
		const struct endpoint *e = &client->targets[--client->n_targets];

		announce_release(&p->announce, e, clock_now());
		if (!client->spreads)
			pipelines_announce(p, e, false);
	}
}

static void on_down(struct client *client, void *arg)
{
	if (client->dropped || client->merged)
		log_warn("%s read too slowly: %llu records merged, %llu dropped", client->name,
			 (unsigned long long)client->merged, (unsigned long long)client->dropped);
	watch_release_all(arg, client);
	findings_end(((struct pipeline *)arg)->findings, client);
	if (!client->spreads)
		pipelines_count_plain(arg, -1);
}

static bool on_elsewhere(int fd, const struct endpoint *from, unsigned worker, void *arg)
{
	return pipelines_hand_connection(arg, worker, fd, from);
}

static void on_refused(bool foreign, void *arg)
{
	struct stats *s = &((struct pipeline *)arg)->stats;

	(*(foreign ? &s->not_allowed : &s->turned_away))++;
}

const struct clients_handler watch_handler = {
	.up = on_up,
	.watch = on_watch,
	.unwatch = on_unwatch,
	.target = on_target,
	.probe = on_probe,
	.batch_end = on_batch_end,
	.drained = on_drained,
	.down = on_down,
	.refused = on_refused,
	.elsewhere = on_elsewhere,
};
