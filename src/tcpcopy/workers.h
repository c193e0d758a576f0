#ifndef TCPCOPY_WORKERS_H
#define TCPCOPY_WORKERS_H

#include "tcpcopy/pipeline.h"

/* The workers: threads, each with a pipeline of its own. All calls are the main thread's. */
struct workers;

/*
 * Open the pipelines of all workers; no thread is started yet. NULL with the reason in @err; what
 * one of them lacks, the program lacks.
 */
struct workers *workers_open(const struct config *c, char *err, size_t err_size);

/*
 * Start the threads. @started is called by @base's loop, once: when all workers have reached all
 * assistants, or with the reason as soon as one has not. -1 with @err.
 */
int workers_start(struct workers *w, struct event_base *base, void (*started)(const char *failed, void *arg),
		  void *arg, char *err, size_t err_size);

/*
 * Run @fn on each worker's pipeline, in that worker's own thread between two of its batches, one
 * worker after the other; returns when all have. @sum needs no lock. Before workers_start() and
 * after workers_stop() the caller's thread does it.
 */
void workers_collect(struct workers *w, void (*fn)(void *pipeline, void *sum), void *sum);

/* Reset what is open on the targets, end the threads. The counters stay readable. */
void workers_stop(struct workers *w);
void workers_close(struct workers *w);

#endif
