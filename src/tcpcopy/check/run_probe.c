/*
 * The live probe of --check.
 *
 * In: the targets of the rules. Out: one probe for each, and a line for what it has seen.
 */
#include <event2/event.h>

#include "tcpcopy/check/own.h"
#include "tcpcopy/check/parts.h"
#include "tcpcopy/check/probe.h"

static void on_done(struct checking *k)
{
	event_base_loopbreak(k->base);
}

/* Returns whether all is well. */
static bool probe_one(struct check_report *report, struct checking *k, unsigned rule)
{
	const struct rule *to = &k->config->rules[rule];
	struct check_result r = { 0 };
	char at[ENDPOINT_TEXT_LEN], command[900];
	bool whole;

	if (!check_live_probe(k, rule, on_done)) {
		check_note(report, CHECK_BROKEN, "out of memory");
		return false;
	}
	event_base_dispatch(k->base);
	if (check_own_heard(k->own)) {
		check_note(
			report, CHECK_BROKEN,
			"%s sends with a TTL of 255, so listening sockets do not keep its answers from this "
			"host's TCP, which resets them; an nft table does (run as root), or let them go to an "
			"assistant (-s)",
			endpoint_format(at, sizeof(at), &to->target));
		return false;
	}
	probe_diagnose(&r, probe_result(k->probe), k->config);
	whole = probe_result(k->probe)->source.port;
	if (k->last_port && r.state == CHECK_OK)
		return true; /* as from the first one */
	check_say(report, &r);
	if (whole || !check_live_any_up(k))
		return r.state == CHECK_OK;
	check_text(
		&r, CHECK_WARNING,
		"no client is known, so the way back from %s was not tried; to try it with a client's address",
		endpoint_format(at, sizeof(at), &to->target));
	check_cure(&r, "this host", "%s",
		   check_command(command, sizeof(command), k->argv, NULL, "--probe-from ADDRESS"));
	check_say(report, &r);
	return false;
}

void check_probe(struct check_report *report, void *arg)
{
	struct checking *k = arg;
	const struct config *c = k->config;
	const unsigned broken = report->broken;
	char err[512];

	if (check_live_open(k, err, sizeof(err)))
		return; /* said before */
	k->probed_all = true;
	for (unsigned i = 0; i < c->n_rules; i++) {
		unsigned j = 0;

		while (j < i && !endpoint_eq(&c->rules[j].target, &c->rules[i].target))
			j++;
		if (j < i)
			continue;
		if (!probe_one(report, k, i))
			k->probed_all = false;
		else if (k->own) {
			k->last_port = true; /* a firewall may let some ports pass */
			k->probed_all &= probe_one(report, k, i);
			k->last_port = false;
		}
	}
	k->probe_broken = report->broken > broken;
}
