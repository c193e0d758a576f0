/*
 * Which ways back would work from here, and how each is had?
 *
 * In: what the checks before have found of the way of the command line. Out: a line for each way, best first,
 * with its command. A way that keeps the clients' addresses is better than one that does not. With assistants
 * the way by own addresses is tried here as well, with a table, captures and a probe of its own, whose
 * findings nobody sees. What would need a change on another host cannot be tried, and is only named.
 */
#include <stdio.h>
#include <string.h>

#include "io/inject/route.h"
#include "tcpcopy/check/own.h"

#define COMMAND_TEXT 600

/* What was typed, without what is for the check only. */
static const char *as_typed(const struct checking *k, char buf[COMMAND_TEXT])
{
	const char *const leave_out[] = { "--check", "--probe-from", k->config->probe_from_text, NULL };

	return check_command(buf, COMMAND_TEXT, k->argv, leave_out, NULL);
}

static const char *without_assistant(const struct checking *k, char buf[COMMAND_TEXT])
{
	const struct config *c = k->config;
	size_t n = (size_t)snprintf(buf, COMMAND_TEXT, "%s -x ", k->argv[0]);

	for (unsigned i = 0; i < c->n_rules && n < COMMAND_TEXT; i++)
		n += (size_t)snprintf(buf + n, COMMAND_TEXT - n, "%s%s", i ? "," : "", c->rules[i].text);
	return buf;
}

/* Is the first target this very host? Then there is no network on which a client's address could be kept. */
static bool target_is_here(const struct config *c)
{
	struct route_info route;

	return !route_lookup(&route, &c->rules[0].target.addr) && route.local;
}

/* Would it work without -s? */
static bool try_own(const struct checking *k)
{
	static struct config c;
	static struct checking own;
	struct check_report unseen = { .quiet = true };
	bool works;

	c = *k->config;
	c.way_back = RETURN_OWN;
	c.n_assistants = c.n_pool = 0;
	c.secret = NULL;
	own = (struct checking){
		.config = &c, .argv = k->argv, .base = k->base, .n_interfaces = k->n_interfaces
	};
	memcpy(own.interfaces, k->interfaces, sizeof(own.interfaces));
	check_own(&unseen, &own);
	if (own.own)
		check_probe(&unseen, &own);
	works = own.own && own.probed_all && !unseen.broken;
	check_live_close(&own);
	check_own_close(own.own);
	return works;
}

static void say_assistant(struct check_report *report, const struct checking *k)
{
	char command[COMMAND_TEXT];

	if (!k->config->n_assistants && target_is_here(k->config))
		return;
	if (!k->config->n_assistants) {
		check_note(
			report, CHECK_OK,
			"not tried: a third host with intercept, for which the target has a route: -s names "
			"it; the target then sees the clients' addresses, and no response comes here");
		return;
	}
	if (!check_live_any_up(k) || k->probe_broken)
		return;
	if (k->probed_all)
		check_note(report, CHECK_OK,
			   "works: %s: the target sees the clients' addresses, and no response comes here",
			   as_typed(k, command));
	else
		check_note(
			report, CHECK_OK,
			"may work: %s: intercept answers, but no response was seen to come back through it",
			as_typed(k, command));
}

static void say_own(struct check_report *report, const struct checking *k)
{
	const bool typed = k->config->way_back == RETURN_OWN;
	char command[COMMAND_TEXT];

	if (typed ? k->own && k->probed_all : try_own(k))
		check_note(
			report, CHECK_OK,
			"works: %s: no other host is needed, but the target sees this host's address and not the "
			"clients', and its responses come in here",
			typed ? as_typed(k, command) : without_assistant(k, command));
}

static void say_on_target(struct check_report *report, const struct config *c)
{
	const struct rule *rule = &c->rules[0];
	char target[ADDR_TEXT_LEN];
	bool v4 = addr_is_v4(&rule->target.addr);

	if (target_is_here(c))
		return;
	for (unsigned i = 0; i < c->n_assistants; i++)
		if (addr_eq(&c->assistants[i].at.addr, &rule->target.addr))
			return; /* it is the way of the command line */
	addr_format(target, sizeof(target), &rule->target.addr);
	check_note(
		report, CHECK_OK,
		"not tried: intercept --on-target ADDRESS on the target, with a second address for it, and here "
		"tcpcopy -x %u-%s:%u -s %s%s%s: the target sees the clients' addresses, and no third host is needed",
		rule->online_port, v4 ? "ADDRESS" : "[ADDRESS]", rule->target.port, v4 ? "" : "[", target,
		v4 ? "" : "]");
}

void check_ways(struct check_report *report, void *arg)
{
	const struct checking *k = arg;

	if (k->config->n_assistants)
		say_assistant(report, k);
	say_own(report, k);
	say_on_target(report, k->config);
	if (!k->config->n_assistants)
		say_assistant(report, k);
}
