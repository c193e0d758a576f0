#ifndef TCPCOPY_PIPELINES_H
#define TCPCOPY_PIPELINES_H

#include "program/workers.h"
#include "tcpcopy/pipeline.h"

struct mailbox;

/* The pipelines of all workers, opened and closed together. All calls are the main thread's. */
struct pipelines {
	struct workers *workers;
	struct fanout spread;
	unsigned count;       /* that pipeline_close() is to be called for */
	struct mailbox *news; /* to the main thread: how the start goes */
	unsigned up;
	bool told;
	void (*started)(const char *failed, void *arg);
	void *started_arg;
	struct pipeline pipeline[FANOUT_MAX_WORKERS];
};

/*
 * Open a pipeline for each of @w, which has not been started; what one of them lacks, the program lacks. Both
 * must outlive them. 0; or -1 with the reason in @err, and pipelines_close() is still to be called.
 */
int pipelines_open(struct pipelines *p, const struct config *c, struct workers *w, char *err,
		   size_t err_size);

/*
 * Put the pipelines into their workers' loops and start these. @started is called by @base's loop, once: when
 * all workers have reached all assistants, or with the reason as soon as one has not. 0, or -1 with @err.
 */
int pipelines_start(struct pipelines *p, struct event_base *base,
		    void (*started)(const char *failed, void *arg), void *arg, char *err, size_t err_size);

/* Reset what is open on the targets, end the threads. The counters stay readable. */
void pipelines_stop(struct pipelines *p);
void pipelines_close(struct pipelines *p);

#endif
