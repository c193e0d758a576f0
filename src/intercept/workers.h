#ifndef INTERCEPT_WORKERS_H
#define INTERCEPT_WORKERS_H

#include "intercept/config.h"
#include "io/capture/fanout.h"
#include "packet/segment.h"

/* The workers: threads, each with a pipeline of its own. */
struct workers;
struct pipeline;
struct raw_packet;

/*
 * Open everything; no thread is started yet. @c must stay valid; interfaces that it leaves open are
 * filled in. @where says where the channel listens. NULL with words in @err.
 */
struct workers *workers_open(struct config *c, char *where, size_t where_size, char *err, size_t err_size);
int workers_start(struct workers *w, char *err, size_t err_size); /* -1 with @err */
/*
 * Run @fn on each worker's pipeline, in that worker's own thread, one after the other; returns when
 * all have. By the main thread.
 */
void workers_collect(struct workers *w, void (*fn)(void *pipeline, void *sum), void *sum);
void workers_stop(struct workers *w);
void workers_close(struct workers *w);

/*
 * What workers tell each other, from their own threads.
 *
 * Give the segment @s (of @raw) to the worker that has its session, if that is another one; true
 * if so.
 */
bool workers_hand_over(struct pipeline *from, const struct segment *s, const struct raw_packet *raw);
/* An accepted connection, for worker @to. False: that has too much to do. */
bool workers_hand_connection(struct pipeline *from, unsigned to, int fd, const struct endpoint *client);
/* A connection that does not spread its WATCHes comes (@n 1) or goes (-1). */
void workers_count_plain(struct pipeline *from, int n);
/* One of these has announced @e, or takes it back: the other workers let it through, too. */
void workers_announce(struct pipeline *from, const struct endpoint *e, bool use);

#endif
