#ifndef IO_HOST_CHECKS_H
#define IO_HOST_CHECKS_H

#include <stdbool.h>

#include "program/check.h"
#include "io/capture/source.h"

/* The checks of this host that --check of both programs makes. Each prints a line. */

/*
 * Does the process have CAP_NET_RAW? If not, the finding is @otherwise, and the cure is the command line
 * @argv with sudo.
 */
void host_check_capability(struct check_report *report, const char *otherwise, char *const *argv);

/* Is the interface @name up? Prints a line only if it is not. */
bool host_check_interface(struct check_report *report, const char *name);

/* Can packets be captured with the options *o? Without CAP_NET_RAW nothing is printed; see above. */
void host_check_capture(struct check_report *report, const struct capture_options *o);

#endif
