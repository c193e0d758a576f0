#ifndef TCPCOPY_REPLIES_H
#define TCPCOPY_REPLIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pipeline;

/*
 * Open the source of what the online server says when connections begin and are refused. 0, or -1 with
 * @err. It is closed by replies_close(), also after a failure.
 */
int replies_open(struct pipeline *p, char *err, size_t err_size);
/* Put it into the event loop. -1: out of memory. */
int replies_start(struct pipeline *p);
/* Close it. May be called when it is not open. */
void replies_close(struct pipeline *p);

/* The event loop's turn: @came, else the pause is over. */
void replies_ready(struct pipeline *p, bool came);

/*
 * Put the SYN-ACKs that have come into the batch, as far as one that was captured after @until, ns, and keep
 * the resets. Call it ahead of running the batch.
 */
void replies_take(struct pipeline *p, uint64_t until);

/* The batch was run. What stays of the SYN-ACKs is told within 10 ms, whatever else comes. */
void replies_left(struct pipeline *p);

/* Give the engine the resets that were kept and were read before @before, ns. */
void replies_tell_resets(struct pipeline *p, uint64_t before);

/* Say once of each rule for which nothing was replicated for want of proof. Once a second. */
void replies_say(struct pipeline *p);

#endif
