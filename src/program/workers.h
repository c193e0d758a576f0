#ifndef PROGRAM_WORKERS_H
#define PROGRAM_WORKERS_H

#include <stdbool.h>
#include <stddef.h>

#include "program/options.h"

struct event_base;

/*
 * The workers of a program: threads with an event loop each, which share nothing. Each has one object of the
 * program's, which no other thread touches while the worker runs. Only the main thread may call these
 * functions, except for workers_post().
 */
struct workers;

/*
 * Make the loops of as many workers as *run says, without starting a thread. With --busy-poll a loop never
 * sleeps, and calls @idle with the worker's object between its turns. *run must outlive the workers. Returns
 * NULL with words in @err on failure.
 */
struct workers *workers_new(const struct run_config *run, void (*idle)(void *worker), char *err,
			    size_t err_size);
/* How many workers there are. */
unsigned workers_count(const struct workers *w);

/* The event loop of worker @i, counted from 0, to which its object adds events before the start. */
struct event_base *workers_base(const struct workers *w, unsigned i);

/* Give worker @i its object, before the start. The caller frees the object after workers_stop(). */
void workers_give(struct workers *w, unsigned i, void *worker);

/* Start the threads. Returns 0, or -1 with words in @err; some of them may then run until workers_stop(). */
int workers_start(struct workers *w, char *err, size_t err_size);

/*
 * Call @fn with each worker's object and @sum, in that worker's own thread between two turns of its loop,
 * one worker after the other, so that @sum needs no lock. Returns when all are done. Before the start and
 * after the end, the calling thread does it.
 */
void workers_collect(struct workers *w, void (*fn)(void *worker, void *sum), void *sum);

/*
 * Let the thread of worker @i call @fn with its object and a copy of the @size bytes at @data (at most
 * MAILBOX_DATA). May be called by any thread, also before the start. Returns false if too much is waiting
 * there already.
 */
bool workers_post(struct workers *w, unsigned i, void (*fn)(void *worker, const void *data), const void *data,
		  size_t size);

/* End the loops and wait for the threads. The objects stay. Does nothing if they are not running. */
void workers_stop(struct workers *w);

/* Free the workers, which are not running and whose loops have no events any more. @w may be NULL. */
void workers_free(struct workers *w);

#endif
