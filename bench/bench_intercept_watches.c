/*
 * What watches cost intercept by their number: look-ups by tuple, memory, and the worst single step
 * while they are added. And what comes before a watch or is left of one: early responses and orphans.
 * See bench.h for the form of the output.
 */
#include "bench.h"

#include <unistd.h>

#include "base/siphash.h"
#include "intercept/watch/early.h"
#include "intercept/watch/orphans.h"
#include "intercept/watch/route.h"

static const struct siphash_key key = { 0x1234567, 0x89abcdef };
static const unsigned counts[] = { 1000, 10000, 100000, 1000000 };
static struct client *const client = (struct client *)&bench_words; /* never looked into */

struct watches {
	struct route *route;
	unsigned n;
};

static struct tuple tuple(unsigned i)
{
	struct tuple t = { .src.port = 80, .dst.port = (uint16_t)(1024 + (i & 15)) };

	t.src.addr = t.dst.addr = addr_from_v4("\12\311\0\1");
	t.dst.addr.b[13] = (uint8_t)(i >> 20);
	t.dst.addr.b[14] = (uint8_t)(i >> 12);
	t.dst.addr.b[15] = (uint8_t)(i >> 4);
	return t;
}

static void do_find(void *arg, unsigned n)
{
	const struct watches *w = arg;

	while (n--) {
		struct tuple t = tuple(bench_random() % w->n);

		bench_sink += route_find(w->route, &t)->id;
	}
}

static void measure(unsigned n)
{
	struct watches w = { .route = route_new(&key), .n = n };
	const size_t before = bench_resident();
	double worst = 0;
	uint64_t all = 0;
	char name[64];

	for (unsigned i = 0; i < n; i++) {
		const struct tuple t = tuple(i);
		const uint64_t start = bench_now();
		uint64_t took;

		if (!w.route || !route_add(w.route, client, i, &t))
			abort();
		took = bench_now() - start;
		all += took;
		worst = MAX(worst, (double)took / NS_PER_US);
	}
	snprintf(name, sizeof(name), "add.%u", n);
	bench_print(name, (double)all / n, "ns");
	snprintf(name, sizeof(name), "add-worst.%u", n);
	bench_print(name, worst, "us");
	snprintf(name, sizeof(name), "memory.%u", n);
	bench_print(name, (double)(bench_resident() - before) / n, "B/watch");
	snprintf(name, sizeof(name), "find.%u", n);
	bench_run(name, do_find, &w, 500000);
	route_free(w.route);
}

/* Early responses and orphans: @n tuples are there, one operation adds one and takes the oldest out. */
struct waiting {
	struct early *early;
	struct orphans *orphans;
	unsigned n, next;
};

static void on_record(const struct response *r, void *arg)
{
	(void)arg;
	bench_sink += r->seq;
}

static void on_given_up(const struct tuple *t, const struct response *r, void *arg)
{
	(void)t;
	on_record(r, arg);
}

static void do_hold(void *arg, unsigned n)
{
	struct waiting *w = arg;

	for (; n--; w->next++) {
		const struct segment s = { .tuple = tuple(w->next), .seq = w->next };

		early_hold(w->early, &s, 1);
	}
}

static void do_hold_take(void *arg, unsigned n)
{
	struct waiting *w = arg;

	for (; n--; w->next++) {
		const struct segment s = { .tuple = tuple(w->next), .seq = w->next };
		const struct tuple t = tuple(w->next - w->n);

		early_hold(w->early, &s, 1);
		early_take(w->early, &t, 1, on_record, NULL);
	}
}

static void do_orphan(void *arg, unsigned n)
{
	struct waiting *w = arg;
	const struct addr owner = { { 0 } };

	for (; n--; w->next++) {
		const struct tuple t = tuple(w->next), old = tuple(w->next - w->n);

		orphans_add(w->orphans, &t, &owner, 0, 1);
		orphans_forget(w->orphans, &old);
	}
}

static void do_orphan_due(void *arg, unsigned n)
{
	struct waiting *w = arg;
	struct addr owner;

	while (n--) {
		const struct tuple t = tuple(w->next - 1 - bench_random() % (2 * w->n));

		bench_sink += orphans_due(w->orphans, &t, ORPHAN_GRACE_NS, &owner);
	}
}

static void before_and_after(void)
{
	struct waiting w = { .early = early_new(&key, on_given_up, NULL), .n = EARLY_MAX / 4 };

	if (!w.early)
		abort();
	bench_run("early.hold-take", do_hold_take, &w, 500000);
	bench_run("early.hold-full", do_hold, &w, 500000);
	early_free(w.early);
	w = (struct waiting){ .orphans = orphans_new(&key), .n = ORPHANS_MAX / 4 * 3 };
	if (!w.orphans)
		abort();
	bench_run("orphans.add-forget", do_orphan, &w, 500000);
	do_orphan(&w, w.n);
	bench_run("orphans.due", do_orphan_due, &w, 500000); /* of half of them there are none */
	orphans_free(w.orphans);
}

int main(int argc, char **argv)
{
	bench_words = argc - 1;
	bench_word = argv + 1;
	before_and_after();
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		measure(counts[i]);
	return 0;
}
