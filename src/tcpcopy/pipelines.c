/*
 * The pipelines of all workers - theory of operation
 *
 * A worker has a pipeline: capture sockets, sessions, timers, sink, connections to the assistants. Nothing of
 * that is seen by another thread, so nothing has a lock; the configuration is shared and constant, and of the
 * ways to the targets (paths.h) a flag for each rule is shared. The kernel
 * spreads connections over the workers by the client's port (io/capture/fanout.h), so that each worker knows
 * who else uses a source that it chooses (mapping.c), and the answers to a session come on the connection of
 * the worker that announced it. Without assistants it spreads them by both ends, so that a worker gets the
 * answers to the ports that it uses (returns/own.c).
 *
 * Everything is opened by the main thread, one worker after the other, so that a start succeeds whole or
 * fails with a reason. Then the threads start, and the main thread has signals and reports only. What it
 * wants of a worker it has that one's thread do, and waits; the other way, a worker tells only how its start
 * went, once, by a letter.
 */
#include "tcpcopy/pipelines.h"

#include <event2/event.h>
#include <stdio.h>
#include <sys/random.h>

#include "program/mailbox.h"
#include "tcpcopy/sources.h"

_Static_assert(RUN_MAX_WORKERS == FANOUT_MAX_WORKERS, "each worker has a pipeline");

/* In the main thread. */
static void on_news(void *arg, const void *failed)
{
	struct pipelines *p = arg;
	const char *words = failed;

	p->up++;
	if (p->told || (!words[0] && p->up < p->count))
		return;
	p->told = true;
	p->started(words[0] ? words : NULL, p->started_arg);
}

/* A worker's first round of connections is over. In its thread. */
static void on_first_round(const char *failed, void *arg)
{
	struct pipelines *p = arg;
	char words[MAILBOX_DATA];

	snprintf(words, sizeof(words), "%s", failed ? failed : "");
	mailbox_post(p->news, on_news, p, words, sizeof(words));
}

/* In the main thread. */
static void on_replayed(void *arg, const void *none)
{
	struct pipelines *p = arg;

	(void)none;
	p->ended(p->started_arg);
}

/* In the worker's. */
static void on_end_of_replay(void *arg)
{
	struct pipelines *p = arg;

	mailbox_post(p->news, on_replayed, p, "", 1);
}

int pipelines_replay(struct pipelines *p, struct recording *r, void (*ended)(void *arg))
{
	struct pipeline *first = &p->pipeline[0];
	struct siphash_key key;

	p->ended = ended;
	first->replayed = on_end_of_replay;
	if (getrandom(&key, sizeof(key), 0) != sizeof(key)) {
		recording_close(r);
		return -1;
	}
	first->replay = replay_new(first, r, &key);
	return first->replay ? 0 : -1;
}

void pipelines_record(struct pipelines *p, struct record *r)
{
	for (unsigned i = 0; i < p->count; i++)
		p->pipeline[i].record = record_worker(r, i);
}

int pipelines_open(struct pipelines *p, const struct config *c, const struct plan *plan, struct workers *w,
		   char *err, size_t err_size)
{
	struct pipeline *list[FANOUT_MAX_WORKERS];

	p->workers = w;
	if (fanout_init(&p->spread, workers_count(w), !plan)) {
		snprintf(err, err_size, "the kernel gives no random bytes");
		return -1;
	}
	while (p->count < workers_count(w)) {
		const unsigned i = p->count++;

		list[i] = &p->pipeline[i];
		if (pipeline_open(list[i], c, plan, &p->spread, i, workers_base(w, i), err, err_size))
			return -1;
		list[i]->workers = w;
		list[i]->paths = &p->paths;
		list[i]->gates = &p->gates;
		list[i]->started = on_first_round;
		list[i]->started_arg = p;
		workers_give(w, i, list[i]);
	}
	return sources_open(list, err, err_size);
}

int pipelines_start(struct pipelines *p, struct event_base *base,
		    void (*started)(const char *failed, void *arg), void *arg, char *err, size_t err_size)
{
	p->started = started;
	p->started_arg = arg;
	p->news = mailbox_new(base);
	snprintf(err, err_size, "out of memory or file descriptors");
	if (!p->news)
		return -1;
	for (unsigned i = 0; i < p->count; i++)
		if (pipeline_start(&p->pipeline[i]))
			return -1;
	return workers_start(p->workers, err, err_size);
}

static void stop(void *pipeline, void *none)
{
	(void)none;
	pipeline_stop(pipeline);
}

void pipelines_stop(struct pipelines *p)
{
	workers_collect(p->workers, stop, NULL);
	workers_stop(p->workers);
}

void pipelines_close(struct pipelines *p)
{
	for (unsigned i = 0; i < p->count; i++)
		pipeline_close(&p->pipeline[i]);
	mailbox_free(p->news);
}
