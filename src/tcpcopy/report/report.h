#ifndef TCPCOPY_REPORT_REPORT_H
#define TCPCOPY_REPORT_REPORT_H

#include "program/reporter.h"
#include "tcpcopy/report/account.h"
#include "program/workers.h"

/* What tcpcopy says of itself while it works. @c and @w must outlive it. NULL: out of memory. */
struct reporter *report_new(const struct config *c, struct workers *w);

#endif
