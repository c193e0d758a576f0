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

/*
 * Save @o if it has changed since the last time, in two steps. state_take() copies it, up to 4 MiB, and never
 * waits: it is for the thread that @o belongs to. state_write() replaces the file and may wait for the disk;
 * it logs a failure now and then. The two must not run at the same time.
 */
void state_take(struct state *s, struct orphans *o, uint64_t now);
void state_write(struct state *s);
/* Both steps, while the worker does not run. */
void state_save(struct state *s, struct orphans *o, uint64_t now);

#endif
