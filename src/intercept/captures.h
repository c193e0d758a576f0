#ifndef INTERCEPT_CAPTURES_H
#define INTERCEPT_CAPTURES_H

#include "intercept/config.h"
#include "io/capture/fanout.h"
#include "io/capture/source.h"

struct event_base;
struct captures;

/*
 * The capture sources of one worker, in the event loop @base. Captured packets go to @fn with @arg, in the
 * thread of the loop. There are no sources until captures_open(). Returns NULL if memory ran out.
 */
struct captures *captures_new(struct event_base *base, source_fn fn, void *arg);
/*
 * If @c names no interface, give it those of this host that are up. Returns 0, or -1 with a message for the
 * user in @err: there is none.
 */
int captures_choose(struct config *c, char *err, size_t err_size);
/*
 * Opens the captures of all workers: @all has one for each worker of @spread. They capture what @filter (a
 * pcap filter) matches, on the interfaces that @c names. Returns 0, or -1 with a message for the user in
 * @err; captures_close() then closes what had been opened.
 */
int captures_open(struct captures *const all[], const struct fanout *spread, const struct config *c,
		  const char *filter, char *err, size_t err_size);
/* Reads what is there now, without waiting for the event loop (--busy-poll). Never blocks. */
void captures_poll(struct captures *c);
/* Closes all sources. @c may be NULL. */
void captures_close(struct captures *c);

/*
 * Replaces the capture filter on all interfaces of this worker. Returns 0, or -1 with a message in @err; some
 * of the interfaces may then have the new filter and others the old one.
 */
int captures_set_filter(struct captures *c, const char *filter, char *err, size_t err_size);

/* Returns the sums of the counters of all interfaces, and logs errors that are new since the last call. */
struct source_counters captures_counters(struct captures *c);

#endif
