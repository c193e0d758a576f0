#ifndef TCPCOPY_REPORT_IMPL_H
#define TCPCOPY_REPORT_IMPL_H

#include <time.h>

#include "program/replace.h"
#include "tcpcopy/report/report.h"

/* Inside of the reports; shared by report*.c alone. */
struct report {
	const struct config *config;
	struct workers *workers;
	struct replace *file; /* of --report; NULL: none */
	uint64_t write_failures;
	time_t started;            /* wall clock */
	uint64_t started_at;       /* ns */
	struct account now, since; /* the newest, and the one that rates are counted from */
	uint64_t at, since_at;     /* ns, when */
};

/* Rates between the two accounts. */
struct report_rates {
	double seconds;                                    /* 0: too short to tell; then all is 0 */
	double sessions, segments, bytes, sent, responses; /* a second */
	struct hist lag;                                   /* of the segments sent meanwhile */
};

void report_rates(const struct report *r, struct report_rates *out);

/* Reasons for what was not replicated, the most frequent first. */
struct report_reason {
	const char *name, *text;
	uint64_t count, lost;                 /* times; payload bytes */
	const struct engine_example *example; /* NULL: none is kept */
};
#define REPORT_MAX_REASONS (OUTCOME_COUNT + DECLINE_COUNT)
unsigned report_reasons(const struct report *r, struct report_reason out[REPORT_MAX_REASONS]);

/* Wall clock of @at (ns, CLOCK_MONOTONIC) as ISO 8601 with the zone. */
char *report_time(const struct report *r, uint64_t at, char out[ACCOUNT_TIME_LEN]);

char *report_json(const struct report *r); /* to be freed; NULL: out of memory */

#endif
