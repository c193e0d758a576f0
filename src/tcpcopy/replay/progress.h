#ifndef TCPCOPY_REPLAY_PROGRESS_H
#define TCPCOPY_REPLAY_PROGRESS_H

#include <stdbool.h>

struct event_base;
struct progress;
struct workers;

/*
 * Show how a replay goes, from the main thread: @terminal: a bar on standard error, else lines of the log.
 * Returns NULL if out of memory: then nothing is shown.
 */
struct progress *progress_new(struct event_base *base, struct workers *w, bool terminal);
/* End it, before the workers end. @p may be NULL. */
void progress_free(struct progress *p);

#endif
