#ifndef INTERCEPT_CAPTURES_H
#define INTERCEPT_CAPTURES_H

#include "intercept/config.h"
#include "io/capture/fanout.h"
#include "io/capture/source.h"

struct event_base;
struct captures;

/* Of one worker: packets go to @fn. There are no sources yet. NULL: no memory. */
struct captures *captures_new(struct event_base *base, source_fn fn, void *arg);
/*
 * Capture on the interfaces of @c (which are filled in where it names none) what @filter lets
 * through: for all workers, whose captures are @all. -1 with @err.
 */
int captures_open(struct captures *const all[], const struct fanout *spread, struct config *c,
		  const char *filter, char *err, size_t err_size);
/* Take what is there, without waiting for the event loop to say so (--busy-poll). */
void captures_poll(struct captures *c);
void captures_close(struct captures *c);

/* On all interfaces. 0, or -1 with @err; some may then have the new filter. */
int captures_set_filter(struct captures *c, const char *filter, char *err, size_t err_size);

/* Sums of all interfaces. New errors are logged. */
struct source_counters captures_counters(struct captures *c);

#endif
