#ifndef IO_HOST_HOST_H
#define IO_HOST_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "packet/addr.h"

/* Small questions about this host, which files of its kernel answer. None needs privilege. */

#define HOST_CAP_NET_ADMIN 12u /* capabilities(7) */
#define HOST_CAP_NET_RAW 13u

/*
 * A temporary address (RFC 8981) of an IPv6 interface lasts for days only. If *a is one of this host, replace
 * it by one of the same interface that lasts, of the same prefix of 64 bits if possible. Returns false if it
 * is temporary and there is none.
 */
bool host_lasting_address(struct addr *a);

/* Is the capability @number (HOST_CAP_) in the effective set of this process? */
bool host_has_capability(unsigned number);

/* The number at the beginning of a file such as /proc/sys/net/ipv4/ip_forward; -1 if there is none. */
long long host_number(const char *path);

/*
 * The index of @interface, or 0 with errno: ENODEV if there is none of that name. For if_nametoindex(3) and
 * if_indextoname(3) the C library opens a socket of AF_UNIX; this and the next one work in the sandbox.
 */
int host_interface_index(const char *interface);

/* Write the name of the interface @index to @name. Returns false with errno if there is none. */
bool host_interface_name(int index, char name[16]);

/* Does @interface exist, and is it up? */
bool host_interface_is_up(const char *interface);

/* Is @interface one of the first @n names in @names? */
bool host_interface_among(const char (*names)[16], unsigned n, const char *interface);

/* The largest receive window that a TCP socket of this host can have, in bytes; 0: not known. */
uint32_t host_receive_window(void);

/* How many bytes of memory are available without swapping; 0 if that is not known. */
unsigned long long host_memory_available(void);

#endif
