/*
 * Threads that have an event loop each.
 *
 * The main thread makes the loops, others hang their events into them, then the threads start. From
 * then on a loop and all that hangs in it belong to its thread; what another thread wants goes
 * through its mailbox. So the loops themselves need no locks.
 *
 * The threads block all signals: these are the main thread's.
 */
#include "program/threads.h"

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

struct thread {
	struct threads *all;
	unsigned number;
	pthread_t id;
	bool running, ending;
	struct event_base *base;
	struct mailbox *mailbox;
};

struct threads {
	const struct threads_options *options;
	unsigned count;
	sem_t done; /* a call of threads_call() */
	struct thread thread[THREADS_MAX];
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

struct threads *threads_new(const struct threads_options *o, char *err, size_t err_size)
{
	struct threads *t = calloc(1, sizeof(*t));

	snprintf(err, err_size, "cannot create the event loop: out of memory or file descriptors");
	if (!t)
		return NULL;
	sem_init(&t->done, 0, 0);
	t->options = o;
	while (t->count < o->count) {
		struct thread *x = &t->thread[t->count];

		x->all = t;
		x->number = t->count++;
		x->base = new_base();
		x->mailbox = x->base ? mailbox_new(x->base) : NULL;
		if (!x->mailbox) {
			threads_free(t);
			return NULL;
		}
	}
	return t;
}

struct event_base *threads_base(struct threads *t, unsigned i)
{
	return t->thread[i].base;
}

static void *run(void *arg)
{
	struct thread *x = arg;
	const struct threads_options *o = x->all->options;

	while (!x->ending && o->busy) {
		o->idle(x->number, o->arg);
		event_base_loop(x->base, EVLOOP_NONBLOCK);
	}
	if (!x->ending)
		event_base_dispatch(x->base);
	return NULL;
}

static int start(struct thread *x)
{
	const struct threads_options *o = x->all->options;
	sigset_t all, before;
	pthread_attr_t attr;
	cpu_set_t cpus;
	int rc;

	pthread_attr_init(&attr);
	if (o->n_cpus) {
		CPU_ZERO(&cpus);
		CPU_SET(o->cpus[x->number % o->n_cpus], &cpus);
		pthread_attr_setaffinity_np(&attr, sizeof(cpus), &cpus);
	}
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&x->id, &attr, run, x);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	x->running = rc == 0;
	return rc;
}

int threads_start(struct threads *t, char *err, size_t err_size)
{
	for (unsigned i = 0; i < t->count; i++) {
		int rc = start(&t->thread[i]);

		if (!rc)
			continue;
		snprintf(err, err_size, "cannot start the thread of worker %u: %s", i, strerror(rc));
		return -1;
	}
	return 0;
}

bool threads_post(struct threads *t, unsigned i, void (*fn)(void *arg, const void *data), void *arg,
		  const void *data, size_t size)
{
	return mailbox_post(t->thread[i].mailbox, fn, arg, data, size);
}

struct call {
	void (*fn)(void *a, void *b);
	void *a, *b;
	sem_t *done;
};

static void on_call(void *arg, const void *data)
{
	const struct call *c = data;

	(void)arg;
	c->fn(c->a, c->b);
	sem_post(c->done);
}

void threads_call(struct threads *t, unsigned i, void (*fn)(void *a, void *b), void *a, void *b)
{
	const struct call c = { fn, a, b, &t->done };
	const struct timespec while_full = { 0, NS_PER_MS };

	if (!t->thread[i].running) {
		fn(a, b);
		return;
	}
	while (!threads_post(t, i, on_call, NULL, &c, sizeof(c)))
		nanosleep(&while_full, NULL);
	while (sem_wait(&t->done) < 0)
		;
}

static void end(void *arg, void *none)
{
	struct thread *x = arg;

	(void)none;
	x->ending = true;
	event_base_loopbreak(x->base);
}

void threads_stop(struct threads *t)
{
	for (unsigned i = 0; i < t->count; i++) {
		struct thread *x = &t->thread[i];

		if (!x->running)
			continue;
		threads_call(t, i, end, x, NULL);
		pthread_join(x->id, NULL);
		x->running = false;
	}
}

void threads_free(struct threads *t)
{
	if (!t)
		return;
	threads_stop(t);
	for (unsigned i = 0; i < t->count; i++) {
		mailbox_free(t->thread[i].mailbox);
		if (t->thread[i].base)
			event_base_free(t->thread[i].base);
	}
	sem_destroy(&t->done);
	free(t);
}
