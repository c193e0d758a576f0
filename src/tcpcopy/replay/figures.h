#ifndef TCPCOPY_REPLAY_FIGURES_H
#define TCPCOPY_REPLAY_FIGURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/hist.h"

/* How a replay stands, for people. */
struct figures {
	bool any;          /* there is a replay */
	bool paced;        /* by times, and not by the target alone */
	bool waits;        /* for the target */
	double share;      /* of the recording, 0 to 1; -1: not known */
	double seconds;    /* since it began, until now or until nothing moved any more */
	double recorded;   /* seconds of recorded time, without what was cut */
	double cut;        /* seconds that were cut of pauses */
	uint64_t requests; /* turns that were handed over, and do not wait for the target any more */
	double late_here,
		late_there;  /* seconds, by which the clock was put back: for this program, for the target */
	double behind;       /* seconds, of what was sent last */
	struct hist handed;  /* ns by which this program was late to hand over */
	struct hist sent;    /* ns from when it was due to its first sending */
	struct hist spacing; /* ns by which the time from one sending to the next was wrong */
};

/* Add those of @pipeline to @sum, a struct figures; see workers_collect(). */
void figures_collect(void *pipeline, void *sum);

/* One line: how far it is, the time left, the rate, how late. @rate: requests a second of late. */
#define FIGURES_TEXT 200
char *figures_format(char text[FIGURES_TEXT], const struct figures *f, double rate);

/*
 * A duration of @ns in its two largest units, such as "2 years 3 days" or "5 minutes". A year has 365 days.
 * Returns @text.
 */
#define FIGURES_DURATION 64
char *figures_duration(char text[FIGURES_DURATION], uint64_t ns);

/* The lines of the account. */
void figures_print(const struct figures *f, FILE *to);

#endif
