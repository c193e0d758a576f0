#ifndef INTERCEPT_CLIENTS_CLIENTS_H
#define INTERCEPT_CLIENTS_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/budget.h"
#include "channel/conn.h"
#include "intercept/clients/admission.h"
#include "intercept/config.h"
#include "io/capture/fanout.h"

struct event_base;
struct clients;
struct watch;

#define CLIENT_MAX_TARGETS 256u

/* One connected tcpcopy worker. */
struct client {
	struct channel_conn *conn;
	struct clients *clients;
	struct client *prev, *next;
	struct addr from;
	char name[80]; /* "tcpcopy 10.90.111.142:51234" */
	bool up;
	bool spreads;         /* its WATCHes are for this worker's responses only */
	bool takes_first;     /* both have agreed on CHANNEL_FIRST */
	uint32_t process;     /* the number of its process; 0: not known */
	unsigned n_watches;   /* of the list below */
	uint64_t up_at;       /* ns, CLOCK_MONOTONIC */
	struct budget probes; /* managed by findings.c */

	struct msg_watch expected; /* the last EXPECT, for the WATCH with its id */
	bool expects;

	struct watch *watches;                       /* managed by the pipeline */
	struct endpoint targets[CLIENT_MAX_TARGETS]; /* announced by TARGET */
	unsigned n_targets;

	struct watch *blocked_first, *blocked_last;   /* managed by the relay: watches that hold records */
	uint64_t dropped, merged;                     /* records of this connection */
	uint64_t kernel_drops_before, unowned_before; /* totals when it came up */
	struct msg_loss told;                         /* the last LOSS that was sent */
};

/* What happens on the connections. Everything is called from the worker's loop. */
struct clients_handler {
	void (*up)(struct client *p, void *arg); /* its HELLO was accepted */
	void (*watch)(struct client *p, const struct msg_watch *w, void *arg);
	void (*unwatch)(struct client *p, uint64_t id, void *arg);
	void (*target)(struct client *p, const struct endpoint *e, void *arg);
	void (*probe)(struct client *p, const struct msg_watch *w, void *arg);
	void (*batch_end)(void *arg);                 /* after all messages of one read */
	void (*drained)(struct client *p, void *arg); /* its output has room again */
	void (*down)(struct client *p, void *arg); /* it was up and has ended; it is freed after this call */
	/*
	 * A connection was refused: by --allow if @foreign, else because of a limit or a missing or bad
	 * HELLO.
	 */
	void (*refused)(bool foreign, void *arg);
	/*
	 * The accepted connection @fd is for another worker; @fd then belongs to the callee. False: it cannot
	 * be handed over, and @fd is still the caller's.
	 */
	bool (*elsewhere)(int fd, const struct endpoint *from, unsigned worker, void *arg);
};

/*
 * The connections of one worker, in the event loop @base. @c, @admission and @h must outlive it; the workers
 * share @admission. Returns NULL if memory ran out.
 */
struct clients *clients_new(struct event_base *base, const struct config *c, struct admission *admission,
			    const struct clients_handler *h, void *arg);
/* From now on HELLO tells how responses are spread over the workers, and that this is worker @worker. */
void clients_spread(struct clients *p, const struct fanout *spread, unsigned worker);
/*
 * Listens on the addresses and the port of @c. Only worker 0 calls this, for all workers, and after
 * clients_spread(). Returns 0 with the endpoints in @where, as text for the log, or -1 with a message for the
 * user in @err.
 */
int clients_listen(struct clients *p, const struct config *c, char *where, size_t where_size, char *err,
		   size_t err_size);
/*
 * Serves @fd, a connection from @from that was accepted and admitted. @fd now belongs to @p; if memory runs
 * out, it is closed, and its place in the admission becomes free.
 */
void clients_serve(struct clients *p, int fd, const struct endpoint *from);

/*
 * Sends BYE with @why on all connections, closes them and frees @p, without calling a handler. @p may be
 * NULL.
 */
void clients_close(struct clients *p, const char *why);

/*
 * Iterates over the clients that are up: returns the first if @after is NULL, else the next; NULL at the end.
 */
struct client *clients_next(const struct clients *p, const struct client *after);

/* How many watches the neighbours (packet/addr.h) of @a have together. */
unsigned clients_watches(const struct clients *p, const struct addr *a);

#endif
