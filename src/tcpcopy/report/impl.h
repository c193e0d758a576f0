#ifndef TCPCOPY_REPORT_IMPL_H
#define TCPCOPY_REPORT_IMPL_H

#include "tcpcopy/report/report.h"

/* The inside of the reports, shared only by report.c and json.c. */
struct report {
	struct reporter reporter;
	const struct config *config;
	struct workers *workers;
	struct swallow *swallow;     /* NULL: there are assistants */
	const struct record *record; /* NULL: nothing is written */
	const struct govern *govern;
	struct account now, since; /* the newest, and the one from which rates are measured */
};

/* The report that has the reporter @r as its head. */
static inline struct report *report_of(struct reporter *r)
{
	return CONTAINER_OF(r, struct report, reporter);
}

/* The names of what is counted by kind, for a function that prints any kind. */
static inline const char *protocol_called(unsigned p)
{
	return protocol_name((enum protocol)p);
}

static inline const char *detail_called(unsigned d)
{
	return detail_name((enum protocol_detail)d);
}

static inline const char *answer_called(unsigned a)
{
	return protocol_answer_name((enum protocol_answer)a);
}

/* Rates between the two accounts. */
struct report_rates {
	double seconds;                                    /* 0: too short to tell; then all is 0 */
	double sessions, segments, bytes, sent, responses; /* a second */
	struct hist lag;                                   /* of the segments sent meanwhile */
};

/* Fill *out with the rates between the two accounts. */
void report_rates(const struct report *r, struct report_rates *out);

/* Reasons for what was not replicated, the most frequent first. */
struct report_reason {
	const char *name, *text;
	uint64_t count, lost;                 /* times; payload bytes */
	const struct engine_example *example; /* NULL: none is kept */
};
#define REPORT_MAX_REASONS (OUTCOME_COUNT + DECLINE_COUNT)
/* Fill @out with the reasons that have occurred, the most frequent first. Returns how many there are. */
unsigned report_reasons(const struct report *r, struct report_reason out[REPORT_MAX_REASONS]);

/* The `json` of struct reporter_ops: adds everything that tcpcopy's JSON has to @all. Returns 0, or -1. */
int report_json(struct reporter *r, struct json_t *all);

#endif
