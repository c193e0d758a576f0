/*
 * The command line of intercept.
 *
 * In: argv. Out: a struct config whose strings live in argv, or one line on stderr that names the
 * option, the value as typed and what would be accepted. Values are judged here as far as that
 * needs no privilege; what the kernel says to them (the port is in use, no right to capture) comes
 * when they are used.
 */
#include "intercept/config.h"

#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "program/args.h"
#include "program/cpus.h"
#include "base/number.h"
#include "base/util.h"
#include "build/config.h"
#include "channel/message.h"
#include "io/capture/fanout.h"
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
	return args_wrong("interface %s does not exist; there are: %s", name, names);
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
	char err[512], prefix[256];

	if (!value[strspn(value, " \t\n")])
		return "it is empty";
	if (capture_check_filter(value, err, sizeof(err))) {
		/* The option and its value stand in the message already. */
		size_t n = (size_t)snprintf(prefix, sizeof(prefix), "filter \"%s\": ", value);

		return args_wrong("%s", n < sizeof(prefix) && !strncmp(err, prefix, n) ? err + n : err);
	}
	c->filter = value;
	return NULL;
}

static const char *set_bind(void *into, const char *value)
{
	struct config *c = into;
	struct addr a;

	if (!addr_parse(&a, value))
		return "this is no address";
	if (addr_is_multicast(&a))
		return "a multicast address";
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

static const char *set_user(void *into, const char *value)
{
	return sandbox_user_parse(&((struct config *)into)->user, value);
}

static const char *set_no_sandbox(void *into, const char *value)
{
	(void)value;
	((struct config *)into)->no_sandbox = true;
	return NULL;
}

static const char *set_secret(void *into, const char *value)
{
	char err[512];

	((struct config *)into)->secret = channel_secret_load(value, err, sizeof(err));
	return ((struct config *)into)->secret ? NULL : args_wrong("%s", err);
}

static const char *set_port(void *into, const char *value)
{
	uint64_t port;
	const char *wrong = number_parse(value, 1, 65535, &port);

	if (!wrong)
		((struct config *)into)->port = (uint16_t)port;
	return wrong;
}

static const char *set_workers(void *into, const char *value)
{
	return cpus_parse_workers(value, FANOUT_MAX_WORKERS, &((struct config *)into)->workers);
}

static const char *set_cpus(void *into, const char *value)
{
	struct config *c = into;

	return cpus_parse_list(value, c->cpus, CONFIG_MAX_CPUS, &c->n_cpus);
}

static const char *set_busy_poll(void *into, const char *value)
{
	(void)value;
	((struct config *)into)->busy_poll = true;
	return NULL;
}

static const char *set_daemon(void *into, const char *value)
{
	(void)value;
	((struct config *)into)->daemon = true;
	return NULL;
}

static const char *set_check(void *into, const char *value)
{
	(void)value;
	((struct config *)into)->check = true;
	return NULL;
}

static const char *set_guard(void *into, const char *value)
{
	(void)value;
	((struct config *)into)->guard = true;
	return NULL;
}

static const char *set_log(void *into, const char *value)
{
	struct config *c = into;

	c->log_journal = !strcmp(value, "journal");
	c->log_file = c->log_journal ? NULL : value;
	return *value ? NULL : "it is empty";
}

static const char *set_report(void *into, const char *value)
{
	((struct config *)into)->report_file = value;
	return *value ? NULL : "it is empty";
}

static const char *set_state(void *into, const char *value)
{
	((struct config *)into)->state_file = value;
	return !*value ? "it is empty" : strlen(value) > 480 ? "it is too long" : NULL;
}

static const char *set_control(void *into, const char *value)
{
	((struct config *)into)->control_path = value;
	return *value ? NULL : "it is empty";
}

static const char *set_stats(void *into, const char *value)
{
	uint64_t *interval = &((struct config *)into)->stats_interval;
	const char *wrong = number_parse_duration(value, 0, 24 * 3600 * NS_PER_SEC, interval);

	return wrong || *interval == 0 || *interval >= 100 * NS_PER_MS ? wrong
								       : "out of range (100ms to 24h)";
}

static const char *set_status(void *into, const char *value)
{
	(void)value;
	((struct config *)into)->status = true;
	return NULL;
}

static const char *set_json(void *into, const char *value)
{
	(void)value;
	((struct config *)into)->status = ((struct config *)into)->status_json = true;
	return NULL;
}

static const char *set_pid(void *into, const char *value)
{
	((struct config *)into)->pid_file = value;
	return *value ? NULL : "it is empty";
}

static const struct args_option options[] = {
	{ 'i', "interface", "NAME[,NAME...]", ARGS_REPEAT,
	  "capture on these interfaces; without it, on all that are up, loopback excepted",
	  "names of interfaces of this host, separated by commas, or any", set_interface },
	{ 'F', "filter", "FILTER", ARGS_GREEDY,
	  "what the responses of the target are, e.g. tcp and src port 6379; quotes are not "
	  "needed. Without it, what the connected tcpcopys announce",
	  "a filter expression as in pcap-filter(7)", set_filter },
	{ 'b', "bind", "ADDRESS", ARGS_REPEAT,
	  "listen for tcpcopy on this address of this host; without it, on all of them",
	  "an IPv4 or IPv6 address", set_bind },
	{ 'p', "port", "PORT", 0, "listen for tcpcopy on this port; 36524 without it", "1 to 65535",
	  set_port },
	{ 0, "allow", "PREFIX[,PREFIX...]", ARGS_REPEAT, "let tcpcopy connect from these addresses only",
	  "addresses and prefixes, IPv4 and IPv6, such as 192.0.2.7 or 2001:db8::/32", set_allow },
	{ 0, "secret", "FILE", 0,
	  "let only who has the content of this file connect, and encrypt; tcpcopy needs the same",
	  "a file of 16 to 4096 bytes that root or this user owns and nobody else can read", set_secret },
	{ 0, "workers", "NUMBER", 0,
	  "threads that share the responses, or auto for one on each processor; 1 without it",
	  "1 to 32, or auto", set_workers },
	{ 0, "cpus", "LIST", 0, "processors of the workers, one each in turn; any without it",
	  "numbers and ranges of processors that this process may use, such as 0,2-3", set_cpus },
	{ 0, "busy-poll", NULL, 0, "never sleep: quickest, but each worker uses a processor up", NULL,
	  set_busy_poll },
	{ 0, "guard", NULL, 0,
	  "drop responses that the kernel of this host would forward (nft); for hosts on which IP "
	  "forwarding cannot be switched off",
	  NULL, set_guard },
	{ 0, "check", NULL, 0,
	  "do nothing but check what this command line needs, say what is wrong and what to type; "
	  "exit status 1 when something is broken",
	  NULL, set_check },
	{ 0, "user", "NAME[:GROUP]", 0, "be this user as soon as everything is open (the user who starts it)",
	  "a user of this host, and a group, by name or number", set_user },
	{ 0, "no-sandbox", NULL, 0,
	  "keep capabilities, system calls and files that are not needed once it runs", NULL,
	  set_no_sandbox },
	{ 'd', "daemon", NULL, 0, "run as a daemon; return once it works", NULL, set_daemon },
	{ 0, "stats", "DURATION", 0, "between two lines of counters, 0 for none (0)", "0, or 100ms to 24h",
	  set_stats },
	{ 0, "report", "FILE", 0,
	  "write the account as JSON to FILE: at every line of counters, at SIGUSR1, at the end",
	  "a file name", set_report },
	{ 0, "state", "FILE", 0,
	  "keep in FILE what an intercept that is started anew has to know: the connections that "
	  "killed tcpcopys may have left on targets",
	  "a file name", set_state },
	{ 0, "status", NULL, 0, "print how a running intercept does, and exit", NULL, set_status },
	{ 0, "json", NULL, 0, "the same as JSON", NULL, set_json },
	{ 0, "control", "PATH", 0, "the socket for --status (" RUNSTATEDIR "/tcpcopy/intercept-PID.sock)",
	  "the path of a socket", set_control },
	{ 'l', "log", "FILE", 0,
	  "log to this file, or to systemd's journal if it is called journal; without it to "
	  "stderr, or to syslog with -d",
	  "a file name, or journal", set_log },
	{ 'P', "pid", "FILE", 0, "write the process id to this file", "a file name", set_pid },
};

static const struct args_program program = {
	.name = "intercept",
	.version = VERSION,
	.summary = "Takes the responses of a target server, hands their headers to tcpcopy and "
		   "forwards nothing.",
	.closing = "Example, on the assistant server, with a redis as the target:\n"
		   "  intercept -i eth0 -F tcp and src port 6379 -d\n",
	.options = options,
	.count = ARRAY_SIZE(options),
};

int config_parse(struct config *c, int argc, char **argv)
{
	*c = (struct config){ .port = CHANNEL_PORT, .control_path = "", .workers = 1 };
	return args_parse(&program, argc, argv, c);
}
