#ifndef TCPCOPY_CHECK_UNHEARD_H
#define TCPCOPY_CHECK_UNHEARD_H

#include "program/check.h"
#include "tcpcopy/config/config.h"

/*
 * Nothing was captured for *rule: why may that be? Looks at the sockets of this host, which needs no
 * privilege. Returns false if nothing is wrong that can be seen: no client is connected. *r: what is, and
 * what to do. @published: netfilter hands its connections on, so nobody here has to listen. With @elsewhere,
 * a process in a container that listens is looked for as well, and @argv, the command line, is used in what
 * to type.
 */
bool unheard_diagnose(struct check_result *r, const struct config *c, const struct rule *rule, bool published,
		      bool elsewhere, char *const *argv);

/* Do requests of *rule reach who listens on @listener? */
bool unheard_reached(const struct rule *rule, const struct addr *listener);

/* Words for the client @own, an address of this host itself, where -c is not given. Returns @buf. */
char *unheard_own_client(char *buf, size_t size, const struct rule *rule, const struct addr *own);

#endif
