/*
 * Workers - theory of operation
 *
 * A worker is a thread with an event loop and a pipeline: capture sockets, sessions, timers, sink,
 * connections to the assistants. Nothing of that is seen by another thread, so nothing has a lock; the
 * configuration is shared and constant. The kernel spreads connections over the workers (io/fanout), and
 * the answers to a session come on the connection of the worker that announced it.
 *
 * Everything is opened by the main thread, one worker after the other, so that a start succeeds whole or
 * fails with a reason. Then the threads start, and the main thread has signals and reports only. What it
 * wants of a worker it has that one's thread do, and waits; the other way, a worker tells only how its
 * start went, once, by a letter.
 */
#include "tcpcopy/workers.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "program/mailbox.h"
#include "program/threads.h"
#include "tcpcopy/sources.h"

_Static_assert(THREADS_MAX == FANOUT_MAX_WORKERS, "each worker has a thread");

struct workers {
	struct threads_options options;
	struct threads *threads;
	struct fanout spread;
	unsigned count;
	/* how the start goes */
	struct mailbox *news; /* to the main thread */
	unsigned up;
	bool told;
	void (*started)(const char *failed, void *arg);
	void *started_arg;
	struct pipeline pipeline[FANOUT_MAX_WORKERS];
};

/* In the main thread. */
static void on_news(void *arg, const void *failed)
{
	struct workers *w = arg;
	const char *words = failed;

	w->up++;
	if (w->told || (!words[0] && w->up < w->count))
		return;
	w->told = true;
	w->started(words[0] ? words : NULL, w->started_arg);
}

/* A worker's first round of connections is over. In its thread. */
static void on_first_round(const char *failed, void *arg)
{
	struct workers *w = arg;
	char words[MAILBOX_DATA];

	snprintf(words, sizeof(words), "%s", failed ? failed : "");
	mailbox_post(w->news, on_news, w, words, sizeof(words));
}

static void on_idle(unsigned i, void *arg)
{
	struct workers *w = arg;

	pipeline_readable(-1, 0, &w->pipeline[i]);
}

struct workers *workers_open(const struct config *c, char *err, size_t err_size)
{
	struct workers *w = calloc(1, sizeof(*w));
	struct pipeline *p[FANOUT_MAX_WORKERS];

	snprintf(err, err_size, "out of memory");
	if (!w)
		return NULL;
	w->options = (struct threads_options){ .count = c->run.workers,
					       .cpus = c->run.cpus,
					       .n_cpus = c->run.n_cpus,
					       .busy = c->run.busy_poll,
					       .idle = on_idle,
					       .arg = w };
	w->spread = (struct fanout){ .workers = c->run.workers, .source_port_only = c->n_pool > 0 };
	if (getrandom(&w->spread.seed, sizeof(w->spread.seed), 0) != sizeof(w->spread.seed))
		goto failed;
	w->threads = threads_new(&w->options, err, err_size);
	if (!w->threads)
		goto failed;
	while (w->count < c->run.workers) {
		const unsigned i = w->count++;

		p[i] = &w->pipeline[i];
		if (pipeline_open(p[i], c, &w->spread, i, threads_base(w->threads, i), err, err_size))
			goto failed;
		p[i]->started = on_first_round;
		p[i]->started_arg = w;
	}
	if (sources_open(p, err, err_size) == 0)
		return w;
failed:
	workers_close(w);
	return NULL;
}

int workers_start(struct workers *w, struct event_base *base, void (*started)(const char *failed, void *arg),
		  void *arg, char *err, size_t err_size)
{
	w->started = started;
	w->started_arg = arg;
	w->news = mailbox_new(base);
	snprintf(err, err_size, "out of memory");
	if (!w->news)
		return -1;
	for (unsigned i = 0; i < w->count; i++)
		if (pipeline_start(&w->pipeline[i]))
			return -1;
	return threads_start(w->threads, err, err_size);
}

void workers_collect(struct workers *w, void (*fn)(void *pipeline, void *sum), void *sum)
{
	for (unsigned i = 0; i < w->count; i++)
		threads_call(w->threads, i, fn, &w->pipeline[i], sum);
}

static void stop(void *pipeline, void *none)
{
	(void)none;
	pipeline_stop(pipeline);
}

void workers_stop(struct workers *w)
{
	for (unsigned i = 0; i < w->count; i++)
		threads_call(w->threads, i, stop, &w->pipeline[i], NULL);
	threads_stop(w->threads);
}

void workers_close(struct workers *w)
{
	if (!w)
		return;
	if (w->threads)
		threads_stop(w->threads);
	for (unsigned i = 0; i < w->count; i++)
		pipeline_close(&w->pipeline[i]);
	threads_free(w->threads);
	mailbox_free(w->news);
	free(w);
}
