#ifndef TCPCOPY_CHECK_CHECK_H
#define TCPCOPY_CHECK_CHECK_H

#include "tcpcopy/config/config.h"

/*
 * --check: look at everything that replication with *c needs, and print a line for each finding to stdout,
 * with its cure. @argv: the command line as typed, for the cures. Returns the status to exit with: 1 if
 * something is broken, else 0. Takes some seconds.
 */
int check_main(const struct config *c, char *const *argv);

#endif
