#ifndef CHANNEL_CONN_H
#define CHANNEL_CONN_H

#include "channel/message.h"
#include "channel/secret.h"
#include "packet/addr.h"

struct event_base;

/*
 * One end of a channel connection over a libevent bufferevent: exchange of HELLO, framing, PING when idle,
 * bounded output, and words for what went wrong. Nothing here blocks. A connection belongs to the thread of
 * its event loop. Both programs ignore SIGPIPE.
 */
struct channel_conn;

struct channel_handler {
	/* HELLO was sent and received: the peer's HELLO, and the version in use. */
	void (*up)(struct channel_conn *c, const struct msg_hello *peer, uint16_t version, void *arg);
	/* A message other than HELLO, PING, PONG and BYE. *m lasts until the call returns. */
	void (*message)(struct channel_conn *c, const struct message *m, void *arg);
	/*
	 * After each batch of messages that were read at once: time to flush what they caused. Also before
	 * down(), if the connection ends in the middle of one. May be NULL.
	 */
	void (*batch_end)(struct channel_conn *c, void *arg);
	/*
	 * After channel_conn_send() returned false, the output has drained below its low-water mark. May be
	 * NULL.
	 */
	void (*drained)(struct channel_conn *c, void *arg);
	/*
	 * The connection is over, for the reason @why in words: "connection refused", "peer closed", "no
	 * HELLO within 3 s", "silent for 15 s", "bad frame: ...". *c is freed when the call returns.
	 */
	void (*down)(struct channel_conn *c, const char *why, void *arg);
};

#define CHANNEL_HELLO_MS 3000u /* time for an accepted peer to say HELLO */
#define CHANNEL_PING_MS 5000u  /* time of silence before a PING, and between two PINGs */
#define CHANNEL_SILENT_PINGS 3 /* intervals of silence after which the connection is down */

struct channel_options {
	const char *program, *release;
	uint16_t worker;
	size_t max_output; /* bytes of unsent output above which send returns false; 0: 1 MiB */
	const struct channel_secret *secret; /* NULL: plain. Lives as long as the connection */
	bool first;   /* HELLO offers CHANNEL_FIRST if there is a secret: contents do not cross in clear */
	bool spreads; /* HELLO offers CHANNEL_WORKERS, with the next two */
	uint16_t workers;
	uint32_t seed;
	uint16_t place; /* when connecting: the worker of intercept that is meant; 0: PLACE is not sent */
};

/*
 * Connect to @to without blocking. up() or down() follows from the event loop; if the peer does not say HELLO
 * within @timeout_ms, down() does. *o need not outlive the call, but its secret must outlive the connection.
 * Returns NULL only if memory or descriptors ran out; no handler is called then.
 */
struct channel_conn *channel_connect(struct event_base *base, const struct endpoint *to, unsigned timeout_ms,
				     const struct channel_options *o, const struct channel_handler *h,
				     void *arg);
/*
 * Serve the accepted, non-blocking socket @fd, which belongs to the connection from now on, even if this
 * returns NULL (out of memory). Everything else is as for channel_connect(), with the time-out
 * CHANNEL_HELLO_MS.
 */
struct channel_conn *channel_accept(struct event_base *base, int fd, const struct channel_options *o,
				    const struct channel_handler *h, void *arg);
/* Close the accepted, non-blocking socket @fd; its peer is told @why, not encrypted, if that can be. */
#define CHANNEL_WHY_LEN 128
void channel_refuse(int fd, const char *why);

/*
 * Queue the message *m, which is copied. Returns false, and has not queued it, if the connection is not up or
 * the bound on output is reached; in the latter case drained() follows. All messages of one turn of the event
 * loop leave in one write.
 */
bool channel_conn_send(struct channel_conn *c, const struct message *m);

/* The bytes of output that the socket has not taken yet. */
size_t channel_conn_unsent(const struct channel_conn *c);

/* The peer's address and port. They last as long as the connection. */
const struct endpoint *channel_conn_peer(const struct channel_conn *c);

/* For down(): did the peer end the connection before it said anything, as a port check does? */
bool channel_conn_left(const struct channel_conn *c);

/* Was the TCP connection ever established? Then the peer's host exists and a program listens there. */
bool channel_conn_reached(const struct channel_conn *c);

/*
 * Send BYE with the reason @why if possible, close the connection and free it. down() is not called. May be
 * called from any handler of this connection but down().
 */
void channel_conn_close(struct channel_conn *c, const char *why);

#endif
