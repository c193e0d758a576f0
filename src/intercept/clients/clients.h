#ifndef INTERCEPT_CLIENTS_CLIENTS_H
#define INTERCEPT_CLIENTS_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/conn.h"
#include "intercept/clients/admission.h"
#include "intercept/config.h"
#include "io/capture/fanout.h"

struct event_base;
struct clients;
struct watch;

#define CLIENT_MAX_TARGETS 256u
#define CLIENT_MAX_WATCHES (ROUTE_MAX_WATCHES / 4 * 3) /* so no connection takes the last quarter */

/* One connected tcpcopy worker. */
struct client {
	struct channel_conn *conn;
	struct clients *clients;
	struct client *prev, *next;
	struct addr from;
	char name[80]; /* "tcpcopy 10.90.111.142:51234" */
	bool up;
	bool spreads;       /* its WATCHes are for this worker's responses only */
	unsigned n_watches; /* of the list below */
	uint64_t up_at;     /* ns */

	struct watch *watches;                       /* the pipeline's */
	struct endpoint targets[CLIENT_MAX_TARGETS]; /* announced by TARGET */
	unsigned n_targets;

	struct watch *blocked_first, *blocked_last;   /* the relay's: watches that hold records */
	uint64_t dropped, merged;                     /* records of this connection */
	uint64_t kernel_drops_before, unowned_before; /* totals when it came up */
	struct msg_loss told;
};

/* What connections bring. */
struct clients_handler {
	void (*up)(struct client *p, void *arg);
	void (*watch)(struct client *p, const struct msg_watch *w, void *arg);
	void (*unwatch)(struct client *p, uint64_t id, void *arg);
	void (*target)(struct client *p, const struct endpoint *e, void *arg);
	void (*probe)(struct client *p, const struct msg_watch *w, void *arg);
	void (*batch_end)(void *arg);                 /* after the messages that one read brought */
	void (*drained)(struct client *p, void *arg); /* its output has room again */
	void (*down)(struct client *p, void *arg);    /* gone; only for one that was up */
	/* A connection was turned away: by --allow, or by a limit or for want of a good HELLO. */
	void (*refused)(bool foreign, void *arg);
	/* An accepted connection is for another worker. False: it cannot be handed over. */
	bool (*elsewhere)(int fd, const struct endpoint *from, unsigned worker, void *arg);
};

/* The connections of one worker. NULL: no memory. */
struct clients *clients_new(struct event_base *base, const struct config *c, struct admission *admission,
			    const struct clients_handler *h, void *arg);
/* Say in HELLO how responses are spread over the workers, and that this is worker @worker. */
void clients_spread(struct clients *p, const struct fanout *spread, unsigned worker);
/*
 * Worker 0, for all: listen as @c says. -1 with words in @err ("port 36524 is in use: ..."). @where
 * says where, for the line of facts.
 */
int clients_listen(struct clients *p, const struct config *c, char *where, size_t where_size, char *err,
		   size_t err_size);
/* Serve a connection that was accepted and admitted. */
void clients_serve(struct clients *p, int fd, const struct endpoint *from);

/* BYE with @why to all; no handler is called. */
void clients_close(struct clients *p, const char *why);

/* Those that are up, in turn: NULL begins and ends. */
struct client *clients_next(const struct clients *p, const struct client *after);

#endif
