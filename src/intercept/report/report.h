#ifndef INTERCEPT_REPORT_REPORT_H
#define INTERCEPT_REPORT_REPORT_H

#include "program/reporter.h"
#include "program/workers.h"

/* The content of intercept's reports, for frame_report(). @w must outlive it. Returns NULL: no memory. */
struct reporter *report_new(struct workers *w);

#endif
