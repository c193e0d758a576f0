#ifndef INTERCEPT_PIPELINE_H
#define INTERCEPT_PIPELINE_H

#include "base/siphash.h"
#include "intercept/check/findings.h"
#include "intercept/clients/admission.h"
#include "intercept/clients/clients.h"
#include "intercept/config.h"
#include "intercept/hole/announce.h"
#include "intercept/report/stats.h"
#include "intercept/watch/early.h"
#include "intercept/watch/orphans.h"
#include "intercept/watch/relay.h"
#include "intercept/watch/route.h"
#include "intercept/watch/state.h"
#include "packet/segment.h"

struct event_base;
struct event;
struct pipelines;

/*
 * Everything that one worker of a running intercept has. pipeline.c shows the order in which its parts are
 * called.
 */
struct pipeline {
	const struct config *config;
	struct pipelines *all; /* those of all workers */
	unsigned worker;       /* the index of this one */
	struct siphash_key key;
	struct stats stats;
	struct captures *captures;
	struct route *route;
	struct early *early;
	struct orphans *orphans;
	struct state *state; /* NULL: none is kept */
	struct relay *relay;
	struct clients *clients;
	struct findings *findings;
	struct announce announce;
	struct event *tick;
};

/*
 * The stages of one worker, in the event loop @base. Its captures have no sources yet. @c and @admission must
 * outlive it; the caller sets `all` and `worker`. Returns NULL if memory ran out.
 */
struct pipeline *pipeline_new(struct event_base *base, const struct config *c, struct admission *admission);
/*
 * Processes a captured segment: its record goes to the owner of its watch, or it waits for a WATCH. @ifindex
 * and @pkttype are those of its struct raw_packet. Call this in the worker's own thread.
 */
void pipeline_segment(struct pipeline *p, const struct segment *s, int ifindex, uint8_t pkttype);
/*
 * Reads what has been captured. A worker that never sleeps (--busy-poll) calls this between the turns of its
 * loop.
 */
void pipeline_idle(void *pipeline);
/*
 * Saves the state of --state, tells the clients that intercept is stopping, and frees everything. NULL: no
 * effect.
 */
void pipeline_close(struct pipeline *p);

#endif
