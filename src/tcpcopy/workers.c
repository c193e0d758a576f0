/*
 * Workers - theory of operation
 *
 * A worker is a thread with an event loop and a pipeline: capture sockets, sessions, timers, sink, connections to the assistants. Nothing of that is
 * seen by another thread, so nothing has a lock; the configuration is shared and constant. The kernel spreads connections over the workers
 * (io/fanout), and the answers to a session come on the connection of the worker that announced it.
 *
 * Everything is opened by the main thread, one worker after the other, so that a start succeeds whole or fails with a reason. Then the threads start, and
 * the main thread has signals and reports only. What it wants of a worker it writes down as an order, and wakes the worker by its eventfd; the worker
 * carries the order out between two batches and posts the semaphore. There is one order at a time. The other way, a worker tells only how its start
 * went, under a lock, once.
 *
 * The threads block all signals: these are the main thread's.
 */
#include "tcpcopy/workers.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

struct worker {
	struct workers *all;
	unsigned number;
	pthread_t thread;
	bool running, ending;
	int wake; /* eventfd */
	struct event *woken;
	struct event_base *base;
	struct pipeline pipeline;
};

struct workers {
	const struct config *config;
	struct fanout spread;
	unsigned count;
	/* the order, for the one worker that is woken */
	void (*order)(struct worker *w, void *arg);
	void *order_arg;
	sem_t done;
	/* how the start went */
	pthread_mutex_t lock;
	unsigned up;
	bool told;
	char failed[512];
	int news; /* eventfd, to the main thread */
	struct event *on_news;
	void (*started)(const char *failed, void *arg);
	void *started_arg;
	struct worker worker[FANOUT_MAX_WORKERS];
};

static struct event_base *new_base(void)
{
	struct event_config *cfg = event_config_new();
	struct event_base *base;

	if (!cfg)
		return NULL;
	event_config_set_flag(cfg, EVENT_BASE_FLAG_PRECISE_TIMER); /* or a 1 ms pause may take 2 */
	event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
	base = event_base_new_with_config(cfg);
	event_config_free(cfg);
	return base;
}

static void ring(int fd)
{
	const uint64_t one = 1;

	while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void quiet(int fd)
{
	uint64_t n;

	while (read(fd, &n, sizeof(n)) < 0 && errno == EINTR)
		;
}

static void on_woken(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)what;
	quiet((int)fd);
	w->all->order(w, w->all->order_arg);
	sem_post(&w->all->done);
}

/* Have @w do it, and wait until it has. */
static void order(struct worker *w, void (*what)(struct worker *w, void *arg), void *arg)
{
	if (!w->running) {
		what(w, arg);
		return;
	}
	w->all->order = what;
	w->all->order_arg = arg;
	ring(w->wake);
	while (sem_wait(&w->all->done) < 0 && errno == EINTR)
		;
}

/* A worker's first round of connections is over. In its thread. */
static void on_first_round(const char *failed, void *arg)
{
	struct workers *all = arg;

	pthread_mutex_lock(&all->lock);
	all->up++;
	if (failed && !all->failed[0])
		snprintf(all->failed, sizeof(all->failed), "%s", failed);
	pthread_mutex_unlock(&all->lock);
	ring(all->news);
}

static void on_news(evutil_socket_t fd, short what, void *arg)
{
	struct workers *all = arg;
	char failed[sizeof(all->failed)];
	bool over;

	(void)what;
	quiet((int)fd);
	pthread_mutex_lock(&all->lock);
	over = !all->told && (all->failed[0] || all->up == all->count);
	all->told |= over;
	memcpy(failed, all->failed, sizeof(failed));
	pthread_mutex_unlock(&all->lock);
	if (over)
		all->started(failed[0] ? failed : NULL, all->started_arg);
}

static void *run(void *arg)
{
	struct worker *w = arg;

	while (!w->ending && w->all->config->busy_poll) {
		pipeline_readable(-1, 0, &w->pipeline);
		event_base_loop(w->base, EVLOOP_NONBLOCK);
	}
	if (!w->ending)
		event_base_dispatch(w->base);
	return NULL;
}

static int start_thread(struct worker *w)
{
	const struct config *c = w->all->config;
	sigset_t all, before;
	pthread_attr_t attr;
	cpu_set_t cpus;
	int rc;

	pthread_attr_init(&attr);
	if (c->n_cpus) {
		CPU_ZERO(&cpus);
		CPU_SET(c->cpus[w->number % c->n_cpus], &cpus);
		pthread_attr_setaffinity_np(&attr, sizeof(cpus), &cpus);
	}
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&w->thread, &attr, run, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	w->running = rc == 0;
	return rc;
}

int workers_start(struct workers *all, struct event_base *base,
		  void (*started)(const char *failed, void *arg), void *arg, char *err,
		  size_t err_size)
{
	all->started = started;
	all->started_arg = arg;
	all->on_news = event_new(base, all->news, EV_READ | EV_PERSIST, on_news, all);
	snprintf(err, err_size, "out of memory");
	if (!all->on_news || event_add(all->on_news, NULL))
		return -1;
	for (unsigned i = 0; i < all->count; i++) {
		struct worker *w = &all->worker[i];

		w->woken = event_new(w->base, w->wake, EV_READ | EV_PERSIST, on_woken, w);
		if (!w->woken || event_add(w->woken, NULL) || pipeline_start(&w->pipeline))
			return -1;
	}
	for (unsigned i = 0; i < all->count; i++) {
		int rc = start_thread(&all->worker[i]);

		if (rc) {
			snprintf(err, err_size, "thread of worker %u: %s", i, strerror(rc));
			return -1;
		}
	}
	return 0;
}

struct collection {
	void (*fn)(struct pipeline *p, void *sum);
	void *sum;
};

static void collect(struct worker *w, void *arg)
{
	const struct collection *c = arg;

	c->fn(&w->pipeline, c->sum);
}

void workers_collect(struct workers *all, void (*fn)(struct pipeline *p, void *sum), void *sum)
{
	struct collection c = { fn, sum };

	for (unsigned i = 0; i < all->count; i++)
		order(&all->worker[i], collect, &c);
}

static void end(struct worker *w, void *arg)
{
	(void)arg;
	pipeline_stop(&w->pipeline);
	w->ending = true;
	event_base_loopbreak(w->base);
}

void workers_stop(struct workers *all)
{
	for (unsigned i = 0; i < all->count; i++) {
		struct worker *w = &all->worker[i];

		if (!w->running)
			continue;
		order(w, end, NULL);
		pthread_join(w->thread, NULL);
		w->running = false;
	}
}

void workers_close(struct workers *all)
{
	if (!all)
		return;
	workers_stop(all);
	for (unsigned i = 0; i < all->count; i++) {
		struct worker *w = &all->worker[i];

		if (w->woken)
			event_free(w->woken);
		if (w->base)
			pipeline_close(&w->pipeline);
		if (w->base)
			event_base_free(w->base);
		if (w->wake >= 0)
			close(w->wake);
	}
	if (all->on_news)
		event_free(all->on_news);
	if (all->news >= 0)
		close(all->news);
	sem_destroy(&all->done);
	pthread_mutex_destroy(&all->lock);
	free(all);
}

static int open_worker(struct worker *w, char *err, size_t err_size)
{
	w->wake = eventfd(0, EFD_CLOEXEC);
	w->base = new_base();
	if (w->wake < 0 || !w->base) {
		snprintf(err, err_size, "the event loop cannot be made: out of memory or file descriptors");
		return -1;
	}
	if (pipeline_open(&w->pipeline, w->all->config, &w->all->spread, w->number, w->base, err, err_size))
		return -1;
	w->pipeline.started = on_first_round;
	w->pipeline.started_arg = w->all;
	return 0;
}

struct workers *workers_open(const struct config *c, char *err, size_t err_size)
{
	struct workers *all = calloc(1, sizeof(*all));
	struct pipeline *p[FANOUT_MAX_WORKERS];

	snprintf(err, err_size, "out of memory");
	if (!all)
		return NULL;
	sem_init(&all->done, 0, 0);
	pthread_mutex_init(&all->lock, NULL);
	all->config = c;
	all->news = eventfd(0, EFD_CLOEXEC);
	all->spread = (struct fanout){ .workers = c->workers, .source_port_only = c->n_pool > 0 };
	if (all->news < 0 ||
	    getrandom(&all->spread.seed, sizeof(all->spread.seed), 0) != sizeof(all->spread.seed))
		goto failed;
	while (all->count < c->workers) {
		struct worker *w = &all->worker[all->count];

		w->all = all;
		w->number = all->count;
		p[all->count++] = &w->pipeline;
		if (open_worker(w, err, err_size))
			goto failed;
	}
	if (sources_open(p, err, err_size) == 0)
		return all;
failed:
	workers_close(all);
	return NULL;
}
