/*
 * From the watch to its owner: sending, and what happens when the owner reads too slowly.
 *
 * In: records in the order of their capture, each with its watch. Out: RESPONSE messages on the watch's
 * connection. When the connection refuses a record because its output is full, the watch holds the record;
 * the next ones are merged into it or queue behind it, so that none overtakes another. A connection keeps a
 * list of its watches that hold records, in the order in which they began to hold some; when the connection
 * drains, they are sent from the front. So the number of watches and a limit for all of them bound the
 * memory, a reader that catches up gets the newest state of every session, and no session is starved.
 *
 * The first bytes of an answer go along where the owner takes them. An answer begins with the first payload
 * that acknowledges something else than the payload before it: so a response of many segments costs 16 bytes,
 * and only where each of them acknowledges more, as in an upload, does each have some.
 */
#include "intercept/watch/relay.h"

#include <stdlib.h>

#include "base/pool.h"

struct held {
	struct held *next;
	struct response record;
};

struct relay {
	struct stats *stats;
	struct pool *pool;
	uint64_t held;
};

struct relay *relay_new(struct stats *stats)
{
	struct relay *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->stats = stats;
	r->pool = pool_new(RELAY_MAX_BYTES);
	if (!r->pool) {
		free(r);
		return NULL;
	}
	return r;
}

void relay_free(struct relay *r)
{
	if (!r)
		return;
	pool_free(r->pool);
	free(r);
}

void relay_trim(struct relay *r)
{
	pool_trim(r->pool);
}

uint64_t relay_held(const struct relay *r)
{
	return r->held;
}

static void block(struct client *p, struct watch *w)
{
	w->blocked_next = NULL;
	w->blocked_prev = p->blocked_last;
	if (p->blocked_last)
		p->blocked_last->blocked_next = w;
	else
		p->blocked_first = w;
	p->blocked_last = w;
}

static void unblock(struct client *p, struct watch *w)
{
	if (w->blocked_prev)
		w->blocked_prev->blocked_next = w->blocked_next;
	else
		p->blocked_first = w->blocked_next;
	if (w->blocked_next)
		w->blocked_next->blocked_prev = w->blocked_prev;
	else
		p->blocked_last = w->blocked_prev;
	w->blocked_prev = w->blocked_next = NULL;
}

static void hold(struct relay *r, struct watch *w, const struct response *record)
{
	struct held *h;

	if (w->held_last && response_merge(&w->held_last->record, record)) {
		r->stats->merged++;
		w->client->merged++;
		return;
	}
	h = w->n_held < RELAY_MAX_HELD ? pool_get(r->pool, sizeof(*h)) : NULL;
	if (!h) {
		r->stats->dropped++;
		w->client->dropped++;
		return;
	}
	*h = (struct held){ .record = *record };
	if (w->held_last) {
		w->held_last->next = h;
	} else {
		w->held_first = h;
		block(w->client, w);
	}
	w->held_last = h;
	w->n_held++;
	r->held++;
}

static bool send_record(struct relay *r, struct watch *w, const struct response *record)
{
	const struct message m = { .type = MSG_RESPONSE, .response = *record };

	if (!channel_conn_send(w->client->conn, &m))
		return false;
	r->stats->forwarded++;
	return true;
}

static void drop_first(struct relay *r, struct watch *w)
{
	struct held *h = w->held_first;

	w->held_first = h->next;
	w->n_held--;
	r->held--;
	if (!w->held_first) {
		w->held_last = NULL;
		unblock(w->client, w);
	}
	pool_put(r->pool, h, sizeof(*h));
}

/*
 * Is @record the first of an answer, whose first bytes may go to @w's owner? One that is not proved may be a
 * stranger, and hears no contents.
 */
static bool shows_first(struct watch *w, const struct response *record)
{
	const bool begins = record->len && (!w->has_answer_ack || w->answer_ack != record->ack);

	if (record->len) {
		w->has_answer_ack = true;
		w->answer_ack = record->ack;
	}
	return begins && w->proved && w->client->takes_first;
}

void relay_deliver(struct relay *r, struct watch *w, const struct response *record)
{
	struct response mine = *record;

	mine.id = w->id;
	if (!shows_first(w, record))
		mine.n_first = 0;
	if (w->held_first || !send_record(r, w, &mine))
		hold(r, w, &mine);
}

void relay_flush(struct relay *r, struct client *p)
{
	struct watch *w;

	while ((w = p->blocked_first) && send_record(r, w, &w->held_first->record))
		drop_first(r, w);
}

void relay_forget(struct relay *r, struct watch *w)
{
	while (w->held_first) {
		r->stats->gone++;
		drop_first(r, w);
	}
}

void relay_report_loss(struct client *p, uint64_t kernel_drops, uint64_t unowned)
{
	const struct msg_loss now = {
		.records_dropped = p->dropped,
		.records_merged = p->merged,
		.kernel_drops = kernel_drops - p->kernel_drops_before,
		.unowned = unowned - p->unowned_before,
	};
	const struct message m = { .type = MSG_LOSS, .loss = now };
	const struct msg_loss *told = &p->told;

	if (now.records_dropped == told->records_dropped && now.records_merged == told->records_merged &&
	    now.kernel_drops == told->kernel_drops && now.unowned == told->unowned)
		return;
	if (channel_conn_send(p->conn, &m))
		p->told = now;
}
