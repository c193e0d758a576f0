#ifndef TCPCOPY_PIPELINE_H
#define TCPCOPY_PIPELINE_H

#include "io/capture/fanout.h"
#include "io/inject/sink.h"
#include "io/capture/source.h"
#include "tcpcopy/answers.h"
#include "tcpcopy/batch.h"
#include "tcpcopy/classify.h"
#include "tcpcopy/config/config.h"
#include "tcpcopy/mapping.h"
#include "tcpcopy/assistants.h"
#include "session/session.h"
#include "tcpcopy/replies.h"
#include "tcpcopy/stray.h"

struct event_base;
struct event;

/*
 * One worker: capture, classify, session, inject, and the way back. Everything in it belongs to this worker
 * alone.
 */
struct pipeline {
	const struct config *config;
	struct event_base *base;
	struct fanout spread; /* of connections over workers; ours are those of ... */
	unsigned worker;      /* ... this one */
	struct source *source[CONFIG_MAX_INTERFACES];
	struct event *readable[CONFIG_MAX_INTERFACES];
	uint64_t taken_until[CONFIG_MAX_INTERFACES]; /* ns: what each captured before has been taken */
	uint64_t newest;                             /* ns, capture time of what was taken last */
	unsigned n_sources;
	struct sink *sink;
	struct event *routing;  /* the sink hears of changes; NULL: it does not listen */
	struct source *replies; /* what the online server says; see replies.h */
	struct event *replying; /* some has come */
	bool said_unproved[CONFIG_MAX_RULES];
	struct event *second; /* once a second */
	uint64_t drops_known; /* packets that the kernel dropped, as the engine knows */
	unsigned mtu_changes; /* of the sink's, those that the engine knows */
	struct assistants *assistants;
	struct mapping *mapping;
	struct answers answers;  /* to the engine's questions */
	struct local *local;     /* the host's addresses; NULL: not known, then all are */
	struct event *addresses; /* they have changed */
	struct engine *engine;
	struct event *timer;
	uint64_t timer_at; /* ns, what the timer event is set to; UINT64_MAX: off */
	uint64_t now;      /* ns, of the batch in hand */
	struct classify_counters classified;
	struct batch batch;   /* captured, on the way to the engine */
	struct flow_key last; /* what was captured last; client port 0: nothing */
	struct stray_counters strays;
	void (*started)(const char *failed, void *arg); /* the first round of connections is over */
	void *started_arg;
};

/*
 * Open everything but the sources that needs privilege, and build the stages of worker @worker. 0, or -1
 * with the reason in @err. On failure call pipeline_close() as well.
 */
int pipeline_open(struct pipeline *p, const struct config *c, const struct fanout *spread, unsigned worker,
		  struct event_base *base, char *err, size_t err_size);
/* Put the stages into the event loop. -1: out of memory. */
int pipeline_start(struct pipeline *p);
/* An event: take what the source with descriptor @fd has; -1: what any has. */
void pipeline_readable(int fd, short what, void *pipeline);
/* An event: take what the online server has said. */
void pipeline_replies(int fd, short what, void *pipeline);
/* Take what all sources have: what a worker that never sleeps does between the turns of its loop. */
void pipeline_idle(void *pipeline);
/* Take nothing more, reset what is open on the targets. The counters stay readable. */
void pipeline_stop(struct pipeline *p);
/* Say BYE to the assistants, close everything. */
void pipeline_close(struct pipeline *p);

/* Between the files of the pipeline. */

/* pipeline.c, which also has the functions of returns.h: an event, the engine's next deadline has come. */
void pipeline_timer(int fd, short what, void *pipeline);

/*
 * pipeline_engine.c
 *
 * What the engine wants; each @arg is the pipeline.
 */
extern const struct engine_ops pipeline_ops;
/* Give the engine the responses that were collected, at the time of now. */
void pipeline_give_responses(struct pipeline *p);
/*
 * At the end of a batch: give the engine the responses, and what it waits for: answers and room. Returns when
 * it is to be called next; ns, UINT64_MAX: not by the time.
 */
uint64_t pipeline_settle(struct pipeline *p);

/*
 * pipeline_host.c
 *
 * Let the sink hear of changes of routing, and the engine of packets that the kernel dropped. -1: out of
 * memory.
 */
int pipeline_watch_host(struct pipeline *p);
/* @n packets of source @i were taken and given to the engine: how far have all sources come? */
void pipeline_progress(struct pipeline *p, unsigned i, unsigned n);
/* Tell the engine the MTUs of its targets when they have changed, unless -M says what they are. */
void pipeline_follow_mtu(struct pipeline *p);

#endif
