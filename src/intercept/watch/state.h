#ifndef INTERCEPT_WATCH_STATE_H
#define INTERCEPT_WATCH_STATE_H

#include <stddef.h>
#include <stdint.h>

#include "intercept/watch/orphans.h"

/* The file of --state of one worker: what intercept must know after a restart; see state.c. */
struct state;

/*
 * Opens the file of a worker: worker 0 has @path itself, worker n has @path.n. Writes nothing yet. Returns
 * NULL with a message for the user in @err: no such directory, no permission, or the file is not a state
 * file.
 */
struct state *state_open(const char *path, unsigned worker, char *err, size_t err_size);
/* Closes the file without saving. @s may be NULL. */
void state_close(struct state *s);

/*
 * Calls @fn with @arg for each orphan in the files of all workers of an earlier intercept, however many these
 * were. @now: ns of CLOCK_MONOTONIC; the times of the orphans are converted to that clock.
 */
void state_load(const char *path, uint64_t now, void (*fn)(const struct orphan *x, void *arg), void *arg);

/* Removes the files of workers with the index @count and above: an earlier intercept had more workers. */
void state_remove_others(const char *path, unsigned count);

/*
 * Saves @o if it has changed since the last time, in two steps. state_take() copies it, up to 4 MiB, and
 * never waits; call it in the thread that @o belongs to, with @now in ns of CLOCK_MONOTONIC.
 */
void state_take(struct state *s, struct orphans *o, uint64_t now);
/*
 * Replaces the file by what state_take() has copied, if anything. May wait for the disk. A failure is logged.
 * Must not run at the same time as state_take().
 */
void state_write(struct state *s);
/* Does both steps. Call this while the worker does not run. */
void state_save(struct state *s, struct orphans *o, uint64_t now);

#endif
