#ifndef TCPCOPY_ASSISTANTS_H
#define TCPCOPY_ASSISTANTS_H

#include "channel/conn.h"
#include "tcpcopy/config/config.h"

struct event_base;
struct pipeline;

/*
 * The assistants as a return path (returns.h): the connections of one worker to all workers of all
 * assistants. They are made at the start and made again within a second whenever one is lost. All calls are
 * the worker's thread's.
 */
struct assistants;

struct assistants_counters {
	uint64_t connects, losses_of_connection, attempts_failed, messages_dropped;
	struct msg_loss remote; /* sums over assistants and connections */
};

/* @p: whose worker this is, and who is told by the functions of returns.h. NULL if memory ran out. */
struct assistants *assistants_new(struct event_base *base, const struct config *c, unsigned worker,
				  struct pipeline *p);
void assistants_free(struct assistants *a); /* says BYE to all; @a may be NULL */

/* Ask for the responses of session @id, whose tuple is @response (src: the target), or ask for no more. */
void assistants_watch(struct assistants *a, uint64_t id, const struct tuple *response);
void assistants_unwatch(struct assistants *a, uint64_t id, const struct tuple *response);

/* How many assistants_watch() that can wait may follow now: none while an output is far behind. */
unsigned assistants_room(const struct assistants *a);

unsigned assistants_up(const struct assistants *a); /* assistants whose workers are all connected */
const struct assistants_counters *assistants_counters(const struct assistants *a);

#endif
