#ifndef TCPCOPY_PIPELINE_H
#define TCPCOPY_PIPELINE_H

#include "io/capture/fanout.h"
#include "io/inject/sink.h"
#include "io/capture/source.h"
#include "tcpcopy/answers.h"
#include "tcpcopy/batch.h"
#include "tcpcopy/choice/gates.h"
#include "tcpcopy/choice/limits.h"
#include "tcpcopy/classify.h"
#include "tcpcopy/config/config.h"
#include "tcpcopy/mapping.h"
#include "tcpcopy/paths.h"
#include "tcpcopy/record/record.h"
#include "session/session.h"
#include "tcpcopy/replay/replay.h"
#include "tcpcopy/replies.h"
#include "tcpcopy/returns/inflow.h"
#include "tcpcopy/returns/own.h"
#include "tcpcopy/returns/returns.h"
#include "tcpcopy/stray.h"

#define RESETS_MOST 64
#define SETTLED (100 * NS_PER_MS) /* what a source has not shown by then it has not got */

struct event_base;
struct event;
struct workers;

/* One worker: capture, classification, sessions, injection, and the way back. No other worker touches it. */
struct pipeline {
	const struct config *config;
	struct event_base *base;
	struct workers *workers; /* of which this is one; set after pipeline_open() */
	struct fanout spread;    /* of connections over the workers */
	unsigned worker;         /* the number of this one, from 0 */
	struct source *source[CONFIG_MAX_INTERFACES];
	struct event *readable[CONFIG_MAX_INTERFACES];
	/* ns; everything that was captured before this was taken from the source */
	uint64_t taken_until[CONFIG_MAX_INTERFACES];
	uint64_t taken_all; /* ns, the earliest of them */
	uint64_t newest;    /* ns, capture time of the packet that was taken last */
	unsigned n_sources;
	struct sink *sink;
	struct dry *dry;        /* which has the sink, in a dry run; NULL: it is none */
	struct event *routing;  /* routing has changed, for the sink; NULL: it does not follow routing */
	struct source *replies; /* what the online server sends; see replies.h */
	uint64_t replies_seen;  /* of this worker's connections */
	struct event *replying; /* it has sent something */
	struct event *resume;   /* after a pause, in which that wakes nobody */
	bool replies_pause;     /* so it is read ahead of each batch */
	bool behind;            /* the source that was read last has more */
	bool opening;           /* a SYN is in the batch */
	unsigned n_resets;      /* of the online server, to be told when what was captured before is */
	struct reset {
		struct flow_key key;
		struct segment segment; /* without its payload and its raw options */
	} reset[RESETS_MOST];
	/* of each rule, in the log */
	bool said_unproved[CONFIG_MAX_RULES], said_source[CONFIG_MAX_RULES];
	bool said_mptcp[CONFIG_MAX_RULES];
	bool said_taken[CONFIG_MAX_RULES];
	bool said_given_up[CONFIG_MAX_RULES], said_stopped[CONFIG_MAX_RULES];
	bool said_heard;
	struct event *second;           /* once a second */
	uint64_t drops_known;           /* packets dropped by the kernel that the engine has been told of */
	unsigned mtu_changes;           /* the value of the sink's counter that the engine has been told of */
	struct paths *paths;            /* of all workers; set after pipeline_open() */
	bool probing[CONFIG_MAX_RULES]; /* its engine has claimed the probe of the rule there */
	struct returns *returns;        /* NULL: not begun, or over */
	const struct plan *plan;        /* of own addresses; NULL: there are assistants */
	struct own *own;                /* the same as returns, if there is a plan */
	struct inflow inflow;           /* of answers to it */
	bool said_inflow;               /* in the log, that it is over */
	bool by_loopback;               /* what is taken was captured on loopback */
	bool said_from_here;            /* in the log, that a client is on this host */
	struct mapping *mapping;
	struct online *online;   /* this host's sockets; NULL: they cannot be looked at */
	struct answers answers;  /* to the engine's questions */
	struct local *local;     /* this host's addresses; NULL: not known, so every address counts as one */
	struct event *addresses; /* they have changed */
	struct engine *engine;
	struct event *timer;
	uint64_t timer_at; /* ns, what the timer event is set to; UINT64_MAX: off */
	uint64_t now;      /* ns, of the present batch */
	struct classify_counters classified;
	struct choice choice;      /* of the configuration; its time begins when the way back is up */
	struct limits limits;      /* of the sessions that begin */
	const struct gates *gates; /* of all workers; set after pipeline_open() */
	struct batch batch;        /* captured, on the way to the engine */
	struct flow_key last;      /* of the segment that was captured last; client port 0: there was none */
	struct stray_counters strays;
	struct record_worker *record; /* --write; NULL: nothing is written */
	unsigned source_now;          /* of what is being taken */
	struct replay *replay;        /* of recorded traffic, in place of live capture; NULL: none */
	void (*replayed)(void *arg);  /* it is over */
	void (*started)(const char *failed, void *arg); /* the first round of connections is over */
	void *started_arg;
};

/*
 * Build the stages of worker @worker (from 0) in @base's loop, and open everything that needs privilege,
 * except for the sources. *c and *plan (of own addresses, or NULL) must outlive it. Returns 0, or -1 with the
 * reason in @err. Call pipeline_close() in either case.
 */
int pipeline_open(struct pipeline *p, const struct config *c, const struct plan *plan,
		  const struct fanout *spread, unsigned worker, struct event_base *base, char *err,
		  size_t err_size);

/*
 * Add the stages to the event loop, and bring up the way back. Returns 0, or -1 if out of
 * memory.
 */
int pipeline_start(struct pipeline *p);

/* An event callback: take what the source with the descriptor @fd has; -1: what any source has. */
void pipeline_readable(int fd, short what, void *pipeline);

/* An event callback: take what was captured of the online server's own segments. */
void pipeline_replies(int fd, short what, void *pipeline);

/* Take what all sources have. A worker that never sleeps does this between the turns of its loop. */
void pipeline_idle(void *pipeline);

/* Capture no more, and reset what is open on the targets. The counters can still be read. */
void pipeline_stop(struct pipeline *p);

/* End the way back, and close everything. */
void pipeline_close(struct pipeline *p);

/* Between the files of the pipeline. */

/*
 * pipeline.c, which also has the functions of returns.h: an event callback, when something is due in the
 * engine.
 */
void pipeline_timer(int fd, short what, void *pipeline);

/* pipeline_engine.c: the actions of the engine. Each @arg is the pipeline. */
extern const struct engine_ops pipeline_ops;

/* pipeline_engine.c: give the engine the responses that were collected, with the time p->now. */
void pipeline_give_responses(struct pipeline *p);

/* pipeline.c: all that came together was given to the engine; the end of a batch. */
void pipeline_batch_done(struct pipeline *p);

/*
 * pipeline_engine.c, at the end of a batch: give the engine the responses, and what it waits for, which is
 * answers and room. Returns when something is due in it (ns), or UINT64_MAX if nothing is.
 */
uint64_t pipeline_settle(struct pipeline *p);

/*
 * pipeline_host.c: let the sink follow changes of routing, and tell the engine of packets that the kernel
 * dropped. Returns 0, or -1 if out of memory.
 */
int pipeline_watch_host(struct pipeline *p);

/* Give the engine what the source with the descriptor @fd has; -1: what all sources have. Sets p->now. */
void pipeline_capture(struct pipeline *p, int fd);

/* pipeline_capture.c, before a batch: with -g, the engine has not seen all of what it meets. */
void pipeline_choice_grows(struct pipeline *p);

/*
 * pipeline_host.c: @n packets of source @i were taken and given to the engine. Tell the engine up to which
 * capture time it now has everything from all sources.
 */
void pipeline_progress(struct pipeline *p, unsigned i, unsigned n);

/* pipeline_host.c: if the MTUs of the targets have changed, tell the engine, unless -M sets them. */
void pipeline_follow_mtu(struct pipeline *p);

#endif
