#ifndef PROGRAM_THREADS_H
#define PROGRAM_THREADS_H

#include <stdbool.h>
#include <stddef.h>

struct event_base;

/* Threads with an event loop each, that share nothing: the workers of both programs. */
struct threads;

#define THREADS_MAX 32u

struct threads_options {
	unsigned count; /* 1 to THREADS_MAX */
	/* Thread i stays on the i-th of these processors, and so round; n_cpus 0: on any. */
	const unsigned *cpus;
	unsigned n_cpus;
	/* The loops never sleep; @idle is called between their turns. */
	bool busy;
	void (*idle)(unsigned i, void *arg);
	void *arg;
};

/* The loops; no thread is started yet. @o must outlive it. NULL with words in @err. */
struct threads *threads_new(const struct threads_options *o, char *err, size_t err_size);
struct event_base *threads_base(struct threads *t, unsigned i);
int threads_start(struct threads *t, char *err, size_t err_size); /* -1 with @err */

/*
 * Run fn(a, b) in thread @i, between two turns of its loop; returns when it has run. Where the thread
 * does not run (yet, or any more) the caller's does it. For the main thread alone.
 */
void threads_call(struct threads *t, unsigned i, void (*fn)(void *a, void *b), void *a, void *b);
/* See mailbox_post(). From any thread; also before the start. */
bool threads_post(struct threads *t, unsigned i, void (*fn)(void *arg, const void *data), void *arg,
		  const void *data, size_t size);

void threads_stop(struct threads *t); /* end the loops, wait for the threads */
void threads_free(struct threads *t); /* stopped; nothing may hang in the loops any more */

#endif
