#ifndef IO_HOST_REACH_H
#define IO_HOST_REACH_H

#include "packet/addr.h"

/* An ordinary TCP connection that is opened only to see what happens to it. Needs no privilege. */

#define REACH_PATIENCE_MS 950 /* before the kernel would repeat the SYN (RFC 6298 2.1) */

enum reach_state {
	REACH_SILENT,       /* no answer at all (yet) */
	REACH_CONNECTED,    /* a program listens */
	REACH_RESET,        /* a reset: nothing listens, or a firewall answers like this */
	REACH_REFUSED,      /* an ICMP error from a host on the way: a firewall */
	REACH_NO_NEIGHBOUR, /* the next hop does not answer for its link-layer address */
	REACH_FAILED,       /* this host cannot even send; see error */
};

struct reach {
	int fd; /* writable when it is decided; -1: it could not begin */
	struct endpoint local;
	int error;      /* errno of REACH_FAILED */
	struct addr by; /* whose ICMP error it was */
};

/* Begin to connect to @to, without waiting. If it fails at once, r->fd is -1 or r->error is set. */
void reach_open(struct reach *r, const struct endpoint *to);

/* What has happened to the connection so far. Sets r->error and r->by. */
enum reach_state reach_state(struct reach *r);

/* Close the connection, which makes an open one end in good order. */
void reach_close(struct reach *r);

/* Do all of this, and wait at most REACH_PATIENCE_MS. Returns the state at the end. */
enum reach_state reach_try(struct reach *r, const struct endpoint *to);

#endif
