#ifndef INTERCEPT_WATCH_STATE_H
#define INTERCEPT_WATCH_STATE_H

#include <stddef.h>
#include <stdint.h>

#include "intercept/watch/orphans.h"

/* The file of --state, of one worker: what an intercept that is started anew has to know; see
 * state.c. */
struct state;

/*
 * Worker 0 has @path itself, worker n @path.n. NULL with words for the user in @err: no such
 * directory, no permission, or what is there is not ours.
 */
struct state *state_open(const char *path, unsigned worker, char *err, size_t err_size);
void state_close(struct state *s);

/* All orphans that workers of an intercept before have left in their files, to whom @fn gives them.
 */
void state_load(const char *path, uint64_t now, void (*fn)(const struct orphan *x, void *arg), void *arg);

/* The files of workers from the @count-th on, which there were before, are not needed any more. */
void state_remove_others(const char *path, unsigned count);

/* Write @o anew if it has changed since. What fails is logged, now and then. */
void state_save(struct state *s, struct orphans *o, uint64_t now);

#endif
