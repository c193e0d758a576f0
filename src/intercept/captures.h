#ifndef INTERCEPT_CAPTURES_H
#define INTERCEPT_CAPTURES_H

#include "intercept/config.h"
#include "io/source.h"

struct event_base;
struct captures;

/* Capture on the interfaces of @c (which are filled in where it names none) what @filter lets
 * through; packets go to @fn. NULL with words in @err. */
struct captures *captures_open(struct event_base *base, struct config *c, const char *filter,
			       source_fn fn, void *arg, char *err, size_t err_size);
void captures_close(struct captures *c);

/* On all interfaces. 0, or -1 with @err; some may then have the new filter. */
int captures_set_filter(struct captures *c, const char *filter, char *err, size_t err_size);

/* Sums of all interfaces. New errors are logged. */
struct source_counters captures_counters(struct captures *c);

#endif
