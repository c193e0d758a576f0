#ifndef TCPCOPY_CONFIG_LOCK_H
#define TCPCOPY_CONFIG_LOCK_H

#include <stddef.h>

#include "tcpcopy/returns/plan.h"

/*
 * Claim the rules of *c for this process until it ends, because two tcpcopys with the same rule would send
 * every request twice. Call it in the process that stays (after daemon_begin()), because others are told the
 * process ID of the caller, and before privileges or namespaces change. Returns 0; or -1 with the reason in
 * @err, and then nothing is claimed: a rule overlaps one of another tcpcopy on this host, or there can be no
 * socket.
 */
int lock_rules(const struct config *c, char *err, size_t err_size);

/*
 * The same for the pairs of an own address and a target of *p, after lock_rules(): two tcpcopys would use the
 * same ports.
 */
int lock_plan(const struct plan *p, char *err, size_t err_size);

/* Give up the claims. The kernel does this as well when the process ends. */
void lock_release(void);

#endif
