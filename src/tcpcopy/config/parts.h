#ifndef TCPCOPY_CONFIG_PARTS_H
#define TCPCOPY_CONFIG_PARTS_H

#include "base/util.h"
#include "tcpcopy/config/config.h"

/* The parts of config_parse(), for this folder alone; the fuzzer calls them one by one. */

/*
 * The three lists. @list is the value as typed, its elements are appended to *c; may be called
 * again for a further option. Names are resolved, so rules and assistants may block. NULL, or what is
 * wrong in words for the middle of a message, as args_option.set() returns them. A assistant without a
 * port gets port 0.
 */
const char *config_add_rules(struct config *c, const char *list);
const char *config_add_assistants(struct config *c, const char *list);
const char *config_add_pool(struct config *c, const char *list);

/* HOST or HOST:PORT, as one element of the lists above; without a port it is 0. */
const char *config_parse_endpoint(struct endpoint *e, const char *text);

/* Does the configuration make sense as a whole, and on this host? 0; or 2 (usage error), and stderr
 * says why. */
int config_check(const struct config *c);

#endif
