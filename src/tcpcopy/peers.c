/*
 * Peers - theory of operation
 *
 * One connection to every assistant of -s. Which assistant a response comes to is the target's routing, which is not known here, so each session is announced to
 * all of them. A lost connection is made again after a pause that grows from 100 ms to 1 s, for ever: losing an assistant never ends the program. A connection whose
 * bounded output is full has a stuck peer; a WATCH that it cannot take would make a session deaf for ever, so that connection is given up and
 * begins anew, with all live sessions announced. Those many announcements wait until the output has
 * room (peers_have_room()), so that they are never the reason for giving up.
 */
#include "tcpcopy/peers.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/util.h"
#include "build/config.h"

#define CONNECT_TIMEOUT_MS 3000
#define RETRY_MIN_MS 100
#define RETRY_MAX_MS 1000
#define ROOM_BYTES (256u << 10)

struct peer {
	struct peers *all;
	const struct peer_address *address;
	struct channel_conn *conn; /* NULL: waiting for the retry timer */
	struct event *retry;
	unsigned retry_ms;
	bool up, tried, stuck;
	struct msg_loss seen;
};

struct peers {
	struct event_base *base;
	const struct config *config;
	unsigned worker;
	const struct peers_handler *h;
	void *arg;
	struct peers_counters n;
	unsigned count, up;
	bool first_round_over;
	struct peer peer[CONFIG_MAX_PEERS];
};

/* Once every peer has been tried, say how the first round went. */
static void tried(struct peer *p, bool reached, const char *failed)
{
	struct peers *all = p->all;
	char text[400];

	p->tried = true;
	if (all->first_round_over)
		return;
	if (failed) {
		snprintf(text, sizeof(text), "option -s \"%s\": %s: %s%s", p->address->text,
			 reached ? "no connection to the assistant" : "cannot reach the assistant", failed,
			 reached || all->config->keep_trying ? "" : "; start intercept there first, or use -L to keep trying");
		all->first_round_over = true;
		all->h->first_round(text, all->arg);
		return;
	}
	for (unsigned i = 0; i < all->count; i++)
		if (!all->peer[i].tried)
			return;
	all->first_round_over = true;
	all->h->first_round(NULL, all->arg);
}

static void retry_later(struct peer *p)
{
	struct timeval tv = { .tv_sec = p->retry_ms / 1000, .tv_usec = (p->retry_ms % 1000) * 1000 };

	p->conn = NULL;
	p->retry_ms = MIN(p->retry_ms * 2, RETRY_MAX_MS);
	event_add(p->retry, &tv);
}

/* Before any session's: the assistant's filter and guard are then ready for the first response. */
static void announce_targets(const struct peer *p)
{
	const struct config *config = p->all->config;

	for (unsigned i = 0; i < config->n_rules; i++) {
		struct message m = { .type = MSG_TARGET, .target = config->rules[i].target };

		channel_conn_send(p->conn, &m);
	}
}

static void on_up(struct channel_conn *c, const struct msg_hello *hello, uint16_t version, void *arg)
{
	struct peer *p = arg;

	(void)c;
	announce_targets(p);
	p->up = true;
	p->retry_ms = RETRY_MIN_MS;
	p->seen = (struct msg_loss){ 0 };
	p->all->up++;
	p->all->n.connects++;
	log_info("assistant %s: connected (%s %s, protocol %u)", p->address->text, hello->program, hello->release, version);
	p->all->h->up(p->all->arg);
	tried(p, true, NULL);
}

/* The connection is over, by either side. */
static void lost(struct peer *p, bool reached, const char *why)
{
	struct peers *all = p->all;

	if (p->up) {
		p->up = false;
		all->up--;
		all->n.losses_of_connection++;
		log_warn("assistant %s: connection lost: %s; connecting again", p->address->text, why);
		if (!all->up)
			all->h->all_down(all->arg);
	} else {
		all->n.attempts_failed++;
		if (all->first_round_over)
			log_limited(LOGL_WARN, "assistant %s: cannot connect: %s; trying again", p->address->text, why);
	}
	retry_later(p);
	tried(p, reached, why);
}

static void on_down(struct channel_conn *c, const char *why, void *arg)
{
	lost(arg, channel_conn_reached(c), why);
}

static void on_loss(struct peer *p, const struct msg_loss *now)
{
	struct msg_loss d = {
		.records_dropped = now->records_dropped - p->seen.records_dropped,
		.records_merged = now->records_merged - p->seen.records_merged,
		.kernel_drops = now->kernel_drops - p->seen.kernel_drops,
		.unowned = now->unowned - p->seen.unowned,
	};
	struct msg_loss *sum = &p->all->n.remote;

	p->seen = *now;
	sum->records_dropped += d.records_dropped;
	sum->records_merged += d.records_merged;
	sum->kernel_drops += d.kernel_drops;
	sum->unowned += d.unowned;
}

static void on_message(struct channel_conn *c, const struct message *m, void *arg)
{
	struct peer *p = arg;

	(void)c;
	if (m->type == MSG_RESPONSE)
		p->all->h->response(&m->response, p->all->arg);
	else if (m->type == MSG_LOSS)
		on_loss(p, &m->loss);
	else if (m->type == MSG_STRAY)
		p->all->h->stray(&m->stray, p->all->arg);
}

static void on_batch_end(struct channel_conn *c, void *arg)
{
	struct peer *p = arg;

	(void)c;
	p->all->h->batch_end(p->all->arg);
}

static const struct channel_handler handler = {
	.up = on_up,
	.message = on_message,
	.batch_end = on_batch_end,
	.down = on_down,
};

static void connect_now(evutil_socket_t fd, short what, void *arg)
{
	struct peer *p = arg;
	const struct channel_options options = {
		.program = "tcpcopy",
		.release = VERSION,
		.worker = (uint16_t)p->all->worker,
		.max_output = (64u << 20) / p->all->config->workers,
		.secret = p->all->config->secret,
	};

	(void)fd;
	(void)what;
	if (p->stuck) {
		p->stuck = false;
		channel_conn_close(p->conn, "too slow");
		lost(p, true, "it takes no more messages");
		return;
	}
	p->conn = channel_connect(p->all->base, &p->address->at, CONNECT_TIMEOUT_MS, &options, &handler, p);
	if (!p->conn)
		lost(p, false, "out of memory or file descriptors");
}

struct peers *peers_new(struct event_base *base, const struct config *c, unsigned worker, const struct peers_handler *h, void *arg)
{
	struct peers *all = calloc(1, sizeof(*all));

	if (!all)
		return NULL;
	all->base = base;
	all->config = c;
	all->worker = worker;
	all->h = h;
	all->arg = arg;
	all->count = c->n_peers;
	for (unsigned i = 0; i < c->n_peers; i++) {
		struct peer *p = &all->peer[i];
		struct timeval at_once = { 0, 0 };

		p->all = all;
		p->address = &c->peers[i];
		p->retry_ms = RETRY_MIN_MS;
		p->retry = evtimer_new(base, connect_now, p);
		if (!p->retry || event_add(p->retry, &at_once)) {
			peers_free(all);
			return NULL;
		}
	}
	return all;
}

void peers_free(struct peers *all)
{
	if (!all)
		return;
	for (unsigned i = 0; i < all->count; i++) {
		if (all->peer[i].conn)
			channel_conn_close(all->peer[i].conn, "tcpcopy ends");
		if (all->peer[i].retry)
			event_free(all->peer[i].retry);
	}
	free(all);
}

static void send_to_all(struct peers *all, const struct message *m)
{
	for (unsigned i = 0; i < all->count; i++) {
		struct peer *p = &all->peer[i];

		if (!p->up || channel_conn_send(p->conn, m))
			continue;
		all->n.messages_dropped++;
		p->stuck = true;
		event_active(p->retry, 0, 0); /* not here: the connection may be calling us */
	}
}

void peers_watch(struct peers *all, uint64_t id, const struct tuple *response)
{
	struct message m = { .type = MSG_WATCH, .watch = { .id = id, .response = *response } };

	send_to_all(all, &m);
}

void peers_unwatch(struct peers *all, uint64_t id)
{
	struct message m = { .type = MSG_UNWATCH, .watch = { .id = id } };

	send_to_all(all, &m);
}

bool peers_have_room(const struct peers *all)
{
	for (unsigned i = 0; i < all->count; i++)
		if (all->peer[i].up && channel_conn_unsent(all->peer[i].conn) > ROOM_BYTES)
			return false;
	return true;
}

unsigned peers_up(const struct peers *all)
{
	return all->up;
}

const struct peers_counters *peers_counters(const struct peers *all)
{
	return &all->n;
}
