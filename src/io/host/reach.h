#ifndef IO_HOST_REACH_H
#define IO_HOST_REACH_H

#include "packet/addr.h"

/* An ordinary TCP connection that is opened only to see what becomes of it. Needs no privilege. */

#define REACH_PATIENCE_MS 950 /* before the kernel would repeat the SYN (RFC 6298 2.1) */

enum reach_state {
	REACH_SILENT,       /* no answer at all (yet) */
	REACH_CONNECTED,    /* somebody listens */
	REACH_RESET,        /* a reset: nobody listens, or a firewall that answers so */
	REACH_REFUSED,      /* an ICMP error of somebody on the way: a firewall */
	REACH_NO_NEIGHBOUR, /* the next hop does not say its link-layer address */
	REACH_FAILED,       /* this host does not even send; see error */
};

struct reach {
	int fd; /* writable when it is decided; -1: could not begin */
	struct endpoint local;
	int error;      /* errno of REACH_FAILED */
	struct addr by; /* whose ICMP error it was */
};

/* Begin. Does not wait. */
void reach_open(struct reach *r, const struct endpoint *to);
/* What has become of it now. */
enum reach_state reach_state(struct reach *r);
void reach_close(struct reach *r);

/* All of it, waiting up to REACH_PATIENCE_MS. */
enum reach_state reach_try(struct reach *r, const struct endpoint *to);

#endif
