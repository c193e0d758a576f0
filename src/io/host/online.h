#ifndef IO_HOST_ONLINE_H
#define IO_HOST_ONLINE_H

#include "packet/addr.h"
#include "packet/online.h"

/*
 * What the online server's own sockets say (sock_diag(7), INET_DIAG_INFO). Needs no privilege.
 */
struct online;

struct online *online_open(void); /* NULL with errno */
void online_close(struct online *o);

/*
 * Look at the socket of connection client -> server on this host. ONLINE_GONE is also the word where only
 * TIME-WAIT is left of it, and where there never was one. Does not block.
 */
struct online_answer online_look(struct online *o, const struct endpoint *client,
				 const struct endpoint *server);

#endif
