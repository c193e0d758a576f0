/*
 * A dry run - theory of operation
 *
 * In: segments that would be sent. Out: none of them; but --write keeps them, and the engine hears what a
 * target would say that accepts every connection, acknowledges all that it gets at once, says nothing itself,
 * and closes when the client has closed. Without that a session would be a SYN, and nothing more could be
 * seen of it. Requests wait for no answers (--hold 0), since none come.
 *
 * The engine must not be called from its own actions, so what this target says waits for the event loop's
 * next turn. Own addresses choose ports as they always do.
 */
#include "tcpcopy/returns/dry.h"

#include <event2/event.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/siphash.h"
#include "base/table.h"
#include "base/util.h"
#include "packet/build.h"
#include "packet/options.h"
#include "packet/seq.h"
#include "tcpcopy/pipeline.h"

#define MSS 1460
#define WSCALE 7
#define WINDOW 65535

/* A session, as the target has it. */
struct watch {
	struct table_node by_tuple;
	struct tuple tuple; /* of what the target says */
	uint64_t id;
	bool begun;
	uint32_t rcv_nxt, snd_nxt, tsval, tsecr;
	bool has_ts;
};

struct dry {
	struct sink sink;
	struct returns returns;
	struct pipeline *pipeline;
	struct returns *own; /* NULL: there is no plan */
	struct event *turn;  /* what the target says is delivered */
	bool up;
	struct siphash_key key;
	struct pool *pool;
	struct table *watches;
	struct response *said; /* not delivered yet */
	size_t n_said, room;
};

static uint32_t hash_of(const struct dry *d, const struct tuple *t)
{
	return (uint32_t)siphash(&d->key, t, sizeof(*t));
}

static bool has_tuple(struct table_node *n, const void *key)
{
	return tuple_eq(&CONTAINER_OF(n, struct watch, by_tuple)->tuple, key);
}

static struct watch *find(const struct dry *d, const struct tuple *response)
{
	struct table_node *n = table_find(d->watches, hash_of(d, response), has_tuple, response);

	return n ? CONTAINER_OF(n, struct watch, by_tuple) : NULL;
}

/* --- the target --- */

/* Without memory it is as if it were lost on its way. */
static void say(struct dry *d, const struct response *r)
{
	if (d->n_said == d->room) {
		const size_t room = MAX(64u, 2 * d->room);
		struct response *more = realloc(d->said, room * sizeof(*more));

		if (!more)
			return;
		d->said = more;
		d->room = room;
	}
	d->said[d->n_said++] = *r;
	event_active(d->turn, EV_TIMEOUT, 0);
}

static struct response response_of(const struct watch *w, uint8_t flags)
{
	return (struct response){
		.id = w->id,
		.seq = w->snd_nxt,
		.ack = w->rcv_nxt,
		.window = WINDOW,
		.flags = flags,
		.opt = { .has_ts = w->has_ts, .tsval = w->tsval, .tsecr = w->tsecr },
	};
}

static void accept_syn(struct dry *d, struct watch *w, const struct tx_segment *t,
		       const struct tcp_options *o)
{
	struct response r;

	w->begun = true;
	w->snd_nxt = hash_of(d, &w->tuple);
	w->rcv_nxt = t->seq + 1;
	w->has_ts = o->has_ts;
	r = response_of(w, TCPF_SYN | TCPF_ACK);
	r.opt.mss = MSS;
	r.opt.has_wscale = o->has_wscale;
	r.opt.wscale = o->has_wscale ? WSCALE : 0;
	r.opt.has_sack_permitted = o->has_sack_permitted;
	say(d, &r);
	w->snd_nxt++;
}

/* What the target says to *t. */
static void hear(struct dry *d, const struct tx_segment *t)
{
	const struct tuple response = { .src = t->tuple.dst, .dst = t->tuple.src };
	const uint32_t end = t->seq + t->len + !!(t->flags & TCPF_FIN);
	struct watch *w = find(d, &response);
	struct tcp_options o;
	struct response r;

	if (!w || t->flags & TCPF_RST)
		return;
	tcp_options_parse(&o, t->options, t->options_len);
	w->tsecr = o.has_ts ? o.tsval : w->tsecr;
	w->tsval++;
	if (t->flags & TCPF_SYN) {
		accept_syn(d, w, t, &o);
		return;
	}
	if (!w->begun || end == t->seq)
		return;
	if (seq_gt(end, w->rcv_nxt))
		w->rcv_nxt = end;
	r = response_of(w, t->flags & TCPF_FIN ? TCPF_ACK | TCPF_FIN : TCPF_ACK);
	say(d, &r);
}

/* --- the sink --- */

/* The rules with that target. */
static uint64_t rules_of(const struct pipeline *p, const struct endpoint *target)
{
	uint64_t set = 0;

	for (unsigned i = 0; i < p->config->n_rules; i++)
		set |= (uint64_t)endpoint_eq(&p->config->rules[i].target, target) << i;
	return set;
}

static void keep(struct dry *d, const struct tx_segment *piece)
{
	const struct pipeline *p = d->pipeline;

	d->sink.counters.offered++;
	d->sink.counters.packets++;
	d->sink.counters.bytes += build_headers_len(piece) + piece->len;
	if (p->record)
		record_copy(p->record, piece, p->now, rules_of(p, &piece->tuple.dst));
}

static void dry_send(struct sink *s, const struct tx_segment *t)
{
	struct dry *d = CONTAINER_OF(s, struct dry, sink);
	struct tx_segment piece;

	s->counters.segments++;
	if (t->gso_size && t->len > t->gso_size)
		for (uint32_t i = 0; build_piece(&piece, t, t->gso_size, i); i++)
			keep(d, &piece);
	else
		keep(d, t);
	hear(d, t);
}

static void dry_flush(struct sink *s)
{
	(void)s;
}

static void dry_close(struct sink *s)
{
	struct dry *d = CONTAINER_OF(s, struct dry, sink);

	if (d->turn)
		event_free(d->turn);
	if (d->watches)
		table_free(d->watches);
	if (d->pool)
		pool_free(d->pool);
	free(d->said);
	free(d);
}

static const struct sink_ops sink_ops = {
	.send = dry_send,
	.flush = dry_flush,
	.close = dry_close,
};

/* --- the way back --- */

static struct dry *dry_of(struct returns *r)
{
	return CONTAINER_OF(r, struct dry, returns);
}

static void watch(struct returns *r, uint64_t id, const struct tuple *response, uint32_t number)
{
	struct dry *d = dry_of(r);
	struct watch *w = find(d, response);

	if (d->own)
		returns_watch(d->own, id, response, number);
	if (!w && (w = pool_get(d->pool, sizeof(*w))))
		table_add(d->watches, &w->by_tuple, hash_of(d, response));
	else if (!w)
		return;
	*w = (struct watch){ .by_tuple = w->by_tuple, .tuple = *response, .id = id, .tsval = 1 };
}

static bool announce(struct returns *r, uint64_t id, const struct tuple *response, uint32_t number)
{
	(void)r; /* it is up once, from the start on */
	(void)id;
	(void)response;
	(void)number;
	return false;
}

static void unwatch(struct returns *r, uint64_t id, const struct tuple *response)
{
	struct dry *d = dry_of(r);
	struct watch *w = find(d, response);

	if (d->own)
		returns_unwatch(d->own, id, response);
	if (!w || w->id != id)
		return;
	table_remove(d->watches, &w->by_tuple);
	pool_put(d->pool, w, sizeof(*w));
}

static void close_returns(struct returns *r)
{
	struct dry *d = dry_of(r);

	returns_close(d->own);
	d->own = NULL;
	event_del(d->turn);
}

static const struct returns_ops returns_ops = {
	.watch = watch,
	.announce = announce,
	.unwatch = unwatch,
	.close = close_returns,
};

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct dry *d = arg;
	struct pipeline *p = d->pipeline;
	struct response *said = d->said;
	const size_t n = d->n_said;

	(void)fd;
	(void)what;
	d->said = NULL;
	d->n_said = d->room = 0;
	if (!d->up) {
		d->up = true;
		if (!d->own) { /* which says so itself */
			returns_up(p);
			returns_tried(p, NULL);
		}
	}
	for (size_t i = 0; i < n; i++)
		returns_response(p, &said[i]);
	free(said);
	if (n)
		returns_batch_end(p);
}

struct dry *dry_open(struct event_base *base, struct pipeline *p, char *err, size_t err_size)
{
	struct dry *d = calloc(1, sizeof(*d));

	snprintf(err, err_size, "out of memory");
	if (!d)
		return NULL;
	d->sink.ops = &sink_ops;
	d->returns.ops = &returns_ops;
	d->pipeline = p;
	d->pool = pool_new(0);
	d->watches = d->pool ? table_new(d->pool) : NULL;
	d->turn = event_new(base, -1, 0, on_turn, d);
	if (d->watches && d->turn && getrandom(&d->key, sizeof(d->key), 0) == sizeof(d->key))
		return d;
	dry_close(&d->sink);
	return NULL;
}

struct sink *dry_sink(struct dry *d)
{
	return &d->sink;
}

struct returns *dry_returns(struct dry *d, struct returns *own)
{
	d->own = own;
	event_active(d->turn, EV_TIMEOUT, 0);
	return &d->returns;
}
