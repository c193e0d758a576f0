#ifndef INTERCEPT_STAGES_H
#define INTERCEPT_STAGES_H

#include "base/siphash.h"
#include "intercept/announce.h"
#include "intercept/early.h"
#include "intercept/orphans.h"
#include "intercept/peers.h"
#include "intercept/probe.h"
#include "intercept/relay.h"
#include "intercept/route.h"
#include "intercept/state.h"
#include "intercept/stats.h"

struct event;
struct workers;

/* Everything that a running intercept has. pipeline.c says in which order its parts are called. */
struct pipeline {
	const struct config *config;
	struct workers *workers; /* all, and ... */
	unsigned worker;         /* ... which one this is */
	struct siphash_key key;
	struct stats stats;
	struct captures *captures;
	struct route *route;
	struct early *early;
	struct orphans *orphans;
	struct state *state; /* NULL: none is kept */
	struct relay *relay;
	struct peers *peers;
	struct guard *guard; /* of all workers; not owned */
	struct probe *probe;
	struct announce announce;
	struct event *tick;
	bool leaks; /* the kernel was found forwarding; said once */
};

/* watch.c: the connections' messages, as peers.h has them; @arg is the pipeline. */
extern const struct peers_handler watch_handler;
void watch_release_all(struct pipeline *p, struct peer *peer);
/* No owner came for the segment @r of @t. */
void watch_given_up(const struct tuple *t, const struct response *r, void *pipeline);

uint64_t now_ns(void); /* CLOCK_MONOTONIC */

#endif
