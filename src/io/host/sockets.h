#ifndef IO_HOST_SOCKETS_H
#define IO_HOST_SOCKETS_H

#include <stdbool.h>
#include <stdint.h>

#include "packet/addr.h"

/* TCP sockets, as the kernel lists them (sock_diag(7)). Needs no privilege. */

/* Takes one socket; @remote is unspecified for a listening one. Returns false to end the list. */
typedef bool (*sockets_fn)(const struct endpoint *local, const struct endpoint *remote, void *arg);

/*
 * Give each listening socket of this network namespace with the local port @port (host byte order; 0: any) to
 * @fn.
 * Returns 0, or -1 with errno.
 */
int sockets_listening(uint16_t port, sockets_fn fn, void *arg);

/* The same for each connected socket with this local port. */
int sockets_connected(uint16_t port, sockets_fn fn, void *arg);

/* The same for each that may send by itself, with whatever port: connected, and not in TIME-WAIT. */
int sockets_sending(sockets_fn fn, void *arg);

/*
 * The process ID of a process in another network namespace that a virtual cable joins to ours, as is usual
 * for containers, if something in that namespace listens on @port. 0 if there is none, or none that can be
 * seen from here.
 */
int sockets_listener_in_container(uint16_t port);

#endif
