#ifndef IO_HOST_ONLINE_H
#define IO_HOST_ONLINE_H

#include "packet/addr.h"
#include "packet/online.h"

/*
 * What the online server's own sockets say (sock_diag(7), INET_DIAG_INFO). Needs no privilege. One object
 * belongs to one thread.
 */
struct online;

/* Returns NULL with errno on failure. */
struct online *online_open(void);

/* Close it. @o may be NULL. */
void online_close(struct online *o);

/*
 * Look at this host's socket of the connection @client -> @server. It is ONLINE_GONE also if only TIME-WAIT
 * is left of it, or if there never was one. Does not block.
 */
struct online_answer online_look(struct online *o, const struct endpoint *client,
				 const struct endpoint *server);

#endif
