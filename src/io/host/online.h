#ifndef IO_HOST_ONLINE_H
#define IO_HOST_ONLINE_H

#include <stdbool.h>
#include <stdint.h>

#include "packet/addr.h"

/*
 * What the online server's own sockets say (sock_diag(7), INET_DIAG_INFO). Needs no privilege.
 */
struct online;

enum socket_word {
	SOCKET_UNKNOWN, /* the kernel does not answer */
	SOCKET_THERE,
	SOCKET_GONE, /* or it never was here */
};

struct online *online_open(void); /* NULL with errno */
void online_close(struct online *o);

/*
 * How many bytes of payload the socket of connection client -> server has received in order (RFC 4898
 * ThruOctetsReceived); a FIN counts as one. False: there is no such socket on this host, or the kernel does
 * not answer.
 */
bool online_received(struct online *o, const struct endpoint *client, const struct endpoint *server,
		     uint64_t *bytes);

/* Is there such a socket, or none any more (also where only TIME-WAIT is left of it)? */
enum socket_word online_there(struct online *o, const struct endpoint *client, const struct endpoint *server);

#endif
