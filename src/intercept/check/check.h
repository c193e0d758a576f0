#ifndef INTERCEPT_CHECK_CHECK_H
#define INTERCEPT_CHECK_CHECK_H

#include "intercept/config.h"

/*
 * --check: examines everything that intercept needs in order to run with @c, and prints a line for each thing
 * on stdout, with a cure where one is needed. @argv is the command line as it was typed; the cures quote it.
 * Fills in the interfaces of @c if it names none. Returns the exit status: 1 if something is broken, else 0.
 */
int check_main(struct config *c, char *const *argv);

/*
 * Would the pcap filter @filter match a SYN-ACK from @from to @to? True as well if @filter is NULL or cannot
 * be compiled.
 */
bool check_filter_passes(const char *filter, const struct endpoint *from, const struct endpoint *to);

#endif
