#ifndef STILL_CLOCK_H
#define STILL_CLOCK_H

/* The monotonic clock of this test program, also for libevent: it stands still until the test moves it. */
void clock_move(unsigned ms);

#endif
