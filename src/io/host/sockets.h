#ifndef IO_HOST_SOCKETS_H
#define IO_HOST_SOCKETS_H

#include <stdbool.h>
#include <stdint.h>

#include "packet/addr.h"

/* TCP sockets, as the kernel lists them (sock_diag(7)). Needs no privilege. */

/* One socket; @remote is unspecified of a listening one. Returns false to end the list. */
typedef bool (*sockets_fn)(const struct endpoint *local, const struct endpoint *remote, void *arg);

/* Those of this network namespace with local port @port: listening ones, or connected ones. 0, or
 * -1 with errno. */
int sockets_listening(uint16_t port, sockets_fn fn, void *arg);
int sockets_connected(uint16_t port, sockets_fn fn, void *arg);

/*
 * A process in a network namespace that is joined to ours by a virtual cable, as containers are,
 * and in which something listens on @port. 0: none, or it cannot be seen from here.
 */
int sockets_listener_in_container(uint16_t port);

#endif
