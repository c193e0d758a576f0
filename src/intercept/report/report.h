#ifndef INTERCEPT_REPORT_REPORT_H
#define INTERCEPT_REPORT_REPORT_H

#include "intercept/config.h"
#include "intercept/workers.h"

/*
 * What intercept says of itself while it works: the line of --stats, the account in the log, the
 * file of --report, the screen of --status.
 */
struct report;

/* Both outlive it. NULL with words in @err: the file of --report cannot be written. */
struct report *report_open(const struct config *c, struct workers *w, char *err, size_t err_size);
void report_close(struct report *r);

void report_interval(struct report *r); /* a line into the log, and the file anew */
void report_account(struct report *r);  /* the account into the log, and the file anew */
/* One screen of text, or the JSON of the file; to be freed. NULL: out of memory. */
char *report_status(struct report *r, bool json);

#endif
