#ifndef IO_HOST_LOCAL_H
#define IO_HOST_LOCAL_H

#include <stdbool.h>
#include <stdint.h>

#include "packet/addr.h"

/*
 * Which addresses are this host's own: those to which the kernel delivers packets itself instead of
 * forwarding them. Needs no privilege. One object belongs to one thread.
 */
struct local;

struct local *local_open(void); /* NULL with errno */
void local_close(struct local *l);

/* Readable when addresses have changed; then local_readable() learns them anew. */
int local_fd(const struct local *l);
void local_readable(struct local *l);

/* @now: CLOCK_MONOTONIC, ns. */
bool local_has(struct local *l, const struct addr *a, uint64_t now);

#endif
