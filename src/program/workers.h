#ifndef PROGRAM_WORKERS_H
#define PROGRAM_WORKERS_H

#include <stdbool.h>
#include <stddef.h>

#include "program/options.h"

struct event_base;

/*
 * The workers of a program: threads with an event loop each, that share nothing. To each belongs one object,
 * which is the program's and which only this thread touches while it runs. All calls but workers_post() are
 * the main thread's.
 */
struct workers;

/*
 * The loops of as many workers as @run says; no thread is started yet. With --busy-poll a loop never sleeps,
 * and @idle is called with the worker's object between its turns. @run must outlive it. NULL with words in
 * @err.
 */
struct workers *workers_new(const struct run_config *run, void (*idle)(void *worker), char *err,
			    size_t err_size);
unsigned workers_count(const struct workers *w);
struct event_base *workers_base(const struct workers *w, unsigned i);
/* What belongs to worker @i, before the start. It is freed by who made it, after workers_stop(). */
void workers_give(struct workers *w, unsigned i, void *worker);
int workers_start(struct workers *w, char *err, size_t err_size); /* -1 with @err */

/*
 * Run @fn on each worker's object, in that worker's own thread between two turns of its loop, one worker
 * after the other; returns when all have. So @sum needs no lock. Before the start and after the end the
 * caller's thread does it.
 */
void workers_collect(struct workers *w, void (*fn)(void *worker, void *sum), void *sum);

/*
 * Have @fn called in the thread of worker @i, with its object and a copy of @size bytes at @data (at most
 * MAILBOX_DATA). From any thread, also before the start; false: too much waits there already.
 */
bool workers_post(struct workers *w, unsigned i, void (*fn)(void *worker, const void *data), const void *data,
		  size_t size);

void workers_stop(struct workers *w); /* end the loops, wait for the threads */
void workers_free(struct workers *w); /* stopped, or never started; nothing may hang in the loops; or NULL */

#endif
