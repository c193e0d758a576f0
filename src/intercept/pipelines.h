#ifndef INTERCEPT_PIPELINES_H
#define INTERCEPT_PIPELINES_H

#include "program/workers.h"
#include "intercept/config.h"
#include "io/capture/fanout.h"
#include "packet/segment.h"

/* The pipelines of all workers, opened and closed together, and what they tell each other. */
struct event_base;
struct pipelines;
struct pipeline;
struct raw_packet;

/*
 * Opens everything, with a pipeline for each worker of @w, which must not have been started. Work that may
 * wait for the kernel or the disk is done in the main thread's loop, @base. @c, @w and @base must outlive the
 * pipelines. If @c names no interfaces, it gets those of this host. @where gets the endpoints that the
 * channel listens on, as text. Returns NULL with a message for the user in @err.
 */
struct pipelines *pipelines_open(struct config *c, struct workers *w, struct event_base *base, char *where,
				 size_t where_size, char *err, size_t err_size);
/* Did @base's loop end because intercept cannot go on? The log says why. */
bool pipelines_failed(const struct pipelines *p);
/* Closes and frees everything. Call this when the workers have been stopped. @p may be NULL. */
void pipelines_close(struct pipelines *p);

/* What workers tell each other. A worker calls these in its own thread, with its own pipeline as @from. */

/*
 * Gives the segment @s, parsed from @raw, to the worker that has its session. False: that is @from's worker
 * itself. True: it is another one; if that is overloaded, the segment is lost and counted.
 */
bool pipelines_hand_over(struct pipeline *from, const struct segment *s, const struct raw_packet *raw);
/*
 * Gives the accepted connection @fd of @client to worker @to. False: there is no such worker, or it is
 * overloaded; @fd is still the caller's.
 */
bool pipelines_hand_connection(struct pipeline *from, unsigned to, int fd, const struct endpoint *client);
/* A connection that does not spread its WATCHes over the workers has come up (@n 1) or ended (@n -1). */
void pipelines_count_plain(struct pipeline *from, int n);
/*
 * Such a connection has announced the target @e (@use), or has ended; the other workers must capture @e, too.
 */
void pipelines_announce(struct pipeline *from, const struct endpoint *e, bool use);

#endif
