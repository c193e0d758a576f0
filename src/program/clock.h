#ifndef PROGRAM_CLOCK_H
#define PROGRAM_CLOCK_H

#include <stdint.h>
#include <time.h>

#include "base/util.h"

/*
 * The clocks, in ns. All times of both programs are those of clock_now(). The wall clock, which may be set,
 * is only for what crosses the process's borders: the kernel's stamps, files, lines of text. packet/ and
 * session/ read no clock: their callers tell them the time.
 */

/* *t in ns. */
static inline uint64_t clock_ns(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * NS_PER_SEC + (uint64_t)t->tv_nsec;
}

/* What the clock @id shows now, in ns. */
static inline uint64_t clock_read(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return clock_ns(&t);
}

/* The time since the host started, without the time that it was suspended: CLOCK_MONOTONIC. */
static inline uint64_t clock_now(void)
{
	return clock_read(CLOCK_MONOTONIC);
}

/* The same at the kernel's last tick, so some ms old, for half the price or less. */
static inline uint64_t clock_coarse(void)
{
	return clock_read(CLOCK_MONOTONIC_COARSE);
}

/* The wall clock: ns since the epoch. */
static inline uint64_t clock_wall(void)
{
	return clock_read(CLOCK_REALTIME);
}

#endif
