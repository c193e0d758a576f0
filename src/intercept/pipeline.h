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

/* Everything that a running intercept has. pipeline.c says in which order its parts are called. */
struct pipeline {
	const struct config *config;
	struct pipelines *all; /* of all workers, and ... */
	unsigned worker;       /* ... whose this one is */
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

/* The stages of one worker in @base, with captures that have no source yet. NULL: no memory. */
struct pipeline *pipeline_new(struct event_base *base, const struct config *c, struct admission *admission);
/* A segment that another worker captured; see struct raw_packet for the last two. */
void pipeline_segment(struct pipeline *p, const struct segment *s, int ifindex, uint8_t pkttype);
/* Take what is captured: what a worker that never sleeps does between the turns of its loop. */
void pipeline_idle(void *pipeline);
void pipeline_close(struct pipeline *p);

#endif
