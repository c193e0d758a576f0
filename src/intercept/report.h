#ifndef INTERCEPT_REPORT_H
#define INTERCEPT_REPORT_H

#include "intercept/stats.h"
#include "io/source.h"

/* The full report, to the log. */
void report(const struct stats *s, const struct source_counters *c, unsigned watches_now);

#endif
