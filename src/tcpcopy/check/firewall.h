#ifndef TCPCOPY_CHECK_FIREWALL_H
#define TCPCOPY_CHECK_FIREWALL_H

#include "packet/addr.h"
#include "program/check.h"

/* Cures for a firewall whose tables are not known, because they are on another host. See firewall.c. */

/*
 * On @where, let in what comes to *at, from *from alone unless that is NULL. @step: it is a further
 * step of the finding *r, else its cure.
 */
void firewall_let_in(struct check_result *r, const char *where, const struct endpoint *at,
		     const struct addr *from, bool step);

/* On this host, let out what goes to *to. */
void firewall_let_out(struct check_result *r, const struct endpoint *to);

/* On this host, keep connection tracking from what goes to *to. */
void firewall_untrack(struct check_result *r, const struct endpoint *to);

#endif
