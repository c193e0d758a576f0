/*
 * tcpcopy --check - theory of operation
 *
 * In: the configuration of a real start. Out: lines on stdout and an exit status. Nothing is replicated and
 * the rules are not claimed, so it may run beside a tcpcopy that works, or seems to. The checks are in one
 * table, ordered so that each comes after those it depends on. None is skipped because an earlier one failed:
 * whoever repairs the set-up wants to see everything at once.
 */
#include "tcpcopy/check/check.h"

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>

#include "io/capture/source.h"
#include "tcpcopy/check/own.h"

static const struct check checks[] = {
	{ "permissions", check_permissions },
	{ "interfaces", check_interfaces },
	{ "kernel", check_kernel },
	{ "limits", check_limits },
	{ "netfilter", check_netfilter },
	{ "offloads", check_offloads },
	{ "requests", check_requests },
	{ "clients", check_pool },
	{ "route", check_route },
	{ "assistant", check_assistants },
	{ "answers", check_own },
	{ "probe", check_probe },
	{ "clients", check_pool_network },
	{ "ways", check_ways },
};

int check_main(const struct config *c, char *const *argv)
{
	static struct checking k;
	struct check_report report = { 0 };
	int status;

	signal(SIGPIPE, SIG_IGN);
	k.config = c;
	k.argv = argv;
	k.base = event_base_new();
	if (!k.base) {
		fprintf(stderr, "tcpcopy: cannot create the event loop: out of memory or file descriptors\n");
		return 1;
	}
	k.n_interfaces = c->n_interfaces;
	for (unsigned i = 0; i < c->n_interfaces; i++)
		snprintf(k.interfaces[i], sizeof(k.interfaces[i]), "%s", c->interfaces[i]);
	if (!k.n_interfaces)
		k.n_interfaces = capture_interfaces(k.interfaces, CONFIG_MAX_INTERFACES, true);
	status = check_run(&report, checks, ARRAY_SIZE(checks), &k);
	check_live_close(&k);
	check_own_close(k.own);
	event_base_free(k.base);
	return status;
}
