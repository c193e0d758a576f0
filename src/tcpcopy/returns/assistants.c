/*
 * Assistants - theory of operation
 *
 * One connection to every worker of every assistant of -s. The target's routing decides which assistant
 * receives a response, and that is not known here, so each session is announced to all of them. Which of an
 * assistant's workers sees the response is known, because each says in its HELLO how it spreads them. The
 * first connection is to worker 0, which says how many there are. An assistant that was restarted spreads
 * them differently, so all connections to it start over.
 *
 * A lost connection is made again after a pause that grows from 100 ms to 0.5 s, for ever. Losing an
 * assistant never ends the program: sessions opened in the meantime are announced when it is back, and only
 * a lasting outage is reported to the engine.
 *
 * A connection whose bounded output is full is stuck. A WATCH that it cannot take would leave a session deaf
 * for ever, so the connection is given up and made again, with all live sessions announced on it. Those many
 * announcements wait until the output has room (room()), so that they are never themselves
 * the reason for giving up.
 */
#include "tcpcopy/returns/assistants.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "program/log.h"
#include "base/util.h"
#include "build/config.h"
#include "channel/conn.h"
#include "io/capture/fanout.h"
#include "io/inject/route.h"
#include "tcpcopy/pipeline.h"

#define CONNECT_TIMEOUT_MS 1500 /* two SYNs; the next attempt comes sooner than a third */
#define RETRY_MIN_MS 100
#define RETRY_MAX_MS 500
#define OUTAGE_S 15 /* sessions are opened without an assistant for this long; it will hear of them */
#define NAME_SIZE 200
#define ROOM_BYTES (256u << 10) /* of output, up to which more announcements may be added */
#define WATCH_BYTES 80          /* more than one of them takes, with its EXPECT */

/* A connection to one worker of an assistant. */
struct connection {
	struct assistant *of;
	unsigned number;           /* of the assistant's worker */
	struct channel_conn *conn; /* NULL: waiting for the retry timer, or not wanted */
	struct event *retry;
	unsigned retry_ms;
	bool up, stuck;
	bool new; /* not all live sessions have been announced on it */
	struct msg_loss seen;
};

struct assistant {
	struct assistants *all;
	const struct assistant_address *address;
	struct fanout spread; /* of responses over its workers, as its HELLO says */
	bool tried, said_full;
	struct connection connection[FANOUT_MAX_WORKERS];
};

struct assistants {
	struct returns returns;
	struct event_base *base;
	const struct config *config;
	unsigned worker;
	struct pipeline *pipeline;
	unsigned count, up; /* assistants; connections */
	bool any_new;
	bool first_round_over;
	struct event *outage; /* no connection is left */
	struct assistant assistant[CONFIG_MAX_ASSISTANTS];
};

static struct assistants *assistants_of(struct returns *r)
{
	return CONTAINER_OF(r, struct assistants, returns);
}

static bool complete(const struct assistant *a)
{
	for (unsigned i = 0; i < a->spread.workers; i++)
		if (!a->connection[i].up)
			return false;
	return true;
}

/* For the log: "192.0.2.8", or with several workers there "192.0.2.8, worker 1". */
static const char *name(const struct connection *p, char buf[NAME_SIZE])
{
	snprintf(buf, NAME_SIZE, p->of->spread.workers > 1 ? "%s, worker %u" : "%s", p->of->address->text,
		 p->number);
	return buf;
}

/* Once every assistant has been tried, say how the first round went. */
static void tried(struct assistant *a, bool reached, const char *failed)
{
	struct assistants *all = a->all;
	char text[400];

	if (all->first_round_over || (!failed && !complete(a)))
		return;
	a->tried = true;
	if (failed) {
		snprintf(
			text, sizeof(text), "option -s \"%s\": %s: %s%s", a->address->text,
			reached ? "no connection to the assistant" : "cannot reach the assistant", failed,
			reached || all->config->keep_trying ? ""
			: route_is_local(&a->address->at.addr)
				? "; it names this very host: name the assistant, to which the target's route for "
				  "the clients leads; --check tells more"
				: "; start intercept there first, or use -L to keep trying; --check tells "
				  "more");
		all->first_round_over = true;
		returns_tried(all->pipeline, text);
		return;
	}
	for (unsigned i = 0; i < all->count; i++)
		if (!all->assistant[i].tried)
			return;
	all->first_round_over = true;
	returns_tried(all->pipeline, NULL);
}

static void retry_in(struct connection *p, unsigned ms)
{
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000 };

	event_add(p->retry, &tv);
}

static void retry_later(struct connection *p)
{
	retry_in(p, p->retry_ms);
	p->retry_ms = MIN(p->retry_ms * 2, RETRY_MAX_MS);
}

/* Before any session's: the assistant's filter and guard are then ready for the first response. */
static void announce_targets(const struct connection *p)
{
	const struct config *config = p->of->all->config;

	for (unsigned i = 0; i < config->n_rules; i++) {
		struct message m = { .type = MSG_TARGET, .target = config->rules[i].target };

		channel_conn_send(p->conn, &m);
	}
}

/* The connection is over, by either side. */
static void gone(struct connection *p)
{
	struct assistants *all = p->of->all;

	p->conn = NULL;
	p->stuck = p->new = false;
	if (!p->up)
		return;
	p->up = false;
	all->returns.n.losses_of_connection++;
	if (!--all->up)
		event_add(all->outage, &(struct timeval){ OUTAGE_S, 0 });
}

static void lost(struct connection *p, bool reached, const char *why)
{
	struct assistants *all = p->of->all;
	char who[NAME_SIZE];

	if (p->up) {
		log_warn("assistant %s: connection lost: %s; reconnecting", name(p, who), why);
	} else {
		all->returns.n.attempts_failed++;
		if (all->first_round_over)
			log_limited(LOGL_WARN, "assistant %s: cannot connect: %s; trying again", name(p, who),
				    why);
	}
	gone(p);
	retry_later(p);
	tried(p->of, reached, why);
}

static struct fanout spread_of(const struct msg_hello *hello)
{
	if (!(hello->features & CHANNEL_WORKERS))
		return (struct fanout){ .workers = 1 };
	return (struct fanout){ .workers = hello->workers, .seed = hello->seed };
}

static bool same_spread(const struct fanout *a, const struct fanout *b)
{
	return a->workers == b->workers && a->seed == b->seed;
}

/* Worker 0 of an assistant says how many there are. If that is new, start over with the others. */
static void adopt(struct assistant *a, const struct fanout *spread)
{
	if (same_spread(&a->spread, spread))
		return;
	a->spread = *spread;
	for (unsigned i = 1; i < FANOUT_MAX_WORKERS; i++) {
		struct connection *p = &a->connection[i];

		if (p->conn)
			channel_conn_close(p->conn, "the assistant was restarted");
		gone(p);
		event_del(p->retry);
		p->retry_ms = RETRY_MIN_MS;
		if (i < spread->workers)
			retry_in(p, 0);
	}
}

static void on_up(struct channel_conn *c, const struct msg_hello *hello, uint16_t version, void *arg)
{
	const struct fanout spread = spread_of(hello);
	struct connection *p = arg;
	struct assistants *all = p->of->all;
	char who[NAME_SIZE];

	if (spread.workers > FANOUT_MAX_WORKERS || hello->worker != p->number ||
	    (p->number && !same_spread(&p->of->spread, &spread))) {
		channel_conn_close(c, "wrong worker");
		lost(p, true, "the wrong worker answered, or there are too many workers");
		return;
	}
	if (!p->number)
		adopt(p->of, &spread);
	announce_targets(p);
	p->up = p->new = all->any_new = true;
	p->retry_ms = RETRY_MIN_MS;
	p->seen = (struct msg_loss){ 0 };
	all->up++;
	event_del(all->outage);
	all->returns.n.connects++;
	log_info("assistant %s: connected (%s %s, protocol %u)", name(p, who), hello->program, hello->release,
		 version);
	returns_up(all->pipeline);
	tried(p->of, true, NULL);
}

static void on_down(struct channel_conn *c, const char *why, void *arg)
{
	lost(arg, channel_conn_reached(c), why);
}

static void on_loss(struct connection *p, const struct msg_loss *now)
{
	struct msg_loss d = {
		.records_dropped = now->records_dropped - p->seen.records_dropped,
		.records_merged = now->records_merged - p->seen.records_merged,
		.kernel_drops = now->kernel_drops - p->seen.kernel_drops,
		.unowned = now->unowned - p->seen.unowned,
	};
	struct msg_loss *sum = &p->of->all->returns.n.remote;

	p->seen = *now;
	sum->records_dropped += d.records_dropped;
	sum->records_merged += d.records_merged;
	if (p->of->all->worker)
		return; /* these belong to the assistant's worker, which reports them to each of ours */
	sum->kernel_drops += d.kernel_drops;
	sum->unowned += d.unowned;
}

/* Said once for each assistant and worker of ours; the counter tells how often. */
static void on_full(struct connection *p, uint64_t id)
{
	struct assistants *all = p->of->all;
	char who[NAME_SIZE];

	all->returns.n.watches_refused++;
	if (!p->of->said_full)
		log_warn(
			"assistant %s has no room for more sessions, which %s; its log tells whether its table is "
			"full or its memory: each of its --workers has a table of its own, of which one address "
			"gets half, and --secret or --allow there keep strangers out of it",
			name(p, who),
			all->count == 1 ? "end at once as unwatched until it has"
					: "end as unwatched if their responses go there");
	p->of->said_full = true;
	returns_unwatched(all->pipeline, id, all->count == 1);
}

static void on_message(struct channel_conn *c, const struct message *m, void *arg)
{
	struct connection *p = arg;

	(void)c;
	if (m->type == MSG_RESPONSE)
		returns_response(p->of->all->pipeline, &m->response);
	else if (m->type == MSG_LOSS)
		on_loss(p, &m->loss);
	else if (m->type == MSG_STRAY)
		returns_stray(p->of->all->pipeline, &m->stray);
	else if (m->type == MSG_TAKEN)
		returns_taken(p->of->all->pipeline, m->watch.id);
	else if (m->type == MSG_FULL)
		on_full(p, m->watch.id);
}

static void on_batch_end(struct channel_conn *c, void *arg)
{
	struct connection *p = arg;

	(void)c;
	returns_batch_end(p->of->all->pipeline);
}

static const struct channel_handler handler = {
	.up = on_up,
	.message = on_message,
	.batch_end = on_batch_end,
	.down = on_down,
};

static void connect_now(evutil_socket_t fd, short what, void *arg)
{
	struct connection *p = arg;
	struct assistants *all = p->of->all;
	const struct channel_options options = {
		.program = "tcpcopy",
		.release = VERSION,
		.worker = (uint16_t)all->worker,
		.max_output = (64u << 20) / all->config->run.workers,
		.secret = all->config->secret,
		.first = true,
		.spreads = true,
		.workers = (uint16_t)all->config->run.workers,
		.seed = all->pipeline->spread.seed, /* any number that all our workers have */
		.place = (uint16_t)p->number,
	};

	(void)fd;
	(void)what;
	if (p->stuck) {
		channel_conn_close(p->conn, "too slow");
		lost(p, true, "it reads too slowly");
	}
	if (p->conn || evtimer_pending(p->retry, NULL))
		return;
	p->conn = channel_connect(all->base, &p->of->address->at, CONNECT_TIMEOUT_MS, &options, &handler, p);
	if (!p->conn)
		lost(p, false, "out of memory or file descriptors");
}

static bool add_assistant(struct assistants *all, const struct assistant_address *address)
{
	struct assistant *a = &all->assistant[all->count++];

	a->all = all;
	a->address = address;
	a->spread.workers = 1;
	for (unsigned i = 0; i < FANOUT_MAX_WORKERS; i++) {
		struct connection *p = &a->connection[i];

		p->of = a;
		p->number = i;
		p->retry_ms = RETRY_MIN_MS;
		p->retry = evtimer_new(all->base, connect_now, p);
		if (!p->retry)
			return false;
	}
	retry_in(&a->connection[0], 0);
	return true;
}

static void on_outage(evutil_socket_t fd, short what, void *arg)
{
	struct assistants *all = arg;

	(void)fd;
	(void)what;
	returns_down(all->pipeline);
}

static void close_all(struct returns *r)
{
	struct assistants *all = assistants_of(r);

	for (unsigned i = 0; i < all->count * FANOUT_MAX_WORKERS; i++) {
		struct connection *p =
			&all->assistant[i / FANOUT_MAX_WORKERS].connection[i % FANOUT_MAX_WORKERS];

		if (p->conn)
			channel_conn_close(p->conn, "tcpcopy is ending");
		if (p->retry)
			event_free(p->retry);
	}
	event_free(all->outage);
	free(all);
}

/*
 * To all assistants, there to the worker that sees the responses; with @only_new, if its connection is new.
 * Returns true if there is any.
 */
static bool tell(struct assistants *all, const struct message *m, const struct tuple *response, bool only_new)
{
	bool told = false;

	for (unsigned i = 0; i < all->count; i++) {
		struct assistant *a = &all->assistant[i];
		struct connection *p = &a->connection[fanout_worker(&a->spread, response)];

		if (!p->up || (only_new && !p->new))
			continue;
		told = true;
		if (channel_conn_send(p->conn, m))
			continue;
		all->returns.n.messages_dropped++;
		p->stuck = true;
		event_active(p->retry, 0, 0); /* not here: the connection may be calling us */
	}
	return told;
}

static bool ask(struct returns *r, uint64_t id, const struct tuple *response, uint32_t number, bool only_new)
{
	struct message m = { .type = MSG_EXPECT,
			     .watch = { .id = id, .response = *response, .number = number } };

	tell(assistants_of(r), &m, response, only_new);
	m.type = MSG_WATCH;
	return tell(assistants_of(r), &m, response, only_new);
}

static void watch(struct returns *r, uint64_t id, const struct tuple *response, uint32_t number)
{
	ask(r, id, response, number, false);
}

static bool announce(struct returns *r, uint64_t id, const struct tuple *response, uint32_t number)
{
	return ask(r, id, response, number, true);
}

static void announced(struct returns *r)
{
	struct assistants *all = assistants_of(r);

	if (!all->any_new)
		return;
	all->any_new = false;
	for (unsigned i = 0; i < all->count; i++)
		for (unsigned w = 0; w < FANOUT_MAX_WORKERS; w++)
			all->assistant[i].connection[w].new = false;
}

static void unwatch(struct returns *r, uint64_t id, const struct tuple *response)
{
	struct message m = { .type = MSG_UNWATCH, .watch = { .id = id } };

	tell(assistants_of(r), &m, response, false);
}

static unsigned room(struct returns *r)
{
	const struct assistants *all = assistants_of(r);
	size_t most = 0;

	for (unsigned i = 0; i < all->count; i++)
		for (unsigned w = 0; w < all->assistant[i].spread.workers; w++) {
			const struct connection *p = &all->assistant[i].connection[w];

			if (p->up && p->new)
				most = MAX(most, channel_conn_unsent(p->conn));
		}
	return (unsigned)((ROOM_BYTES - MIN(most, ROOM_BYTES)) / WATCH_BYTES);
}

static unsigned up(struct returns *r)
{
	const struct assistants *all = assistants_of(r);
	unsigned n = 0;

	for (unsigned i = 0; i < all->count; i++)
		n += complete(&all->assistant[i]);
	return n;
}

static const struct returns_ops ops = {
	.watch = watch,
	.announce = announce,
	.announced = announced,
	.unwatch = unwatch,
	.room = room,
	.up = up,
	.close = close_all,
};

struct returns *assistants_open(struct event_base *base, const struct config *c, unsigned worker,
				struct pipeline *p)
{
	struct assistants *all = calloc(1, sizeof(*all));

	if (!all)
		return NULL;
	all->returns.ops = &ops;
	all->base = base;
	all->config = c;
	all->worker = worker;
	all->pipeline = p;
	all->outage = evtimer_new(base, on_outage, all);
	if (!all->outage) {
		free(all);
		return NULL;
	}
	for (unsigned i = 0; i < c->n_assistants; i++)
		if (!add_assistant(all, &c->assistants[i])) {
			close_all(&all->returns);
			return NULL;
		}
	return &all->returns;
}
