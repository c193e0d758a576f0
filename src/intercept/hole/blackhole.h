#ifndef INTERCEPT_HOLE_BLACKHOLE_H
#define INTERCEPT_HOLE_BLACKHOLE_H

#include <stdbool.h>
#include <stddef.h>

#include "intercept/config.h"

/*
 * Would this host's kernel forward packets that arrive on one of the interfaces of @c? If so, @why gets a
 * message for the user, with the cures.
 */
bool blackhole_leaks(const struct config *c, char *why, size_t size);

/*
 * The same question; if so, @buf gets the arguments for sysctl(8) that stop it: "net.ipv4.ip_forward=0 ...".
 */
bool blackhole_switches(const struct config *c, char *buf, size_t size);

/*
 * The same question while intercept runs, because a container runtime may switch forwarding on. Logs an error
 * when it begins. *@leaks keeps the answer for the next call and starts as false.
 */
void blackhole_watch(const struct config *c, bool *leaks);

#endif
