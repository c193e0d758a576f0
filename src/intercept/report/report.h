#ifndef INTERCEPT_REPORT_REPORT_H
#define INTERCEPT_REPORT_REPORT_H

#include "program/reporter.h"
#include "program/workers.h"

/* What intercept says of itself while it works. @w must outlive it. NULL: out of memory. */
struct reporter *report_new(struct workers *w);

#endif
