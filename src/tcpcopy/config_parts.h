#ifndef TCPCOPY_CONFIG_PARTS_H
#define TCPCOPY_CONFIG_PARTS_H

#include "base/util.h"
#include "tcpcopy/config.h"

/* The parts of config_parse(); nobody else includes this. */

/* Where a refusal is written. */
struct refusal {
	char *text;
	size_t size;
};

/* Write the refusal; always returns -1, so that "return refuse(...)" ends a parser. */
int refuse(const struct refusal *r, const char *fmt, ...) PRINTF_LIKE(2, 3);

/*
 * The three lists. @list is the value as typed, its elements are appended to *c; may be called again for a further option.
 * Names are resolved, so rules and peers may block. 0, or -1 with the refusal. A peer without a port gets port 0.
 */
int config_add_rules(struct config *c, const char *list, const struct refusal *r);
int config_add_peers(struct config *c, const char *list, const struct refusal *r);
int config_add_pool(struct config *c, const char *list, const struct refusal *r);

/* Does the configuration make sense as a whole, and on this host? 0, or -1 with the refusal. */
int config_check(const struct config *c, const struct refusal *r);

/* As typed: 192.0.2.0/24, 2001:db8::/64. Returns @buf. */
#define PREFIX_TEXT_LEN (ADDR_TEXT_LEN + 4)
char *config_prefix_format(char *buf, size_t size, const struct prefix *p);

#endif
