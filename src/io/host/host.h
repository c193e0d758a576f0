#ifndef IO_HOST_HOST_H
#define IO_HOST_HOST_H

#include <stdbool.h>

/* Small questions about this host, answered by its kernel's files. None needs privilege. */

#define HOST_CAP_NET_ADMIN 12u /* capabilities(7) */
#define HOST_CAP_NET_RAW 13u

/* Is this capability of the process in force? */
bool host_has_capability(unsigned number);

/* The number that a file such as /proc/sys/net/ipv4/ip_forward begins with; -1: there is none. */
long long host_number(const char *path);

bool host_interface_is_up(const char *interface);

/* Is @interface one of the @n @names? */
bool host_interface_among(const char (*names)[16], unsigned n, const char *interface);

/* Bytes of memory that new work may take without swapping; 0: not known. */
unsigned long long host_memory_available(void);

#endif
