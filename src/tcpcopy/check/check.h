#ifndef TCPCOPY_CHECK_CHECK_H
#define TCPCOPY_CHECK_CHECK_H

#include "tcpcopy/config/config.h"

/*
 * --check: look at everything that replication by @c needs, say a line for each thing on stdout,
 * with its cure. @argv: as typed, for the cures. Returns the status to exit with: 1 when something
 * is broken, else 0. Takes some seconds.
 */
int check_main(const struct config *c, char *const *argv);

#endif
