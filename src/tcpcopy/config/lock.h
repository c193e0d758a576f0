#ifndef TCPCOPY_CONFIG_LOCK_H
#define TCPCOPY_CONFIG_LOCK_H

#include <stddef.h>

#include "tcpcopy/config/config.h"

/*
 * Claim the rules of @c for this process, until it ends: two tcpcopys with one rule would send
 * every request twice. Call it in the process that stays (after daemon_begin()), because the pid
 * that others are told is that of the caller; and before privileges or namespaces change. Returns
 * 0; or -1 with the reason in @err: a rule overlaps one of another tcpcopy on this host, or no
 * socket is to be had. Then nothing is claimed.
 */
int lock_rules(const struct config *c, char *err, size_t err_size);

/* Give up the claims. At the end of the process the kernel does it. */
void lock_release(void);

#endif
