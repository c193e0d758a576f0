#ifndef TCPCOPY_REPORT_H
#define TCPCOPY_REPORT_H

#include "tcpcopy/pipeline.h"

/* One line of rates and totals, for --stats. Keeps what it printed last to make rates of it. */
void report_status(struct pipeline *p);

/* The whole account, into the log: only rows that are not zero. */
void report_account(struct pipeline *p);

#endif
