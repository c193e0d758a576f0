/*
 * A clock that the test moves. The program's own clock_gettime() is found before that of the C library,
 * by the libraries, too. So libevent's timers go by it. The loop must be run without blocking, since the
 * kernel waits by its own clock. The wall clock goes on.
 *
 * A program that calls clock_move() has this clock, any other the kernel's.
 */
#include "still_clock.h"

#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ms = 1000000;

void clock_move(unsigned ms)
{
	now_ms += ms;
}

int clock_gettime(clockid_t id, struct timespec *t)
{
	if (id != CLOCK_MONOTONIC && id != CLOCK_MONOTONIC_COARSE)
		return (int)syscall(SYS_clock_gettime, id, t);
	t->tv_sec = (time_t)(now_ms / 1000);
	t->tv_nsec = (long)(now_ms % 1000) * 1000000;
	return 0;
}
