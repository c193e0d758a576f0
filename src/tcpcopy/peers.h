#ifndef TCPCOPY_PEERS_H
#define TCPCOPY_PEERS_H

#include "channel/conn.h"
#include "tcpcopy/config.h"

struct event_base;

/*
 * The connections of one worker to all workers of all assistants: made at start, made again within a second whenever one is lost.
 */
struct peers;

struct peers_handler {
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

struct peers_counters {
	uint64_t connects, losses_of_connection, attempts_failed, messages_dropped;
	struct msg_loss remote; /* sums over assistants and connections */
};

struct peers *peers_new(struct event_base *base, const struct config *c, unsigned worker, const struct peers_handler *h, void *arg);
void peers_free(struct peers *p); /* says BYE to all */
void peers_watch(struct peers *p, uint64_t id, const struct tuple *response);
void peers_unwatch(struct peers *p, uint64_t id, const struct tuple *response);
bool peers_have_room(const struct peers *p); /* for what can wait: no output is far behind */
unsigned peers_up(const struct peers *p); /* assistants that are connected, with all their workers */
const struct peers_counters *peers_counters(const struct peers *p);

#endif
