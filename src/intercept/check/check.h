#ifndef INTERCEPT_CHECK_CHECK_H
#define INTERCEPT_CHECK_CHECK_H

#include "intercept/config.h"

/*
 * --check: look at everything that intercept needs to run by @c, say a line for each thing on
 * stdout, with its cure. @argv: as typed, for the cures. Returns the status to exit with: 1 when
 * something is broken, else 0.
 */
int check_main(struct config *c, char *const *argv);

/* Does @filter (pcap-filter(7); NULL: of no kind) let pass what @from sends to @to? */
bool check_filter_passes(const char *filter, const struct endpoint *from, const struct endpoint *to);

#endif
