#ifndef TCPCOPY_ASSISTANTS_H
#define TCPCOPY_ASSISTANTS_H

#include "channel/conn.h"
#include "tcpcopy/config/config.h"

struct event_base;

/*
 * The connections of one worker to all workers of all assistants: made at start, made again within a second
 * whenever one is lost.
 */
struct assistants;

struct assistants_handler {
	/* An assistant's connection is up (again): announce all live sessions. */
	void (*up)(void *arg);
	/* No assistant has been connected for a while (seconds). */
	void (*all_down)(void *arg);
	/* All assistants have been tried once. @failed: NULL when all are up, else why one of them is not. */
	void (*first_round)(const char *failed, void *arg);
	void (*response)(const struct response *r, void *arg);
	/* A response of a connection that an earlier tcpcopy on this host left on the target. */
	void (*stray)(const struct msg_stray *s, void *arg);
	void (*batch_end)(void *arg);
};

struct assistants_counters {
	uint64_t connects, losses_of_connection, attempts_failed, messages_dropped;
	struct msg_loss remote; /* sums over assistants and connections */
};

struct assistants *assistants_new(struct event_base *base, const struct config *c, unsigned worker,
				  const struct assistants_handler *h, void *arg);
void assistants_free(struct assistants *p); /* says BYE to all */
void assistants_watch(struct assistants *p, uint64_t id, const struct tuple *response);
void assistants_unwatch(struct assistants *p, uint64_t id, const struct tuple *response);
/* How many assistants_watch() that can wait may follow now: none while an output is far behind. */
unsigned assistants_room(const struct assistants *p);
/* assistants that are connected, with all their workers */
unsigned assistants_up(const struct assistants *p);
const struct assistants_counters *assistants_counters(const struct assistants *p);

#endif
