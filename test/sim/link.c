/*
 * Simulator: a wire with faults - theory of operation
 *
 * A packet waits for the bottleneck (and is dropped where the queue is full), then takes delay plus
 * jitter. Jitter alone keeps the order; only what is chosen for reordering is overtaken. What is on
 * its way owns its bytes.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

struct flight {
	struct link *link;
	void *to;
	struct segment g;
	uint32_t ip_len;
	uint8_t ip[];
};

static void arrive(struct world *w, void *arg, uint64_t n)
{
	struct flight *f = arg;

	(void)n;
	if (w->now >= f->link->dead_from && w->now < f->link->dead_to)
		f->link->lost++;
	else
		f->link->deliver(w, f->to, &f->g, f->ip, f->ip_len);
	free(f);
}

static void launch(struct world *w, struct link *l, void *to, const struct segment *g, const uint8_t *ip,
		   uint32_t ip_len)
{
	uint64_t when = w->now + l->delay;
	struct flight *f;

	if (l->rate) {
		uint32_t size = ip_len ? ip_len : g->len + 60;
		uint64_t start = MAX(l->busy_until, w->now);

		if ((start - w->now) * l->rate / NS_PER_SEC > l->queue) {
			l->lost++;
			return;
		}
		l->busy_until = start + size * NS_PER_SEC / l->rate;
		when += l->busy_until - w->now;
	}
	if (l->jitter)
		when += rng_below(w, l->jitter);
	if (rng_chance(w, l->reorder)) {
		l->reordered++;
		when += rng_range(w, 1000, 2 * l->delay + 2 * NS_PER_MS);
	} else {
		when = MAX(when, l->last_arrival);
		l->last_arrival = when;
	}
	f = malloc(sizeof(*f) + ip_len);
	if (!f)
		abort();
	f->link = l;
	f->to = to;
	f->g = *g;
	f->ip_len = ip_len;
	if (ip_len)
		memcpy(f->ip, ip, ip_len);
	at(w, when, arrive, f, 0);
}

void link_send(struct world *w, struct link *l, void *to, const struct segment *g, const uint8_t *ip,
	       uint32_t ip_len)
{
	l->sent++;
	if (rng_chance(w, l->loss)) {
		l->lost++;
		trace(w, "%s loses seq %u len %u", l->name, g->seq, g->len);
		return;
	}
	launch(w, l, to, g, ip, ip_len);
	if (rng_chance(w, l->dup)) {
		l->duplicated++;
		launch(w, l, to, g, ip, ip_len);
	}
}

bool link_clean(const struct link *l)
{
	return !l->loss && !l->dup && !l->reorder && !l->rate && l->dead_from >= l->dead_to;
}

/* The run is over: what is still under way goes. */
void events_free(struct world *w)
{
	for (size_t i = 0; i < w->n_heap; i++)
		if (w->heap[i].fn == arrive)
			free(w->heap[i].arg);
	free(w->heap);
}
