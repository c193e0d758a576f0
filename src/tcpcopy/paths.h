#ifndef TCPCOPY_PATHS_H
#define TCPCOPY_PATHS_H

#include <stdatomic.h>
#include <stddef.h>

#include "path/path.h"
#include "tcpcopy/config/config.h"

struct workers;

/*
 * How large packets the ways to the targets take, known to all workers: which of them has a probe on its way,
 * of each rule. All zero: none has. The one thing that workers write in common, so that the clients of a
 * narrow way get one ICMP message, and not one from each worker's probe.
 */
struct paths {
	atomic_bool probing[CONFIG_MAX_RULES];
};

/* May the caller, a worker, send a probe for the rule @rule? If so, paths_news() ends that. */
bool paths_claim(struct paths *p, unsigned rule);

/* Worker @me of @w knows *path of the way of rule @rule; @claimed: its probe is over. Tell the others. */
void paths_news(struct paths *p, struct workers *w, unsigned me, unsigned rule, const struct path *path,
		bool claimed);

/*
 * The size that packets of *path have now, if it is known, or has been for long enough not to be found; 0:
 * wait.
 */
uint32_t paths_settled(const struct path *path, uint64_t now);

struct route_info;

/* The command for this host that gives the route *r to *target the MTU @mtu. Returns @buf. */
char *paths_cure(char *buf, size_t size, const struct addr *target, const struct route_info *r, uint32_t mtu);

#define PATHS_TEXT 700
/*
 * One line about *path, which is narrow, for *rule: what is lost, what is sent instead, and a command for
 * this host. Returns @buf.
 */
char *paths_text(char *buf, size_t size, const struct rule *rule, const struct path *path);

#endif
