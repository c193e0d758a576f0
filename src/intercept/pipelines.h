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
 * Open everything, with a pipeline for each of @w, which has not been started. Work that may wait for the
 * kernel or the disk goes to the main thread's loop, @base. All three must outlive the pipelines;
 * interfaces that @c leaves open are filled in. @where says where the channel listens. NULL with words in
 * @err.
 */
struct pipelines *pipelines_open(struct config *c, struct workers *w, struct event_base *base, char *where,
				 size_t where_size, char *err, size_t err_size);
/* Did @base's loop end because intercept cannot go on? The log says why. */
bool pipelines_failed(const struct pipelines *p);
void pipelines_close(struct pipelines *p); /* stopped; NULL: nothing */

/*
 * What workers tell each other, from their own threads.
 *
 * Give the segment @s (of @raw) to the worker that has its session, if that is another one; true
 * if so.
 */
bool pipelines_hand_over(struct pipeline *from, const struct segment *s, const struct raw_packet *raw);
/* An accepted connection, for worker @to. False: that has too much to do. */
bool pipelines_hand_connection(struct pipeline *from, unsigned to, int fd, const struct endpoint *client);
/* A connection that does not spread its WATCHes comes (@n 1) or goes (-1). */
void pipelines_count_plain(struct pipeline *from, int n);
/* One of these has announced @e, or takes it back: the other workers let it through, too. */
void pipelines_announce(struct pipeline *from, const struct endpoint *e, bool use);

#endif
