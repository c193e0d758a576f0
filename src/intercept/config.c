/*
 * The command line of intercept.
 *
 * In: argv. Out: a struct config whose strings live in argv, or one line on stderr that names the option, the
 * value as typed and what would be accepted. Values are judged here as far as that needs no privilege; what
 * the kernel says to them (the port is in use, no right to capture) comes when they are used.
 */
#include "intercept/config.h"

#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "program/options.h"
#include "base/util.h"
#include "build/config.h"
#include "channel/message.h"
#include "io/capture/source.h"

static const char *no_such_interface(const char *name)
{
	struct if_nameindex *list = if_nameindex(), *i;
	char names[256] = "";
	size_t n = 0;

	for (i = list; i && i->if_index && n < sizeof(names); i++)
		n += (size_t)snprintf(names + n, sizeof(names) - n, "%s%s", n ? ", " : "", i->if_name);
	if (list)
		if_freenameindex(list);
	return args_wrong("interface %s does not exist; available: %s", name, names);
}

static const char *add_interface(struct config *c, const char *name)
{
	if (!*name)
		return "a name is missing";
	if (strlen(name) >= sizeof(c->interfaces[0]) || !if_nametoindex(name))
		return no_such_interface(name);
	for (unsigned i = 0; i < c->n_interfaces; i++)
		if (!strcmp(c->interfaces[i], name))
			return args_wrong("interface %s is named twice", name);
	if (c->n_interfaces == CONFIG_MAX_INTERFACES)
		return args_wrong("more than %d interfaces", CONFIG_MAX_INTERFACES);
	strcpy(c->interfaces[c->n_interfaces++], name);
	return NULL;
}

static const char *set_interface(void *into, const char *value)
{
	struct config *c = into;
	char name[64];
	const char *wrong;

	if (!strcmp(value, "any"))
		return NULL;
	for (;;) {
		size_t len = strcspn(value, ",");

		snprintf(name, sizeof(name), "%.*s", (int)len, value);
		wrong = add_interface(c, name);
		if (wrong || !value[len])
			return wrong;
		value += len + 1;
	}
}

static const char *set_filter(void *into, const char *value)
{
	struct config *c = into;

	c->filter = value;
	return capture_filter_wrong(value);
}

static const char *set_bind(void *into, const char *value)
{
	struct config *c = into;
	struct addr a;

	if (!addr_parse(&a, value))
		return "this is not an address";
	if (addr_is_multicast(&a))
		return "this is a multicast address";
	if (c->n_binds == CONFIG_MAX_BINDS)
		return args_wrong("more than %d addresses", CONFIG_MAX_BINDS);
	for (unsigned i = 0; i < c->n_binds; i++)
		if (addr_eq(&c->binds[i], &a))
			return "the address is given twice";
	c->binds[c->n_binds++] = a;
	return NULL;
}

static const char *set_allow(void *into, const char *value)
{
	struct config *c = into;
	char text[64];

	for (;;) {
		const size_t len = strcspn(value, ",");

		snprintf(text, sizeof(text), "%.*s", (int)len, value);
		if (c->n_allow == CONFIG_MAX_ALLOW)
			return args_wrong("more than %d prefixes", CONFIG_MAX_ALLOW);
		if (len >= sizeof(text) || !prefix_parse(&c->allow[c->n_allow++], text))
			return args_wrong("\"%.*s\" is neither an address nor a prefix", (int)len, value);
		if (!value[len])
			return NULL;
		value += len + 1;
	}
}

static const char *set_on_target(void *into, const char *value)
{
	struct config *c = into;
	char text[64];

	for (;;) {
		const size_t len = strcspn(value, ",");
		struct addr a;

		snprintf(text, sizeof(text), "%.*s", (int)len, value);
		if (c->n_on_target == CONFIG_MAX_ON_TARGET)
			return args_wrong("more than %d addresses", CONFIG_MAX_ON_TARGET);
		if (len >= sizeof(text) || !addr_parse(&a, text))
			return args_wrong("\"%.*s\" is not an address", (int)len, value);
		if (addr_is_multicast(&a) || addr_is_any(&a) || addr_is_loopback(&a))
			return args_wrong("%s can be no host's", text);
		for (unsigned i = 0; i < c->n_on_target; i++)
			if (addr_eq(&c->on_target[i], &a))
				return "the address is given twice";
		c->on_target[c->n_on_target++] = a;
		if (!value[len])
			return NULL;
		value += len + 1;
	}
}

#define AT(kind, field) ARGS_AT(struct config, kind, field)

static const struct args_option options[] = {
	ARGS_TOPIC_ROW("responses", "which responses are taken, and what becomes of them"),
	{ 'i', "interface", "NAME[,NAME...]", ARGS_REPEAT | ARGS_FIRST,
	  "capture on these interfaces only [all that are up, except loopback]",
	  "names of interfaces of this host, separated by commas, or any", set_interface, ARGS_WHOLE },
	{ 'F', "filter", "FILTER", ARGS_GREEDY | ARGS_FIRST,
	  "pcap-filter(7) expression that matches the target's responses, such as tcp and src port 6379; "
	  "need "
	  "not be quoted [the targets that tcpcopy announces]",
	  "a pcap-filter(7) expression", set_filter, ARGS_WHOLE },
	{ 0, "guard", NULL, ARGS_FIRST,
	  "drop the responses that this host's kernel would forward (nftables); for hosts that have to "
	  "forward; needs --secret or --allow",
	  NULL, args_set_true, AT(bool, guard) },
	{ 0, "on-target", "ADDRESS[,ADDRESS...]", ARGS_REPEAT,
	  "run on the target itself: give it these further addresses, and let what it sends from them end here; "
	  "tcpcopy's rules name them as targets [run on a host of its own]",
	  "IPv4 and IPv6 addresses that no host has, separated by commas", set_on_target, ARGS_WHOLE },
	{ 0, "clean", NULL, 0, "remove what a killed intercept --on-target has left on this host, and exit",
	  NULL, args_set_true, AT(bool, clean) },
	ARGS_TOPIC_ROW("channel", "the connections of tcpcopys"),
	{ 'b', "bind", "ADDRESS", ARGS_REPEAT, "listen for tcpcopy on this local address [all]",
	  "an IPv4 or IPv6 address", set_bind, ARGS_WHOLE },
	{ 'p', "port", "PORT", ARGS_FIRST, "listen for tcpcopy on this port [36524]", "1 to 65535",
	  options_set_port, AT(uint16_t, port) },
	{ 0, "allow", "PREFIX[,PREFIX...]", ARGS_REPEAT,
	  "let tcpcopy connect from these addresses only [all]",
	  "addresses and prefixes, IPv4 and IPv6, such as 192.0.2.7 or 2001:db8::/32", set_allow,
	  ARGS_WHOLE },
	{ 0, "secret", "FILE", ARGS_FIRST,
	  "encrypt the connection to tcpcopy, which needs the same file; refuse a tcpcopy without it [not "
	  "encrypted]",
	  "a file of 16 to 4096 bytes that root or this user owns and nobody else can read",
	  channel_secret_set, AT(struct channel_secret *, secret) },
	ARGS_TOPIC_ROW("workers", "threads and CPUs"),
	OPTION_WORKERS("responses"),
	OPTION_CPUS,
	OPTION_BUSY_POLL,
	ARGS_TOPIC_ROW("ignored", "what the original tool had, and is not needed here"),
	OPTION_IGNORED('c', NULL, options_unused,
		       "several tcpcopys may be connected, and none takes the place of another"),
	OPTION_IGNORED(
		'D', "A-B", options_unused,
		"where NAT changes a client's address on the way to the target, start tcpcopy without -s"),
	OPTION_IGNORED('n', "NUMBER", options_unused_number,
		       "headers leave at once, as many in a message as there are"),
	OPTION_IGNORED('o', "TARGET", options_unused, "tcpcopy announces its targets; see -F"),
	OPTION_IGNORED('q', "NUMBER", options_unused_number,
		       "packets are copied to this program, not queued"),
	OPTION_IGNORED('s', "NUMBER", options_unused_number, "tables grow as they need"),
	OPTION_IGNORED('t', "SECONDS", options_unused_number, "tcpcopy says when a connection is over"),
	OPTION_IGNORED('x', "ADDRESS,...", options_unused,
		       "the targets' responses end here, and all else passes"),
	ARGS_TOPIC_ROW("running", "how the program runs, and what it reports"),
	OPTION_CHECK("do nothing else"),
	OPTION_USER,
	OPTION_NO_SANDBOX,
	OPTION_DAEMON,
	OPTION_STATS("0"),
	OPTION_REPORT,
	{ 0, "state", "FILE", 0,
	  "keep a list in FILE, for the next start, of the connections that killed tcpcopys may have left on "
	  "targets",
	  "the path of a file", options_set_path, AT(run_path, state_path) },
	OPTION_STATUS("intercept"),
	OPTION_JSON,
	OPTION_CONTROL("intercept"),
	OPTION_LOG,
	OPTION_PID,
};

_Static_assert(offsetof(struct config, run) == 0, "options_ignored() finds it there");

static const struct args_program program = {
	.name = "intercept",
	.version = VERSION,
	.summary = "Absorbs the responses of a target server and reports their headers to tcpcopy.",
	.closing = "Example, on the assistant server, with redis on the target:\n"
		   "  intercept -i eth0 -F tcp and src port 6379 -d\n",
	.ignored = options_ignored,
	.options = options,
	.count = ARRAY_SIZE(options),
};

int config_parse(struct config *c, int argc, char **argv)
{
	int status;

	*c = (struct config){ .run = { .workers = 1 }, .port = CHANNEL_PORT };
	status = args_parse(&program, argc, argv, c);
	/* or whoever reaches the port says what this host may not forward */
	if (status < 0 && c->guard && !c->secret && !c->n_allow)
		return args_error_named(
			&program, "guard", NULL,
			"needs --secret FILE or --allow PREFIX[,PREFIX...], which say whose targets "
			"this host may drop the packets of");
	if (status < 0 && c->n_on_target && (c->guard || c->n_interfaces))
		return args_error_named(
			&program, "on-target", NULL,
			c->guard ? "cannot be given with --guard: nothing is forwarded"
				 : "cannot be given with -i: it captures on a device of its own");
	return status < 0 ? options_check(&program, &c->run) : status;
}
