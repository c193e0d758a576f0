#ifndef INTERCEPT_HOLE_TARGETS_H
#define INTERCEPT_HOLE_TARGETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "packet/addr.h"

/* Endpoints that the connected tcpcopys have announced as targets. */
#define TARGETS_MAX 4096u
#define TARGETS_FILTER_PAIRS 64u /* up to here the filter names address and port */
#define TARGETS_LINGER_NS                                                                                    \
	(60 * NS_PER_SEC) /* an endpoint without a watch is kept so long: last retransmissions */

struct target {
	struct endpoint endpoint;
	unsigned users;   /* watches, and connections that announced it by TARGET: not yet used up */
	uint64_t idle_at; /* ns, when users became 0 */
	bool guarded;     /* guard_add() has taken it */
};

struct targets {
	struct target list[TARGETS_MAX]; /* sorted */
	unsigned count;
	unsigned refused; /* announcements beyond TARGETS_MAX */
};

/* One more user. True when the endpoint is new. */
bool targets_use(struct targets *t, const struct endpoint *e);
void targets_release(struct targets *t, const struct endpoint *e, uint64_t now);
bool targets_has(const struct targets *t, const struct endpoint *e);
/* Forget those that are idle for long. True when there were any. */
bool targets_expire(struct targets *t, uint64_t now);

/* A pcap filter for all responses of the targets, as narrow as its length allows; one that matches
 * nothing when there are none. Returns @buf. */
#define TARGETS_FILTER_SIZE 8192
char *targets_filter(const struct targets *t, char buf[TARGETS_FILTER_SIZE]);

#endif
