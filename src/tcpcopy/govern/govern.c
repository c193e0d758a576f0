/*
 * The breaker and the one for this host - theory of operation
 *
 * In, once a second: of each target what the workers' engines have counted (struct engine_pace), and of
 * this host /proc/stat, /proc/pressure/memory and what its kernel has dropped of the captured packets.
 * Out: flags that the workers look at before a session begins (choice/gates.h), and a line of the log each
 * time that one changes.
 *
 * Numbers only grow, so what has happened lately is the difference to an older look: the last ones are
 * kept in a ring. Sessions that have begun go on, whatever is found: one that is cut off tells nothing
 * about the target, and takes what it had at the target with it.
 *
 * The files of /proc are opened once, at the start, and read anew each time.
 */
#include "tcpcopy/govern/govern.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "program/clock.h"
#include "program/log.h"
#include "program/workers.h"
#include "tcpcopy/choice/pressure.h"
#include "tcpcopy/pipeline.h"

#define STAT "/proc/stat"
#define MEMORY "/proc/pressure/memory"

/* What had been counted at one time. */
struct look {
	struct pressure_cpu cpu;
	uint64_t drops;
	struct engine_pace *pace; /* for each rule, if there is a --breaker */
};

struct govern {
	const struct config *config;
	struct workers *workers;
	struct gates *gates;
	struct event *timer;
	int stat, memory; /* descriptors; -1: not looked at */
	unsigned looks;   /* so many were made */
	struct look look[STRAIN_SECONDS + 1];
	struct engine_pace lately; /* the present difference */
	struct govern_state state;
};

static struct look *look_at(struct govern *g, unsigned number)
{
	return &g->look[number % ARRAY_SIZE(g->look)];
}

static void add_pace(struct engine_pace *to, const struct engine_pace *from)
{
	hist_merge(&to->answer, &from->answer);
	to->released += from->released;
	to->overdue += from->overdue;
	to->begun += from->begun;
	to->ended += from->ended;
	to->refused += from->refused;
	to->reset += from->reset;
}

static void collect(void *pipeline, void *sum)
{
	const struct pipeline *p = pipeline;
	struct look *l = sum;

	for (unsigned i = 0; i < p->n_sources; i++) {
		struct source_counters n;

		source_counters(p->source[i], &n);
		l->drops += n.kernel_drops;
	}
	for (unsigned i = 0; l->pace && i < p->config->n_rules; i++)
		add_pace(&l->pace[i], engine_pace(p->engine, i));
}

/* Read the file of /proc at @fd anew. Returns @buf, with what fits. */
static const char *read_again(int fd, char *buf, size_t size)
{
	const ssize_t n = fd < 0 ? -1 : pread(fd, buf, size - 1, 0);

	buf[n > 0 ? n : 0] = '\0';
	return buf;
}

/* The condition of @n at @c that is met, with what was measured in *@value; NULL: none is. */
static const struct condition *met(const struct condition *c, unsigned n, const void *lately,
				   bool (*measure)(const struct condition *, const void *, double *),
				   double *value)
{
	for (unsigned i = 0; i < n; i++)
		if (measure(&c[i], lately, value) && *value > c[i].limit)
			return &c[i];
	return NULL;
}

static bool of_target(const struct condition *c, const void *lately, double *value)
{
	return strain_of_target(c, lately, value);
}

static bool of_host(const struct condition *c, const void *lately, double *value)
{
	return strain_of_host(c, lately, value);
}

/* Look at one breaker. Returns what has changed. */
static enum breaker_news judge(struct govern_breaker *b, const struct condition *why, double value,
			       uint64_t now)
{
	const enum breaker_news news = breaker_look(&b->state, why != NULL, now);

	if (news == BREAKER_TRIPS)
		strain_format(b->strain, why, value);
	return news;
}

static void judge_target(struct govern *g, unsigned rule, const struct look *now, const struct look *then,
			 uint64_t time)
{
	const struct config *c = g->config;
	struct govern_breaker *b = &g->state.breaker[rule];
	const struct condition *why;
	double value = 0;

	g->lately = now->pace[rule];
	strain_between(&g->lately, &then->pace[rule]);
	why = met(c->breaker, c->n_breaker, &g->lately, of_target, &value);
	switch (judge(b, why, value, time)) {
	case BREAKER_TRIPS:
		log_warn(
			"-x %s: the breaker trips: %s; no session begins until all has been well for %u s (--breaker)",
			c->rules[rule].text, b->strain, (unsigned)(BREAKER_WELL / NS_PER_SEC));
		break;
	case BREAKER_OVER:
		log_info("-x %s: the breaker has closed after %.0f s: sessions begin again",
			 c->rules[rule].text, (double)(time - b->state.since) / (double)NS_PER_SEC);
		break;
	case BREAKER_NOTHING:
		break;
	}
	atomic_store(&g->gates->breaker[rule], b->state.tripped);
}

static void judge_host(struct govern *g, const struct look *now, const struct look *then, uint64_t time)
{
	const struct config *c = g->config;
	struct govern_breaker *b = &g->state.yield;
	struct strain_host lately = { .drops = now->drops - then->drops };
	const struct condition *why;
	char text[256];
	uint64_t share;
	double value = 0;

	lately.cpu_known = pressure_cpu_share(&then->cpu, &now->cpu, &share);
	lately.cpu = lately.cpu_known ? (double)share / 1e8 : 0;
	lately.memory_known = pressure_memory(&share, read_again(g->memory, text, sizeof(text)));
	lately.memory = lately.memory_known ? (double)share / 1e8 : 0;
	why = met(c->yield, c->n_yield, &lately, of_host, &value);
	switch (judge(b, why, value, time)) {
	case BREAKER_TRIPS:
		log_warn("copies give way to this host's service: %s; no session begins until all has been "
			 "well for %u s (--yield)",
			 b->strain, (unsigned)(BREAKER_WELL / NS_PER_SEC));
		break;
	case BREAKER_OVER:
		log_info("this host has been well for %u s: sessions begin again after %.0f s",
			 (unsigned)(BREAKER_WELL / NS_PER_SEC),
			 (double)(time - b->state.since) / (double)NS_PER_SEC);
		break;
	case BREAKER_NOTHING:
		break;
	}
	atomic_store(&g->gates->yield, b->state.tripped);
}

static void on_second(evutil_socket_t fd, short what, void *arg)
{
	struct govern *g = arg;
	struct look *now = look_at(g, g->looks);
	const uint64_t time = clock_now();
	char text[4096];

	(void)fd;
	(void)what;
	now->drops = 0;
	for (unsigned i = 0; now->pace && i < g->config->n_rules; i++)
		memset(&now->pace[i], 0, sizeof(now->pace[i]));
	workers_collect(g->workers, collect, now);
	if (!pressure_cpu(&now->cpu, read_again(g->stat, text, sizeof(text))))
		now->cpu = (struct pressure_cpu){ .all = 0 };
	g->looks++;
	if (g->looks < 2)
		return;
	for (unsigned i = 0; now->pace && i < g->config->n_rules; i++)
		judge_target(g, i, now, look_at(g, g->looks - 1 - MIN(g->looks - 1, STRAIN_SECONDS)), time);
	if (g->config->n_yield)
		judge_host(g, now, look_at(g, g->looks - 1 - MIN(g->looks - 1, STRAIN_HOST_SECONDS)), time);
}

/* Open what is read of this host. Returns 0, or -1 with words in @err. */
static int open_host(struct govern *g, char *err, size_t err_size)
{
	const struct config *c = g->config;
	char text[256];
	uint64_t share;
	bool memory = false;

	for (unsigned i = 0; i < c->n_yield; i++)
		memory |= c->yield[i].metric == STRAIN_MEMORY;
	g->stat = c->n_yield ? open(STAT, O_RDONLY | O_CLOEXEC) : -1;
	if (c->n_yield && g->stat < 0) {
		snprintf(err, err_size, "option --yield \"%s\": " STAT ": %s", c->yield_text,
			 strerror(errno));
		return -1;
	}
	g->memory = memory ? open(MEMORY, O_RDONLY | O_CLOEXEC) : -1;
	if (memory && !pressure_memory(&share, read_again(g->memory, text, sizeof(text)))) {
		snprintf(err, err_size,
			 "option --yield \"%s\": memory: this kernel does not measure it (" MEMORY
			 ", see psi=1 in its parameters); accepted: cpu and drops",
			 c->yield_text);
		return -1;
	}
	return 0;
}

static int begin(struct govern *g, struct event_base *base)
{
	const struct config *c = g->config;

	for (unsigned i = 0; c->n_breaker && i < ARRAY_SIZE(g->look); i++) {
		g->look[i].pace = calloc(c->n_rules, sizeof(*g->look[i].pace));
		if (!g->look[i].pace)
			return -1;
	}
	if (!c->n_breaker && !c->n_yield)
		return 0;
	g->timer = event_new(base, -1, EV_PERSIST, on_second, g);
	return g->timer && !event_add(g->timer, &(struct timeval){ .tv_sec = 1 }) ? 0 : -1;
}

struct govern *govern_new(struct event_base *base, struct workers *w, const struct config *c,
			  struct gates *gates, char *err, size_t err_size)
{
	struct govern *g = calloc(1, sizeof(*g));

	snprintf(err, err_size, "out of memory or file descriptors");
	if (!g)
		return NULL;
	g->config = c;
	g->workers = w;
	g->gates = gates;
	g->stat = g->memory = -1;
	if (!open_host(g, err, err_size) && !begin(g, base))
		return g;
	govern_free(g);
	return NULL;
}

const struct govern_state *govern_state(const struct govern *g)
{
	return &g->state;
}

void govern_free(struct govern *g)
{
	if (!g)
		return;
	if (g->timer)
		event_free(g->timer);
	if (g->stat >= 0)
		close(g->stat);
	if (g->memory >= 0)
		close(g->memory);
	for (unsigned i = 0; i < ARRAY_SIZE(g->look); i++)
		free(g->look[i].pace);
	free(g);
}
