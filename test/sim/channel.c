/*
 * Simulator: the channel and the assistant - theory of operation
 *
 * A target's answer is looked up among the watched tuples, waits for its watch for a while, and comes back
 * over an ordered channel that may be slow, merge records, or be cut. In some worlds a stranger sends
 * answers, too.
 */
#include "referee.h"

#include <stdlib.h>
#include <string.h>

struct order { /* WATCH or UNWATCH on its way */
	struct watched watched;
	bool add;
};

static void channel_send(struct world *w, uint64_t id, const struct segment *g)
{
	struct response *r = malloc(sizeof(*r));
	struct segment header = *g;

	if (!r)
		abort();
	header.captured = 0; /* its payload stayed in the packet, which is gone */
	*r = response_from_segment(id, &header);
	at(w, w->now + w->copy.channel_delay, channel_response_arrives, r, w->copy.channel_epoch);
}

/* A SYN-ACK that acknowledges another number is of a connection that is still to be announced. */
static bool is_for(const struct watched *k, const struct segment *g)
{
	return tuple_eq(&k->response, &g->tuple) &&
	       ((g->flags & (TCPF_SYN | TCPF_ACK)) != (TCPF_SYN | TCPF_ACK) || g->ack == k->number + 1);
}

void channel_order_arrives(struct world *w, void *arg, uint64_t epoch)
{
	struct order *o = arg;
	struct copy *k = &w->copy;
	unsigned i;

	for (i = 0; i < k->n_watched; i++)
		if (o->add ? tuple_eq(&k->watched[i].response, &o->watched.response)
			   : k->watched[i].id == o->watched.id)
			break;
	if (epoch != k->channel_epoch) {
		free(o); /* it was on its way when the channel was cut */
		return;
	}
	if (o->add) {
		if (i == ARRAY_SIZE(k->watched))
			abort();
		k->watched[i] = o->watched;
		k->n_watched = MAX(k->n_watched, i + 1);
		for (unsigned n = 0; n < k->n_early; n++)
			if (w->now <= k->early[n].until && is_for(&o->watched, &k->early[n].g)) {
				channel_send(w, o->watched.id, &k->early[n].g);
				k->early[n].until = 0;
			}
	} else if (i < k->n_watched) {
		k->watched[i] = k->watched[--k->n_watched];
	}
	free(o);
}

static void op_order(void *arg, uint64_t id, const struct tuple *response, uint32_t number, bool add)
{
	struct world *w = arg;
	struct order *o = malloc(sizeof(*o));

	if (!o)
		abort();
	*o = (struct order){ { id, *response, number }, add };
	at(w, w->now + w->copy.channel_delay, channel_order_arrives, o, w->copy.channel_epoch);
}

static void forge(struct world *w, uint64_t id, const struct response *like);
static void forge_time(struct world *w, void *arg, uint64_t id);

void channel_watch(void *arg, uint64_t id, const struct tuple *response, uint32_t number)
{
	struct world *w = arg;

	referee_watched(w, id, response);
	if (rng_chance(w, w->copy.forged))
		at(w, w->now + 1 + rng_below(w, 20 * NS_PER_MS), forge_time, NULL, id);
	sources_watched(w, id, response);
	op_order(arg, id, response, number, true);
}

void channel_unwatch(void *arg, uint64_t id, const struct tuple *response)
{
	referee_unwatched(arg, id);
	op_order(arg, id, response, 0, false);
}

static void deliver(struct world *w, const struct response *r)
{
	const uint64_t unknown = engine_counters(w->copy.e)->responses_unknown;

	if (w->trace)
		trace(w, "  response to session %llx: flags %02x ack %u seq %u len %u win %u merged %u",
		      (unsigned long long)r->id, r->flags, r->ack, r->seq, r->len, r->window, r->merged);
	w->copy.last_input = w->now;
	referee_response(w, r);
	engine_response(w->copy.e, r, w->now);
	referee_responded(w, r, engine_counters(w->copy.e)->responses_unknown != unknown);
	copy_leave(w);
}

/*
 * What somebody sends who does not see the connection: responses of session @id that no TCP believes. @like
 * is one that it would.
 */
static void forge(struct world *w, uint64_t id, const struct response *like)
{
	const struct replica *r = w->copy.replica;
	struct response f = { .id = id, .flags = TCPF_ACK, .window = 1000 };
	uint32_t far = (1u << 28) + (uint32_t)rng_below(w, 1u << 20);

	while (r->used && !(r->conn && r->id == id))
		r++;
	if (!r->used || r->over)
		return;
	if (like) {
		f.seq = like->seq;
		f.ack = like->ack;
		f.window = like->window;
	}
	switch (rng_below(w, 8)) {
	case 0:
		f.ack += far;
		f.len = (uint32_t)rng_below(w, 2) * 100;
		break;
	case 1:
		f.flags = 0;
		f.len = 100;
		break;
	case 2:
		f.flags |= TCPF_RST;
		f.ack += far;
		break;
	case 3:
		f.flags = TCPF_RST;
		f.seq += (1u << 30) + far;
		break;
	case 4:
		if (!r->established || !seq_gt(f.seq + far, r->a.most))
			return;
		f.seq += far; /* within 2^30, and beyond every window that was shown */
		f.len = 100;
		break;
	case 5:
		if (!r->established)
			return;
		f.seq += (1u << 30) + far;
		f.len = 100;
		break;
	case 6:
		if (!r->established)
			return;
		f.flags |= TCPF_SYN;
		f.seq += far;
		break;
	default:
		f.ack -= far;
		f.len = (uint32_t)rng_below(w, 2) * 100;
		f.seq -= f.len;
		break;
	}
	deliver(w, &f);
}

static void forge_time(struct world *w, void *arg, uint64_t id)
{
	(void)arg;
	for (unsigned i = 0; i < 8; i++)
		forge(w, id, NULL);
}

/* One that has come by the channel. */
static void deliver_next(struct world *w, const struct response *r)
{
	if (rng_chance(w, w->copy.forged))
		forge(w, r->id, r);
	deliver(w, r);
}

static void backlog_time(struct world *w, void *arg, uint64_t epoch)
{
	struct copy *k = &w->copy;
	unsigned n = k->n_backlog;
	static struct response r[ARRAY_SIZE(k->backlog)];

	(void)arg;
	k->backlog_due = false;
	k->n_backlog = 0;
	memcpy(r, k->backlog, n * sizeof(*r));
	for (unsigned i = 0; i < n && epoch == k->channel_epoch; i++)
		deliver_next(w, &r[i]);
}

void channel_response_arrives(struct world *w, void *arg, uint64_t epoch)
{
	struct response r = *(struct response *)arg;
	struct copy *k = &w->copy;

	free(arg);
	if (epoch != k->channel_epoch)
		return;
	if (!k->merging) {
		deliver_next(w, &r);
		return;
	}
	for (unsigned i = k->n_backlog; i-- > 0;)
		if (k->backlog[i].id == r.id) {
			if (response_merge(&k->backlog[i], &r))
				return;
			break;
		}
	if (k->n_backlog == ARRAY_SIZE(k->backlog)) {
		backlog_time(w, NULL, epoch);
		k->backlog_due = true;
	}
	k->backlog[k->n_backlog++] = r;
	if (!k->backlog_due) {
		k->backlog_due = true;
		at(w, w->now + k->merge_interval, backlog_time, NULL, epoch);
	}
}

/* A target's packet, on its way to the assistant. */
void target_output(struct target_host *h, const struct segment *g)
{
	struct world *w = h->w;

	referee_target_sent(w, h->index, g);
	link_send(w, &w->copy.to_assistant[h->index], h, g, NULL, 0);
}

void to_assistant_input(struct world *w, void *to, const struct segment *g, const uint8_t *ip,
			uint32_t ip_len)
{
	struct copy *k = &w->copy;

	(void)to, (void)ip, (void)ip_len;
	if (!k->channel_up)
		return;
	for (unsigned i = 0; i < k->n_watched; i++)
		if (is_for(&k->watched[i], g)) {
			channel_send(w, k->watched[i].id, g);
			return;
		}
	for (unsigned i = 0; i < ARRAY_SIZE(k->early); i++)
		if (k->early[i].until < w->now) {
			k->early[i] = (struct held){ *g, w->now + k->hold_early };
			k->n_early = MAX(k->n_early, i + 1);
			return;
		}
}
