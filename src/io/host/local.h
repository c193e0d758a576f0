#ifndef IO_HOST_LOCAL_H
#define IO_HOST_LOCAL_H

#include <stdbool.h>
#include <stdint.h>

#include "packet/addr.h"

/*
 * Which addresses are this host's own: those whose packets the kernel delivers itself instead of forwarding
 * them. Needs no privilege. One object belongs to one thread.
 */
struct local;

/* Returns NULL with errno on failure. */
struct local *local_open(void);

/* Free @l, which may be NULL. */
void local_close(struct local *l);

/* A descriptor that is readable when addresses have changed; then call local_readable(). */
int local_fd(const struct local *l);

/* Take in that addresses have changed, without blocking. */
void local_readable(struct local *l);

/*
 * Is *a an address of this host? @now: ns, CLOCK_MONOTONIC. It may ask the kernel, which does not block, but
 * not too often: meanwhile an address that it does not know counts as somebody else's.
 */
bool local_has(struct local *l, const struct addr *a, uint64_t now);

#endif
