#ifndef TCPCOPY_GOVERN_STOP_H
#define TCPCOPY_GOVERN_STOP_H

#include "tcpcopy/config/config.h"

struct event_base;
struct stop;
struct workers;

/*
 * Call @reached with @arg, from @base's loop, once that has been replicated after which *c wants to stop.
 * Returns NULL if out of memory. Where nothing is wanted, nothing is looked at.
 */
struct stop *stop_new(struct event_base *base, struct workers *w, const struct config *c,
		      void (*reached)(void *arg), void *arg);

/* Replication begins: so does the time. */
void stop_begin(struct stop *s);

/* End it, before the workers end. @s may be NULL. */
void stop_free(struct stop *s);

#endif
