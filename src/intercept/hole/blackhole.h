#ifndef INTERCEPT_HOLE_BLACKHOLE_H
#define INTERCEPT_HOLE_BLACKHOLE_H

#include <stdbool.h>
#include <stddef.h>

#include "intercept/config.h"

/* Would this host's kernel forward packets that arrive on one of the interfaces of @c? Then *why
 * says so, with the cures. */
bool blackhole_leaks(const struct config *c, char *why, size_t size);

/* The same, and @buf has the switches as sysctl(8) sets them: "net.ipv4.ip_forward=0 ...". */
bool blackhole_switches(const struct config *c, char *buf, size_t size);

/* The same while running: container run-times switch forwarding on. Logs when it begins; *leaks
 * remembers. */
void blackhole_watch(const struct config *c, bool *leaks);

#endif
