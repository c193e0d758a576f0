#ifndef TCPCOPY_ASSISTANTS_H
#define TCPCOPY_ASSISTANTS_H

#include "channel/conn.h"
#include "tcpcopy/config/config.h"

struct event_base;
struct pipeline;

/*
 * The assistants as a return path (returns.h): the connections of one worker to all workers of all
 * assistants. They are made at the start, and made again within a second whenever one is lost. Only the
 * worker's thread may call these functions.
 */
struct assistants;

struct assistants_counters {
	uint64_t connects, losses_of_connection, attempts_failed, messages_dropped;
	struct msg_loss remote; /* sums over assistants and connections */
};

/*
 * Begin to connect to all assistants of *c, for worker @worker (from 0) in @base's loop. @p is told with the
 * functions of returns.h; nothing happens before the loop runs. NULL if out of memory. *c must outlive it.
 */
struct assistants *assistants_new(struct event_base *base, const struct config *c, unsigned worker,
				  struct pipeline *p);

/* Say BYE to all, close the connections and free them. @a may be NULL. */
void assistants_free(struct assistants *a);

/*
 * Ask for the responses of the session @id, whose tuple is *response (src: the target), on each assistant's
 * worker that will see them. A connection that cannot take this is given up and made again.
 */
void assistants_watch(struct assistants *a, uint64_t id, const struct tuple *response);

/*
 * The same, but only on connections that have come up since assistants_announced(). Returns true if these
 * responses come by one of them.
 */
bool assistants_announce(struct assistants *a, uint64_t id, const struct tuple *response);

/* All live sessions have been announced on all connections that are up. */
void assistants_announced(struct assistants *a);

/* Ask for no more responses of the session @id, whose tuple is *response. */
void assistants_unwatch(struct assistants *a, uint64_t id, const struct tuple *response);

/* How many calls of assistants_announce() may follow now: none while an output is far behind. */
unsigned assistants_room(const struct assistants *a);

/* How many assistants are connected with all of their workers. */
unsigned assistants_up(const struct assistants *a);

/* The counters since the start. They last as long as @a. */
const struct assistants_counters *assistants_counters(const struct assistants *a);

#endif
