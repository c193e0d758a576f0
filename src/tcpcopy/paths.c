/*
 * The ways to the targets, for all workers and in words - theory of operation
 *
 * Each worker's engine finds out how large packets the way to a target takes (path/path.h). What one has
 * found goes to the others by letters, and only one sends a probe for a rule at a time: a flag for each rule,
 * taken and given back without a lock. A letter that comes late, or not, costs one more probe.
 *
 * A copy in a packet that is too large is lost, and a router may tell its client so, whose kernel remembers
 * it for the target's address and no other. So the operator is told once, with the route that spares even
 * that.
 */
#include "tcpcopy/paths.h"

#include <stdio.h>

#include "io/inject/route.h"
#include "program/workers.h"
#include "tcpcopy/pipeline.h"

#define FOUND_AFTER (3 * NS_PER_SEC) /* from the first loss: if nothing larger is sent, this is the size */

struct news {
	unsigned rule;
	struct path path;
};

bool paths_claim(struct paths *p, unsigned rule)
{
	return !atomic_exchange(&p->probing[rule], true);
}

static void on_news(void *pipeline, const void *data)
{
	struct pipeline *p = pipeline;
	const struct news *n = data;

	engine_learn_path(p->engine, n->rule, &n->path);
}

void paths_news(struct paths *p, struct workers *w, unsigned me, unsigned rule, const struct path *path,
		bool claimed)
{
	const struct news n = { .rule = rule, .path = *path };

	for (unsigned i = 0; i < workers_count(w); i++)
		if (i != me)
			workers_post(w, i, on_news, &n, sizeof(n));
	if (claimed)
		atomic_store(&p->probing[rule], false);
}

uint32_t paths_settled(const struct path *path, uint64_t now)
{
	const bool found = path->proved >= path->most || path->most <= path->base;

	return path->narrow && (found || now - path->lost_at > FOUND_AFTER) ? path->limit : 0;
}

char *paths_cure(char *buf, size_t size, const struct addr *target, const struct route_info *r, uint32_t mtu)
{
	const bool v4 = addr_is_v4(target);
	char to[ADDR_TEXT_LEN], gateway[ADDR_TEXT_LEN], via[ADDR_TEXT_LEN + 8] = "";

	if (r->has_gateway)
		snprintf(via, sizeof(via), " via %s", addr_format(gateway, sizeof(gateway), &r->gateway));
	snprintf(buf, size, "ip %sroute replace %s/%u%s dev %s mtu %u", v4 ? "" : "-6 ",
		 addr_format(to, sizeof(to), target), v4 ? 32U : 128U, via, r->interface, mtu);
	return buf;
}

char *paths_text(char *buf, size_t size, const struct rule *rule, const struct path *path)
{
	char cure[200];
	struct route_info r;

	if (route_lookup(&r, &rule->target.addr))
		r = (struct route_info){ .interface = "DEVICE" };
	snprintf(buf, size,
		 "-x %s: packets of %u bytes do not arrive at the target, smaller ones do: a link on the way "
		 "takes less than the %u bytes of this host's route, and drops the rest. Copies are cut to "
		 "packets of at most %u bytes, and a larger one is tried every 10 minutes; to spare that, on "
		 "this host type: %s",
		 rule->text, path->lost, path->route, path->limit,
		 paths_cure(cure, sizeof(cure), &rule->target.addr, &r, path->limit));
	return buf;
}
