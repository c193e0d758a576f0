/*
 * The command line of tcpcopy.
 *
 * In comes argv, out goes a struct config in which nothing is left to parse. It happens in two
 * passes, because options may stand in any order: first base/args takes every option, and its
 * setter judges it alone; then what depends on others is filled in (-p for assistants without a
 * port) and config_check.c judges the whole. Nothing is opened here and no privilege is needed, so
 * every refusal comes before the program has changed anything.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "program/args.h"
#include "program/cpus.h"
#include "base/number.h"
#include "build/config.h"
#include "io/capture/fanout.h"
#include "io/capture/source.h"
#include "tcpcopy/config/parts.h"

#define DEFAULT_ASSISTANT_PORT 36524
#define DEFAULT_HOLD (3 * NS_PER_SEC)
#define DEFAULT_SESSION_BUFFER (64ull << 20)
#define DEFAULT_MEMORY (160ull << 20)
#define DEFAULT_RING (64ull << 20)
#define DEFAULT_STATS (10 * NS_PER_SEC)

/* What the setters fill. */
struct parsing {
	struct config *c;
	bool hold_given, never_hold;
};

static const char *set_rules(void *into, const char *value)
{
	return config_add_rules(((struct parsing *)into)->c, value);
}

static const char *set_assistants(void *into, const char *value)
{
	return config_add_assistants(((struct parsing *)into)->c, value);
}

static const char *set_pool(void *into, const char *value)
{
	struct config *c = ((struct parsing *)into)->c;
	unsigned i = c->n_pool;
	const char *wrong = config_add_pool(c, value);

	for (; i < c->n_pool; i++)
		c->pool_text[i] = value;
	return wrong;
}

static const char *set_port(void *into, const char *value)
{
	uint64_t n = 0;
	const char *wrong = number_parse(value, 1, 65535, &n);

	((struct parsing *)into)->c->assistant_port = (uint16_t)n;
	return wrong;
}

static const char *set_user(void *into, const char *value)
{
	return sandbox_user_parse(&((struct parsing *)into)->c->user, value);
}

static const char *set_no_sandbox(void *into, const char *value)
{
	(void)value;
	((struct parsing *)into)->c->no_sandbox = true;
	return NULL;
}

static const char *set_secret(void *into, const char *value)
{
	struct channel_secret **s = &((struct parsing *)into)->c->secret;
	char err[512];

	*s = channel_secret_load(value, err, sizeof(err));
	return *s ? NULL : args_wrong("%s", err);
}

static const char *set_keep_trying(void *into, const char *value)
{
	(void)value;
	((struct parsing *)into)->c->keep_trying = true;
	return NULL;
}

static const char *set_interfaces(void *into, const char *value)
{
	struct config *c = ((struct parsing *)into)->c;
	const char *p;
	unsigned i;

	for (p = value;; p++) {
		size_t len = strcspn(p, ",");

		if (len == 0 || len >= sizeof(c->interfaces[0]))
			return args_wrong("\"%.*s\" is no name of an interface", (int)len, p);
		for (i = 0; i < c->n_interfaces; i++)
			if (strlen(c->interfaces[i]) == len && memcmp(c->interfaces[i], p, len) == 0)
				break;
		if (i == CONFIG_MAX_INTERFACES)
			return args_wrong("more than %d interfaces", CONFIG_MAX_INTERFACES);
		if (i == c->n_interfaces)
			memcpy(c->interfaces[c->n_interfaces++], p, len);
		p += len;
		if (*p == '\0')
			return NULL;
	}
}

static const char *set_filter(void *into, const char *value)
{
	struct config *c = ((struct parsing *)into)->c;
	char err[sizeof(c->filter) + 256], prefix[sizeof(c->filter) + 16];
	size_t len;

	if (value[strspn(value, " \t\n")] == '\0')
		return "the filter is empty";
	if (strlen(value) >= sizeof(c->filter))
		return args_wrong("longer than %zu characters", sizeof(c->filter) - 1);
	snprintf(c->filter, sizeof(c->filter), "%s", value);
	if (capture_check_filter(value, err, sizeof(err)) == 0)
		return NULL;
	/* The message repeats the filter, which the caller names anyway. */
	len = (size_t)snprintf(prefix, sizeof(prefix), "filter \"%s\": ", value);
	return args_wrong("%s", strncmp(err, prefix, len) == 0 ? err + len : err);
}

static const char *set_mtu(void *into, const char *value)
{
	uint64_t n = 0;
	const char *wrong = number_parse(value, 576, 65535, &n);

	((struct parsing *)into)->c->mtu = (uint32_t)n;
	return wrong;
}

static const char *set_inject(void *into, const char *value)
{
	static const char *const names[INJECT_COUNT] = {
#define X(id, name, text) [INJECT_##id] = name,
		CONFIG_INJECT(X)
#undef X
	};

	for (int i = 0; i < INJECT_COUNT; i++) {
		if (strcmp(value, names[i]) != 0)
			continue;
		((struct parsing *)into)->c->inject = (enum config_inject)i;
		return NULL;
	}
	return "no such way to send";
}

static const char *set_capture(void *into, const char *value)
{
	static const char *const names[CAPTURE_MODE_COUNT] = {
#define X(id, name, text) [CAPTURE_##id] = name,
		CAPTURE_MODES(X)
#undef X
	};

	for (int i = 0; i < CAPTURE_MODE_COUNT; i++) {
		if (strcmp(value, names[i]) != 0)
			continue;
		((struct parsing *)into)->c->capture = (enum capture_mode)i;
		return NULL;
	}
	return "no such way to capture";
}

static const char *set_ring(void *into, const char *value)
{
	return number_parse_size(value, 1ull << 20, 4ull << 30, &((struct parsing *)into)->c->ring);
}

static const char *set_workers(void *into, const char *value)
{
	return cpus_parse_workers(value, FANOUT_MAX_WORKERS, &((struct parsing *)into)->c->workers);
}

static const char *set_cpus(void *into, const char *value)
{
	struct config *c = ((struct parsing *)into)->c;

	return cpus_parse_list(value, c->cpus, CONFIG_MAX_CPUS, &c->n_cpus);
}

static const char *set_busy_poll(void *into, const char *value)
{
	(void)value;
	((struct parsing *)into)->c->busy_poll = true;
	return NULL;
}

static const char *set_no_join(void *into, const char *value)
{
	(void)value;
	((struct parsing *)into)->c->no_join = true;
	return NULL;
}

static const char *set_hold(void *into, const char *value)
{
	struct parsing *p = into;

	p->hold_given = true;
	return number_parse_duration(value, 0, 600 * NS_PER_SEC, &p->c->hold);
}

static const char *set_never_hold(void *into, const char *value)
{
	(void)value;
	((struct parsing *)into)->never_hold = true;
	return NULL;
}

static const char *set_session_buffer(void *into, const char *value)
{
	return number_parse_size(value, 64ull << 10, 1ull << 30,
				 &((struct parsing *)into)->c->session_buffer);
}

static const char *set_memory(void *into, const char *value)
{
	return number_parse_size(value, 1ull << 20, 1ull << 40, &((struct parsing *)into)->c->memory);
}

static const char *set_stats(void *into, const char *value)
{
	uint64_t *interval = &((struct parsing *)into)->c->stats_interval;
	const char *wrong = number_parse_duration(value, 0, 24 * 3600 * NS_PER_SEC, interval);

	return wrong || *interval == 0 || *interval >= 100 * NS_PER_MS ? wrong
								       : "out of range (100ms to 24h)";
}

static const char *set_check(void *into, const char *value)
{
	(void)value;
	((struct parsing *)into)->c->check = true;
	return NULL;
}

static const char *set_probe_from(void *into, const char *value)
{
	struct config *c = ((struct parsing *)into)->c;

	c->has_probe_from = true;
	c->probe_from_text = value;
	return config_parse_endpoint(&c->probe_from, value);
}

static const char *set_daemon(void *into, const char *value)
{
	(void)value;
	((struct parsing *)into)->c->daemon = true;
	return NULL;
}

/* Made absolute, because a daemon works in "/". */
static const char *set_path(char *path, size_t size, const char *value)
{
	size_t len = 0;

	if (*value == '\0' || value[strlen(value) - 1] == '/')
		return "names no file";
	if (*value != '/') {
		if (!getcwd(path, size))
			return "the current directory has no name that could stand before it";
		len = strlen(path);
		if (len + 1 < size)
			path[len++] = '/';
	}
	if (len + strlen(value) >= size)
		return "longer than a path can be";
	strcpy(path + len, value);
	return NULL;
}

static const char *set_log(void *into, const char *value)
{
	struct config *c = ((struct parsing *)into)->c;

	c->log_journal = !strcmp(value, "journal");
	return c->log_journal ? NULL : set_path(c->log_path, sizeof(c->log_path), value);
}

static const char *set_pid(void *into, const char *value)
{
	struct config *c = ((struct parsing *)into)->c;

	return set_path(c->pid_path, sizeof(c->pid_path), value);
}

static const char *set_report(void *into, const char *value)
{
	struct config *c = ((struct parsing *)into)->c;

	return set_path(c->report_path, sizeof(c->report_path), value);
}

static const char *set_control(void *into, const char *value)
{
	struct config *c = ((struct parsing *)into)->c;

	return set_path(c->control_path, sizeof(c->control_path), value);
}

static const char *set_status(void *into, const char *value)
{
	(void)value;
	((struct parsing *)into)->c->status = true;
	return NULL;
}

static const char *set_json(void *into, const char *value)
{
	(void)value;
	((struct parsing *)into)->c->status = ((struct parsing *)into)->c->status_json = true;
	return NULL;
}

static const char *set_verbose(void *into, const char *value)
{
	(void)value;
	((struct parsing *)into)->c->verbose = true;
	return NULL;
}

static const struct args_option options[] = {
	{ 'x', "transfer", "RULE,...", ARGS_REPEAT,
	  "replicate the requests to a port to a target (required)\n"
	  "RULE: [online-address:]online-port-target-address:target-port",
	  "[online-address:]online-port-target-address:target-port, such as 6379-192.0.2.7:6379 or "
	  "[2001:db8::1]:80-[2001:db8::2]:8080",
	  set_rules },
	{ 's', "assistant", "HOST[:PORT],...", ARGS_REPEAT, "where intercept runs (required)",
	  "HOST, HOST:PORT, [IPV6] or [IPV6]:PORT, such as 192.0.2.8 or [2001:db8::8]:36524",
	  set_assistants },
	{ 'p', "port", "PORT", 0, "of assistants that are given without one (36524)", "1 to 65535",
	  set_port },
	{ 0, "secret", "FILE", 0,
	  "encrypt what goes between here and intercept, which needs the same file (plain)",
	  "a file of 16 to 4096 bytes that root or this user owns and nobody else can read", set_secret },
	{ 'L', "keep-trying", NULL, 0, "start even if an assistant cannot be reached", NULL,
	  set_keep_trying },
	{ 'c', "client-pool", "ADDRESS,...", ARGS_REPEAT,
	  "use these addresses instead of the clients': 10.1.2.3, 10.1.2.0/24, 10.1.2.x, "
	  "10.1.2.5-9",
	  "addresses and prefixes such as 192.0.2.9, 198.51.100.0/24, 198.51.100.x, "
	  "198.51.100.10-20 or "
	  "2001:db8:1::/64",
	  set_pool },
	{ 'i', "interface", "NAME,...", ARGS_REPEAT, "capture on these only (every one that is up)",
	  "names of interfaces, as \"ip link\" shows them", set_interfaces },
	{ 'F', "filter", "FILTER", ARGS_GREEDY,
	  "replicate only what this pcap-filter(7) lets pass, too; need not be quoted",
	  "a filter in the words of pcap-filter(7), such as src net 192.0.2.0/24", set_filter },
	{ 0, "capture", "WAY", 0, "packet (quick), ring (cheap), or auto for what suits the rate (auto)",
	  "auto, ring or packet", set_capture },
	{ 'B', "ring", "SIZE", 0, "memory for packets that are captured but not yet read (64M)", "1M to 4G",
	  set_ring },
	{ 'M', "mtu", "BYTES", 0, "of the way to the targets (the route's)", "576 to 65535", set_mtu },
	{ 0, "inject", "WAY", 0, "how packets are sent: link, raw, or auto for what is possible (auto)",
	  "link, raw or auto", set_inject },
	{ 0, "workers", "NUMBER", 0,
	  "threads that share the connections, or auto for one on each processor (1)", "1 to 32, or auto",
	  set_workers },
	{ 0, "cpus", "LIST", 0, "processors of the workers, one each in turn (any)",
	  "numbers and ranges of processors that this process may use, such as 0,2-3", set_cpus },
	{ 0, "busy-poll", NULL, 0, "never sleep: quickest, but each worker uses a processor up", NULL,
	  set_busy_poll },
	{ 'O', "no-join", NULL, 0, "leave out connections that are older than tcpcopy", NULL, set_no_join },
	{ 0, "hold", "DURATION", 0, "longest wait for the target's answer to the request before (3s)",
	  "0 to 10m, with the unit us, ms, s or m", set_hold },
	{ 'W', NULL, NULL, 0, "never wait, as --hold=0", "one of the two, or --hold=0", set_never_hold },
	{ 0, "session-buffer", "SIZE", 0, "the most that a session may hold for its target (64M)",
	  "64K to 1G", set_session_buffer },
	{ 'm', "memory", "SIZE", 0, "the most that all sessions may hold together (160M)", "1M to 1T",
	  set_memory },
	{ 0, "stats", "DURATION", 0, "between two lines of counters, 0 for none (10s)", "0, or 100ms to 24h",
	  set_stats },
	{ 0, "check", NULL, 0,
	  "replicate nothing: check what this command line needs, say what is wrong and what to "
	  "type; exit status 1 when something is broken",
	  NULL, set_check },
	{ 0, "probe-from", "ADDRESS[:PORT]", 0,
	  "the client that the probe of --check speaks for (one of -c, or one that is captured)",
	  "the address of a client, with or without a port: 192.0.2.9, 192.0.2.9:7000 or "
	  "[2001:db8::9]:7000",
	  set_probe_from },
	{ 0, "user", "NAME[:GROUP]", 0, "be this user as soon as everything is open (the user who starts it)",
	  "a user of this host, and a group, by name or number", set_user },
	{ 0, "no-sandbox", NULL, 0,
	  "keep capabilities, system calls and files that are not needed once it runs", NULL,
	  set_no_sandbox },
	{ 'd', "daemon", NULL, 0, "run as a daemon; returns when it is ready", NULL, set_daemon },
	{ 'l', "log", "FILE", 0,
	  "append the log to FILE, or send it to systemd's journal if FILE is journal (standard "
	  "error; with -d: syslog)",
	  "the path of a file, or journal", set_log },
	{ 0, "report", "FILE", 0,
	  "write the account as JSON to FILE: at every line of counters, at SIGUSR1, at the end",
	  "the path of a file", set_report },
	{ 'P', "pid", "FILE", 0, "write the process id to FILE and lock it", "the path of a file", set_pid },
	{ 0, "status", NULL, 0, "print how a running tcpcopy does, and exit", NULL, set_status },
	{ 0, "json", NULL, 0, "the same as JSON", NULL, set_json },
	{ 0, "control", "PATH", 0, "the socket for --status (" RUNSTATEDIR "/tcpcopy/tcpcopy-PID.sock)",
	  "the path of a socket", set_control },
	{ 0, "verbose", NULL, 0, "log more", NULL, set_verbose },
};

static const struct args_program program = {
	.name = "tcpcopy",
	.version = VERSION,
	.summary = "Replicates the live TCP requests of this host to a target server. intercept, "
		   "on an assistant "
		   "server, returns the headers of the target's answers.",
	.closing = "Example: tcpcopy -x 6379-10.90.109.143:6379 -s 10.90.110.143 -d\n"
		   "IPv6:    tcpcopy -x '6379-[fd90::109:143]:6379' -s '[fd90::110:143]'\n"
		   "More:    man 8 tcpcopy\n",
	.options = options,
	.count = ARRAY_SIZE(options),
};

int config_parse(struct config *c, int argc, char **argv)
{
	struct parsing p = { .c = c };
	int status;
	unsigned i;

	memset(c, 0, sizeof(*c));
	c->assistant_port = DEFAULT_ASSISTANT_PORT;
	c->hold = DEFAULT_HOLD;
	c->session_buffer = DEFAULT_SESSION_BUFFER;
	c->memory = DEFAULT_MEMORY;
	c->ring = DEFAULT_RING;
	c->stats_interval = DEFAULT_STATS;
	c->workers = 1;
	status = args_parse(&program, argc, argv, &p);
	args_free(); /* the setters have copied what they want */
	if (status >= 0)
		return status;

	if (c->status)
		return -1;
	if (c->n_rules == 0)
		return args_error(&program, 'x', NULL, "is missing");
	if (c->n_assistants == 0)
		return args_error(&program, 's', NULL, "is missing");
	if (p.never_hold && p.hold_given && c->hold != 0)
		return args_error(&program, 'W', NULL, "never waits, but --hold says how long to wait");
	if (p.never_hold)
		c->hold = 0;
	for (i = 0; i < c->n_assistants; i++)
		if (c->assistants[i].at.port == 0)
			c->assistants[i].at.port = c->assistant_port;
	if (c->log_path[0] && strcmp(c->log_path, c->pid_path) == 0)
		return args_error(&program, 'P', c->pid_path, "is the log file, too");
	if (c->report_path[0] && !strcmp(c->report_path, c->log_path))
		return args_error(&program, 'l', c->log_path, "is the file of --report, too");
	if (c->report_path[0] && !strcmp(c->report_path, c->pid_path))
		return args_error(&program, 'P', c->pid_path, "is the file of --report, too");
	status = config_check(c);
	return status == 0 ? -1 : status;
}
