/*
 * Workers: threads that have an event loop each - theory of operation
 *
 * The main thread makes the loops, others hang their events into them, then the threads start. From
 * then on a loop, all that hangs in it and the worker's object belong to its thread; what another thread
 * wants goes through its mailbox. So neither the loops nor the objects need locks. What the main thread wants
 * it waits for, so a worker must never wait for the main thread.
 *
 * The threads block all signals: these are the main thread's.
 */
#include "program/workers.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "program/mailbox.h"
#include "base/util.h"

struct worker {
	const struct workers *all;
	pthread_t thread;
	bool running, ending;
	struct event_base *base;
	struct mailbox *mailbox;
	void *object;
};

struct workers {
	const struct run_config *run;
	void (*idle)(void *worker);
	unsigned count;
	sem_t done; /* a call by workers_collect() */
	struct worker worker[RUN_MAX_WORKERS];
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

struct workers *workers_new(const struct run_config *run, void (*idle)(void *worker), char *err,
			    size_t err_size)
{
	struct workers *w = calloc(1, sizeof(*w));

	snprintf(err, err_size, "cannot create the event loop: out of memory or file descriptors");
	if (!w)
		return NULL;
	sem_init(&w->done, 0, 0);
	w->run = run;
	w->idle = idle;
	while (w->count < run->workers) {
		struct worker *x = &w->worker[w->count++];

		x->all = w;
		x->base = new_base();
		x->mailbox = x->base ? mailbox_new(x->base) : NULL;
		if (!x->mailbox) {
			workers_free(w);
			return NULL;
		}
	}
	return w;
}

unsigned workers_count(const struct workers *w)
{
	return w->count;
}

struct event_base *workers_base(const struct workers *w, unsigned i)
{
	return w->worker[i].base;
}

void workers_give(struct workers *w, unsigned i, void *worker)
{
	w->worker[i].object = worker;
}

static void *run(void *arg)
{
	struct worker *x = arg;

	while (!x->ending && x->all->run->busy_poll) {
		x->all->idle(x->object);
		event_base_loop(x->base, EVLOOP_NONBLOCK);
	}
	if (!x->ending)
		event_base_dispatch(x->base);
	return NULL;
}

/* The thread inherits its CPU, because the sandbox lets a thread set only its own. */
static int start(struct worker *x, unsigned number)
{
	const struct run_config *o = x->all->run;
	sigset_t all, before;
	cpu_set_t cpus, ours;
	int rc;

	if (o->n_cpus) {
		CPU_ZERO(&cpus);
		CPU_SET(o->cpus[number % o->n_cpus], &cpus);
		if (sched_getaffinity(0, sizeof(ours), &ours) || sched_setaffinity(0, sizeof(cpus), &cpus))
			return errno;
	}
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&x->thread, NULL, run, x);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (o->n_cpus)
		sched_setaffinity(0, sizeof(ours), &ours);
	x->running = rc == 0;
	return rc;
}

int workers_start(struct workers *w, char *err, size_t err_size)
{
	for (unsigned i = 0; i < w->count; i++) {
		int rc = start(&w->worker[i], i);

		if (!rc)
			continue;
		snprintf(err, err_size, "cannot start the thread of worker %u: %s", i,
			 rc == EAGAIN ? "no memory for its stack, or more threads than ulimit -u allows"
				      : strerror(rc));
		return -1;
	}
	return 0;
}

bool workers_post(struct workers *w, unsigned i, void (*fn)(void *worker, const void *data), const void *data,
		  size_t size)
{
	const struct worker *x = &w->worker[i];

	return mailbox_post(x->mailbox, fn, x->object, data, size);
}

struct call {
	void (*fn)(void *worker, void *sum);
	void *sum;
	sem_t *done;
};

static void on_call(void *worker, const void *data)
{
	const struct call *c = data;

	c->fn(worker, c->sum);
	sem_post(c->done);
}

/* Run fn(@object, @sum) in the thread of @x, and wait for it. */
static void call(struct worker *x, void *object, void (*fn)(void *object, void *sum), void *sum, sem_t *done)
{
	const struct call c = { fn, sum, done };
	const struct timespec while_full = { 0, NS_PER_MS };

	if (!x->running) {
		fn(object, sum);
		return;
	}
	while (!mailbox_post(x->mailbox, on_call, object, &c, sizeof(c)))
		nanosleep(&while_full, NULL);
	while (sem_wait(done) < 0)
		;
}

void workers_collect(struct workers *w, void (*fn)(void *worker, void *sum), void *sum)
{
	for (unsigned i = 0; i < w->count; i++)
		call(&w->worker[i], w->worker[i].object, fn, sum, &w->done);
}

static void end(void *arg, void *none)
{
	struct worker *x = arg;

	(void)none;
	x->ending = true;
	event_base_loopbreak(x->base);
}

void workers_stop(struct workers *w)
{
	for (unsigned i = 0; i < w->count; i++) {
		struct worker *x = &w->worker[i];

		if (!x->running)
			continue;
		call(x, x, end, NULL, &w->done);
		pthread_join(x->thread, NULL);
		x->running = false;
	}
}

void workers_free(struct workers *w)
{
	if (!w)
		return;
	workers_stop(w);
	for (unsigned i = 0; i < w->count; i++) {
		mailbox_free(w->worker[i].mailbox);
		if (w->worker[i].base)
			event_base_free(w->worker[i].base);
	}
	sem_destroy(&w->done);
	free(w);
}
