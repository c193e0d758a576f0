#ifndef CHANNEL_CONN_H
#define CHANNEL_CONN_H

#include "channel/message.h"
#include "channel/secret.h"
#include "packet/addr.h"

struct event_base;

/*
 * One end of a channel connection over a libevent bufferevent: HELLO exchange, framing, PING when
 * idle, bounded output, and the words for what went wrong. Nothing here blocks. Used by both
 * programs, which ignore SIGPIPE.
 */
struct channel_conn;

struct channel_handler {
	/* HELLO done in both directions; peer's HELLO and the version in use. */
	void (*up)(struct channel_conn *c, const struct msg_hello *peer, uint16_t version, void *arg);
	/* Any message but HELLO, PING, PONG, BYE. */
	void (*message)(struct channel_conn *c, const struct message *m, void *arg);
	/* After each batch of messages read in one go (the moment to flush what they caused). May
	 * be NULL. */
	void (*batch_end)(struct channel_conn *c, void *arg);
	/* Output has drained below the low-water mark after channel_conn_send() returned false. May
	 * be NULL. */
	void (*drained)(struct channel_conn *c, void *arg);
	/* The connection is over; @why in words ("connection refused", "peer closed", "no HELLO
	 * within 3 s", "silent for 15 s", "bad frame: ..."). The conn is freed after the call
	 * returns. */
	void (*down)(struct channel_conn *c, const char *why, void *arg);
};

/* In force for connections made afterwards; programs leave it alone, tests shorten it. */
struct channel_timing {
	unsigned hello_ms;     /* an accepted peer must have said HELLO by then */
	unsigned ping_ms;      /* nothing heard for so long: PING, and again each so long */
	unsigned silent_pings; /* so many PINGs' time without an answer: down */
};
extern struct channel_timing channel_timing; /* 3 s, 5 s, 3 */

struct channel_options {
	const char *program, *release;
	uint16_t worker;
	size_t max_output; /* bytes of unsent output above which send returns false; 0: 1 MB */
	const struct channel_secret *secret; /* NULL: plain. Lives as long as the connection */
	bool spreads;                        /* CHANNEL_WORKERS is a feature of ours, with these two */
	uint16_t workers;
	uint32_t seed;
	uint16_t place; /* connecting: for this worker of intercept; 0: PLACE is not sent */
};

/* Connect (non-blocking) to @to; never fails synchronously other than by NULL (no memory). up() or
 * down() follows, down() within @timeout_ms. */
struct channel_conn *channel_connect(struct event_base *base, const struct endpoint *to, unsigned timeout_ms,
				     const struct channel_options *o, const struct channel_handler *h,
				     void *arg);
/* Serve an accepted non-blocking socket. */
struct channel_conn *channel_accept(struct event_base *base, int fd, const struct channel_options *o,
				    const struct channel_handler *h, void *arg);

/*
 * Queue a message. False when the connection is not up, or the output bound is reached (drained()
 * will follow): the message was NOT queued. Messages of one event-loop turn leave in one write.
 */
bool channel_conn_send(struct channel_conn *c, const struct message *m);
size_t channel_conn_unsent(const struct channel_conn *c);
const struct endpoint *channel_conn_peer(const struct channel_conn *c);
/* TCP is or was through, so the peer's host is there and listens. */
bool channel_conn_reached(const struct channel_conn *c);

/* Send BYE with @why if possible, close, free; down() is not called. */
void channel_conn_close(struct channel_conn *c, const char *why);

#endif
