/*
 * Can --on-target be, with these addresses?
 *
 * In: the addresses, and this host's routes, rules and settings. Out: what is wrong first, and what to type.
 * Whether another host has an address is asked as the kernel asks for a neighbour, by a connection to it:
 * nobody who is there fails to answer that, even if the connection itself is dropped. All addresses are asked
 * for at once, because it takes the kernel three seconds to find that nobody answers.
 */
#include "intercept/hole/on_target_impl.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "io/host/host.h"
#include "io/host/reach.h"
#include "io/host/settings.h"
#include "io/inject/route.h"
#include "program/clock.h"

#define NOBODY_MS 4000 /* three questions, a second each */
#define ANY_PORT 9     /* discard: it does not matter who answers */

long long on_target_setting(const char *interface, const char *name)
{
	char path[128];
	long long all, own;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/all/%s", name);
	all = host_number(path);
	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/%s", interface, name);
	own = host_number(path);
	return MAX(all, own);
}

struct search {
	const struct addr *addr;
	bool found;
};

static void compare(const struct addr *from, void *arg)
{
	struct search *s = arg;

	s->found |= addr_eq(from, s->addr);
}

/* Has a killed intercept left the rule of this address? */
static bool is_left(const struct addr *a)
{
	struct search s = { a, false };

	settings_rules(ON_TARGET_TABLE, compare, &s);
	return s.found;
}

/* A question to one address, which only a host that has it answers. */
struct asking {
	struct reach reach;
	bool gateway; /* the next hop is another one's */
};

static void ask_for(struct asking *q, const struct addr *a, const struct route_info *route)
{
	const struct endpoint there = { *a, ANY_PORT };

	q->gateway = route->has_gateway;
	reach_open(&q->reach, &there);
}

/* Does another host have it? @until (ns) ends the wait of all. */
static bool is_taken(struct asking *q, uint64_t until)
{
	struct pollfd p = { .fd = q->reach.fd, .events = POLLOUT };
	enum reach_state state;

	while (p.fd >= 0 && !q->reach.error && clock_now() < until &&
	       poll(&p, 1, (int)((until - clock_now()) / NS_PER_MS + 1)) <= 0)
		;
	state = reach_state(&q->reach);
	reach_close(&q->reach);
	return state == REACH_CONNECTED || state == REACH_RESET || (state == REACH_SILENT && !q->gateway);
}

static bool address_possible(const struct addr *a, struct asking *q, struct check_result *r)
{
	char text[ADDR_TEXT_LEN];
	struct route_info route;

	addr_format(text, sizeof(text), a);
	if (route_is_local(a)) {
		if (is_left(a))
			return true;
		check_text(
			r, CHECK_BROKEN,
			"--on-target %s: this host has that address already, and all that it sends from there "
			"would be lost; name one that nobody has",
			text);
		check_cure(r, "this host", "ip address show");
		return false;
	}
	if (route_lookup(&route, a) || route.unreachable || !route.interface[0]) {
		check_text(
			r, CHECK_BROKEN,
			"--on-target %s: this host has no link to that address's network, so nobody would ask "
			"it for the address",
			text);
		check_cure(r, "this host", "ip route get %s", text);
		return false;
	}
	if (addr_is_v4(a) && on_target_setting(route.interface, "rp_filter") == 1) {
		check_text(
			r, CHECK_BROKEN,
			"the reverse path filter of %s is strict and would drop the copies, because the way back "
			"to their clients is the black hole",
			route.interface);
		check_cure(r, "this host", "sysctl -w net.ipv4.conf.%s.rp_filter=2", route.interface);
		return false;
	}
	ask_for(q, a, &route);
	return true;
}

static bool all_free(const struct config *c, struct asking *q, struct check_result *r)
{
	const uint64_t until = clock_now() + NOBODY_MS * NS_PER_MS;
	char text[ADDR_TEXT_LEN];
	bool free = true;

	for (unsigned i = 0; i < c->n_on_target; i++) {
		if (!is_taken(&q[i], until))
			continue;
		free = false;
		addr_format(text, sizeof(text), &c->on_target[i]);
		check_text(r, CHECK_BROKEN,
			   "--on-target %s: another host answers for that address; name one that nobody has",
			   text);
		check_cure(r, "this host", "ip neighbour show %s", text);
	}
	return free;
}

bool on_target_possible(const struct config *c, struct check_result *r)
{
	struct asking q[CONFIG_MAX_ON_TARGET] = { 0 };
	bool possible = true;

	*r = (struct check_result){ 0 };
	if (!host_has_capability(HOST_CAP_NET_ADMIN)) {
		check_text(r, CHECK_BROKEN, "--on-target needs CAP_NET_ADMIN: run as root");
		return false;
	}
	if (access("/dev/net/tun", R_OK | W_OK)) {
		check_text(r, CHECK_BROKEN, "--on-target needs /dev/net/tun: %s", strerror(errno));
		check_cure(r, "this host", "modprobe tun");
		return false;
	}
	for (unsigned i = 0; i < CONFIG_MAX_ON_TARGET; i++)
		q[i].reach.fd = -1;
	for (unsigned i = 0; i < c->n_on_target && possible; i++)
		possible = address_possible(&c->on_target[i], &q[i], r);
	if (possible)
		return all_free(c, q, r);
	for (unsigned i = 0; i < c->n_on_target; i++)
		reach_close(&q[i].reach);
	return false;
}
