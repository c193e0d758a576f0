#ifndef TCPCOPY_REPORT_REPORT_H
#define TCPCOPY_REPORT_REPORT_H

#include "tcpcopy/report/account.h"
#include "tcpcopy/workers.h"

/*
 * What tcpcopy says of itself while it works: the line of --stats, the account in the log, the file of
 * --report, the screen of --status. One of them, on the main thread.
 */
struct report;

/* @c and @w outlive it. NULL with words in @err: the file of --report cannot be written, or no memory. */
struct report *report_open(const struct config *c, struct workers *w, char *err, size_t err_size);
void report_close(struct report *r);

/* A line of rates and totals into the log, and the file anew. */
void report_interval(struct report *r);
/* The whole account into the log, and the file anew. */
void report_account(struct report *r);
/* One screen of text, or the JSON of the file; to be freed. NULL: out of memory. */
char *report_status(struct report *r, bool json);

#endif
