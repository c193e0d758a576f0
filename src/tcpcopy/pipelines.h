#ifndef TCPCOPY_PIPELINES_H
#define TCPCOPY_PIPELINES_H

#include "program/workers.h"
#include "tcpcopy/pipeline.h"

struct mailbox;

/* The pipelines of all workers, opened and closed together. Only the main thread may call these functions. */
struct pipelines {
	struct workers *workers;
	struct fanout spread;
	struct paths paths;
	struct gates gates;   /* to new sessions */
	unsigned count;       /* pipelines that were opened, and have to be closed */
	struct mailbox *news; /* to the main thread: how the start goes */
	unsigned up;
	bool told;
	void (*started)(const char *failed, void *arg);
	void (*ended)(void *arg);
	void *started_arg;
	struct pipeline pipeline[FANOUT_MAX_WORKERS];
};

/*
 * Open a pipeline for each worker of @w, which have not been started. If one of them cannot be opened, all of
 * it fails. @plan: of own addresses; NULL: there are assistants. *c, @plan and @w must outlive the pipelines.
 * Returns 0, or -1 with the reason in @err. Call pipelines_close() in either case.
 */
int pipelines_open(struct pipelines *p, const struct config *c, const struct plan *plan, struct workers *w,
		   char *err, size_t err_size);

/*
 * Replay @r in the first of them, which was opened and is the only one. @ended is called when it is over,
 * from the loop and with the argument of pipelines_start(). *r is the pipeline's from now on. Returns 0, or
 * -1 if out of memory.
 */
int pipelines_replay(struct pipelines *p, struct recording *r, void (*ended)(void *arg));

/* Let them give *r what they capture. */
void pipelines_record(struct pipelines *p, struct record *r);

/*
 * Start the pipelines and their workers. @started is called once, from @base's loop: with NULL when all
 * workers have their way back, or with the reason as soon as one of them has failed. Returns 0, or -1
 * with words in @err.
 */
int pipelines_start(struct pipelines *p, struct event_base *base,
		    void (*started)(const char *failed, void *arg), void *arg, char *err, size_t err_size);

/* Reset what is open on the targets, and end the threads. The counters can still be read. */
void pipelines_stop(struct pipelines *p);

/* End the ways back, and close all pipelines. The workers are not running. */
void pipelines_close(struct pipelines *p);

#endif
