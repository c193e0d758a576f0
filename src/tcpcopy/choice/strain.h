#ifndef TCPCOPY_CHOICE_STRAIN_H
#define TCPCOPY_CHOICE_STRAIN_H

#include "compare/condition.h"
#include "session/session.h"

/* What --breaker measures of a target, over STRAIN_SECONDS. One table: enum, name, units, quantile? */
#define STRAIN_TARGET(X)                                                                                     \
	X(ANSWER, answer, CONDITION_TIME, true)                                                              \
	X(REFUSED, refused, CONDITION_SHARE, false)                                                          \
	X(RESET, reset, CONDITION_SHARE, false)                                                              \
	X(UNANSWERED, unanswered, CONDITION_SHARE, false)
/* What --yield measures of this host, over the last STRAIN_HOST_SECONDS. */
#define STRAIN_HOST(X)                                                                                       \
	X(CPU, cpu, CONDITION_SHARE, false)                                                                  \
	X(MEMORY, memory, CONDITION_SHARE, false)                                                            \
	X(DROPS, drops, CONDITION_COUNT, false)
#define STRAIN_SECONDS 10
#define STRAIN_HOST_SECONDS 5

enum strain {
#define X(id, name, units, quantile) STRAIN_##id,
	STRAIN_TARGET(X) STRAIN_HOST(X)
#undef X
		STRAIN_COUNT
};
#define STRAIN_TARGET_COUNT 4
#define STRAIN_HOST_COUNT 3

/* For condition_parse(); the ids are enum strain. */
extern const struct condition_metric strain_target[STRAIN_TARGET_COUNT], strain_host[STRAIN_HOST_COUNT];

/* What this host was like lately. */
struct strain_host {
	bool cpu_known, memory_known;
	double cpu, memory; /* shares of 1 */
	uint64_t drops;     /* packets that its kernel dropped before they were captured */
};

/* *now less *then, which was earlier: what has happened between. */
void strain_between(struct engine_pace *now, const struct engine_pace *then);

/*
 * What *c measures of a target whose sessions of late are *lately. In the unit of *c's limit. Returns
 * false if nothing has happened that could be measured.
 */
bool strain_of_target(const struct condition *c, const struct engine_pace *lately, double *value);

/* The same of this host. */
bool strain_of_host(const struct condition *c, const struct strain_host *lately, double *value);

/* Write "answer p99 3.2 s > 2 s" into @buf, for a condition that is met by @value. Returns @buf. */
#define STRAIN_TEXT 80
char *strain_format(char buf[STRAIN_TEXT], const struct condition *c, double value);

#endif
