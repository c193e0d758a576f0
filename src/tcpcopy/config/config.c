/*
 * The command line of tcpcopy.
 *
 * In: argv. Out: a struct config in which nothing is left to parse. There are two passes, because options
 * may come in any order. First program/args takes every option, and its setter judges it alone. Then what
 * depends on other options is filled in (-p for assistants without a port), and check.c judges the whole.
 * Nothing is opened here and no privilege is needed, so every refusal comes before the program has changed
 * anything.
 */
#include <string.h>

#include "program/options.h"
#include "base/number.h"
#include "build/config.h"
#include "io/capture/source.h"
#include "io/file/output.h"
#include "tcpcopy/config/parts.h"

#define DEFAULT_ASSISTANT_PORT 36524
#define DEFAULT_HOLD (3 * NS_PER_SEC)
#define HOLD_NOT_GIVEN UINT64_MAX
#define DEFAULT_SESSION_BUFFER (64ull << 20)
#define DEFAULT_MEMORY (160ull << 20)
#define DEFAULT_STATS (10 * NS_PER_SEC)

static const char *set_rules(void *into, const char *value)
{
	return config_add_rules(into, value);
}

static const char *set_assistants(void *into, const char *value)
{
	return config_add_assistants(into, value);
}

static const char *set_pool(void *into, const char *value)
{
	struct config *c = into;
	unsigned i = c->n_pool;
	const char *wrong = config_add_pool(c, value);

	for (; i < c->n_pool; i++)
		c->pool_text[i] = value;
	return wrong;
}

static const char *set_file(void *into, const char *value)
{
	return config_add_file(into, value);
}

static const char *set_speed(void *into, const char *value)
{
	return config_set_speed(into, value);
}

static const char *set_rate(void *into, const char *value)
{
	return config_set_rate(into, value);
}

static const char *set_gap(void *into, const char *value)
{
	return config_set_gap(into, value);
}

static const char *set_decap(void *into, const char *value)
{
	return config_set_decap(into, value);
}

static const char *set_loops(void *into, const char *value)
{
	return config_set_loops(into, value);
}

static const char *set_sample(void *into, const char *value)
{
	return config_set_sample(into, value);
}

static const char *set_seed(void *into, const char *value)
{
	return config_set_seed(into, value);
}

static const char *set_sample_by(void *into, const char *value)
{
	return config_set_sample_by(into, value);
}

static const char *set_ramp(void *into, const char *value)
{
	return config_set_ramp(into, value);
}

static const char *set_copies(void *into, const char *value)
{
	return config_set_copies(into, value);
}

static const char *set_targets(void *into, const char *value)
{
	return config_set_targets(into, value);
}

static const char *set_spread_by(void *into, const char *value)
{
	return config_set_spread_by(into, value);
}

static const char *set_spread(void *into, const char *value)
{
	return config_set_spread(into, value);
}

static const char *set_max_sessions(void *into, const char *value)
{
	return config_set_max_sessions(into, value);
}

static const char *set_max_rate(void *into, const char *value)
{
	return config_set_max_rate(into, value);
}

static const char *set_stop_after(void *into, const char *value)
{
	return config_set_stop_after(into, value);
}

static const char *set_rotate(void *into, const char *value)
{
	return config_set_rotate(into, value);
}

static const char *set_answers(void *into, const char *value)
{
	return config_set_answers(into, value);
}

static const char *set_write_max(void *into, const char *value)
{
	return number_parse_size(value, OUTPUT_MOST_LEAST, 1ull << 50, into);
}

static const char *set_breaker(void *into, const char *value)
{
	return config_set_breaker(into, value);
}

static const char *set_yield(void *into, const char *value)
{
	return config_set_yield(into, value);
}

static const char *set_interfaces(void *into, const char *value)
{
	struct config *c = into;
	const char *p;
	unsigned i;

	if (config_is_file(value)) /* as the original tool has it */
		return config_add_file(c, value);
	if (!strcmp(value, "any")) /* as intercept has it */
		return NULL;
	for (p = value;; p++) {
		size_t len = strcspn(p, ",");

		if (len == 0 || len >= sizeof(c->interfaces[0]))
			return args_wrong(
				"\"%.*s\" is not the name of an interface, nor a file that can be read",
				(int)len, p);
		for (i = 0; i < c->n_interfaces; i++)
			if (strlen(c->interfaces[i]) == len && memcmp(c->interfaces[i], p, len) == 0)
				return args_wrong("interface %s is named twice", c->interfaces[i]);
		if (i == CONFIG_MAX_INTERFACES)
			return args_wrong("more than %d interfaces", CONFIG_MAX_INTERFACES);
		memcpy(c->interfaces[c->n_interfaces++], p, len);
		p += len;
		if (*p == '\0')
			return NULL;
	}
}

static const char *set_filter(void *into, const char *value)
{
	struct config *c = into;

	if (strlen(value) >= sizeof(c->filter))
		return args_wrong("longer than %zu characters", sizeof(c->filter) - 1);
	strcpy(c->filter, value);
	return capture_filter_wrong(value);
}

static const char *set_mtu(void *into, const char *value)
{
	uint64_t n = 0;
	const char *wrong = number_parse(value, 576, 65535, &n);

	*(uint32_t *)into = (uint32_t)n;
	return wrong;
}

/* The number of @value among @n names; @n: it is none of them. */
static unsigned place(const char *const names[], unsigned n, const char *value)
{
	unsigned i = 0;

	while (i < n && strcmp(value, names[i]) != 0)
		i++;
	return i;
}

static const char *set_inject(void *into, const char *value)
{
	static const char *const names[INJECT_COUNT] = {
#define X(id, name, text) [INJECT_##id] = name,
		CONFIG_INJECT(X)
#undef X
	};
	enum config_inject *inject = into;

	*inject = (enum config_inject)place(names, INJECT_COUNT, value);
	return *inject == INJECT_COUNT ? "no such method" : NULL;
}

static const char *set_capture(void *into, const char *value)
{
	static const char *const names[CAPTURE_MODE_COUNT] = {
#define X(id, name, text) [CAPTURE_##id] = name,
		CAPTURE_MODES(X)
#undef X
	};
	enum capture_mode *mode = into;

	*mode = (enum capture_mode)place(names, CAPTURE_MODE_COUNT, value);
	return *mode == CAPTURE_MODE_COUNT ? "no such mode" : NULL;
}

static const char *set_return(void *into, const char *value)
{
	static const char *const names[RETURN_COUNT] = {
#define X(id, name) [RETURN_##id] = name,
		CONFIG_RETURNS(X)
#undef X
	};
	enum config_return *way = into;

	*way = (enum config_return)place(names, RETURN_COUNT, value);
	return *way == RETURN_COUNT || *way == RETURN_AUTO ? "no such way" : NULL;
}

static const char *set_own_ports(void *into, const char *value)
{
	return config_add_own_ports(into, value);
}

static const char *set_max_answers(void *into, const char *value)
{
	return number_parse_rate(value, 0, 1000000000000ull, into);
}

/* From 1M to @max; a number alone is MB, as the original tool has it. */
static const char *size_or_mb(const char *value, uint64_t max, uint64_t *into)
{
	const char *wrong;
	uint64_t mb;

	if (!*value || value[strspn(value, "0123456789")])
		return number_parse_size(value, 1ull << 20, max, into);
	wrong = number_parse(value, 1, max >> 20, &mb);
	if (!wrong)
		*into = mb << 20;
	return wrong;
}

static const char *set_ring(void *into, const char *value)
{
	return size_or_mb(value, 4ull << 30, into);
}

static const char *set_hold(void *into, const char *value)
{
	return number_parse_duration(value, 0, 600 * NS_PER_SEC, into);
}

static const char *set_session_buffer(void *into, const char *value)
{
	return number_parse_size(value, 64ull << 10, 1ull << 30, into);
}

static const char *set_memory(void *into, const char *value)
{
	return size_or_mb(value, 1ull << 40, into);
}

static const char *set_probe_from(void *into, const char *value)
{
	struct config *c = into;

	c->has_probe_from = true;
	c->probe_from_text = value;
	return config_parse_endpoint(&c->probe_from, value);
}

static const char *set_joins(void *into, const char *value)
{
	return config_add_joins(into, value);
}

#define AT(kind, field) ARGS_AT(struct config, kind, field)

static const struct args_option options[] = {
	ARGS_TOPIC_ROW("rules", "what is replicated, and where to"),
	{ 'x', "transfer", "RULE,...", ARGS_REPEAT | ARGS_FIRST,
	  "replicate by these rules (required); a RULE is\n"
	  "[online-address:]online-port-target-address:target-port",
	  "[online-address:]online-port-target-address:target-port, such as 6379-192.0.2.7:6379 or "
	  "[2001:db8::1]:80-[2001:db8::2]:8080",
	  set_rules, ARGS_WHOLE },
	{ 0, "targets", "HOW", 0,
	  "where several rules are for the same requests: send each session to all of their targets (all), or "
	  "divide them (spread), by the weights of rules such as 80-192.0.2.7:80/3 [that is refused]",
	  "all or spread", set_targets, ARGS_WHOLE },
	{ 0, "spread-by", "WHAT", 0,
	  "with --targets spread: what goes to one target as a whole, a session or a client [session]",
	  "session or client", set_spread_by, ARGS_WHOLE },
	ARGS_TOPIC_ROW("answers", "how the target's responses come back"),
	{ 's', "assistant", "HOST[:PORT],...", ARGS_REPEAT | ARGS_FIRST,
	  "hosts on which intercept runs [none: responses come back to this host]",
	  "HOST, HOST:PORT, [IPV6] or [IPV6]:PORT, such as 192.0.2.8 or [2001:db8::8]:36524", set_assistants,
	  ARGS_WHOLE },
	{ 'p', "port", "PORT", 0, "default port of assistants [36524]", "1 to 65535", options_set_port,
	  AT(uint16_t, assistant_port) },
	{ 0, "secret", "FILE", 0,
	  "encrypt the connection to intercept, which needs the same file [not encrypted]",
	  "a file of 16 to 4096 bytes that root or this user owns and nobody else can read",
	  channel_secret_set, AT(struct channel_secret *, secret) },
	{ 'L', "keep-trying", NULL, 0, "start even if an assistant cannot be reached", NULL, args_set_true,
	  AT(bool, keep_trying) },
	{ 0, "return", "WAY", 0,
	  "how responses come back: own, to an address of this host, or assistant [assistant with -s, else "
	  "own]",
	  "own or assistant", set_return, AT(enum config_return, way_back) },
	ARGS_TOPIC_ROW("sources", "the addresses and ports that copies come from"),
	{ 'c', "client-pool", "ADDRESS,...", ARGS_REPEAT | ARGS_FIRST,
	  "use these source addresses instead of the clients' own: 10.1.2.3, 10.1.2.0/24, 10.1.2.x, "
	  "10.1.2.5-9; @FILE: those in its lines",
	  "addresses and prefixes such as 192.0.2.9, 198.51.100.0/24, 198.51.100.x, 198.51.100.10-20 or "
	  "2001:db8:1::/64, or @FILE",
	  set_pool, ARGS_WHOLE },
	{ 0, "sticky", NULL, 0, "with -c: a client always has the same of these addresses", NULL,
	  args_set_true, AT(bool, sticky) },
	{ 0, "own-ports", "A-B,...", 0,
	  "without -s: copies go from these ports, or from so many of them [all that this host leaves]",
	  "one or two ranges of ports from 1024 on, such as 20000-29999, or a number of ports", set_own_ports,
	  ARGS_WHOLE },
	{ 0, "max-answers", "RATE", 0,
	  "without -s: begin no session while more bits a second of answers come in to this host; 0: no limit "
	  "[a tenth of the link's speed, 100M if that is not known]",
	  "0, or bits a second with the unit K, M or G, to 1000G", set_max_answers,
	  AT(uint64_t, max_answers) },
	ARGS_TOPIC_ROW("replay", "recorded traffic"),
	{ 0, "read", "FILE...", ARGS_REPEAT | ARGS_EACH | ARGS_FIRST,
	  "replay the traffic recorded in these files, pcap or pcapng, also packed by gzip or zstd; - is standard "
	  "input",
	  "names of files as tcpdump -w writes them, or -", set_file, ARGS_WHOLE },
	{ 'a', "speed", "N", ARGS_FIRST,
	  "replay so many times as fast as recorded, such as 10 or 0.5, or max [1]",
	  "0.000001 to 1000000, or max", set_speed, ARGS_WHOLE },
	{ 0, "rate", "N", 0, "replay so many requests a second, whatever was recorded", "0.001 to 100000000",
	  set_rate, ARGS_WHOLE },
	{ 'I', "gap", "DURATION", 0,
	  "of a longer recorded pause, replay so much; a number alone is ms [all of it]",
	  "0 to 24h, with the unit us, ms, s, m or h, or a number of ms", set_gap, ARGS_WHOLE },
	{ 'T', "loops", "N", 0, "replay all of it so many times, each on connections of its own [1]",
	  "1 to 1000000000", set_loops, ARGS_WHOLE },
	{ 0, "decap", "KIND,...", 0,
	  "of recorded packets of these tunnels and mirrors, replay what they carry: vxlan, geneve, erspan, gre, "
	  "ipip, or none [all]",
	  "vxlan, geneve, erspan, gre and ipip, or none", set_decap, ARGS_WHOLE },
	{ 'q', "quiet", NULL, 0, "show no progress of a replay", NULL, args_set_true, AT(bool, quiet) },
	ARGS_TOPIC_ROW("write", "what is captured, in files"),
	{ 0, "dry-run", NULL, 0,
	  "do everything but send; with --write, what would be sent is written instead of what is captured",
	  NULL, args_set_true, AT(bool, dry_run) },
	{ 0, "write", "FILE", 0,
	  "write what is captured to FILE, as pcapng; packed by gzip or zstd if it ends in .gz or .zst",
	  "the path of a file that does not exist", options_set_path, AT(run_path, write) },
	{ 0, "write-rotate", "LIMIT,...", ARGS_REPEAT,
	  "begin the next file when one is so large, such as 1G, or so old, such as 10m; each has a number in its "
	  "name",
	  "a size from 64K to 1T, a time from 1s to 10000h with the unit s, m or h, or both", set_rotate,
	  ARGS_WHOLE },
	{ 0, "write-max", "SIZE", 0,
	  "remove the oldest of these files when all together are larger [keep all]", "4M to 1024T",
	  set_write_max, AT(uint64_t, write_max) },
	{ 0, "write-answers", "PART", 0,
	  "what to write of the online server's packets: their headers, all of them, or none [headers]",
	  "headers, all or none", set_answers, ARGS_WHOLE },
	ARGS_TOPIC_ROW("load", "how much is replicated"),
	{ 'r', "sample", "PERCENT", 0,
	  "replicate so many percent of the sessions, each whole; other hosts and files choose the same ones [100]",
	  "0.000001 to 100", set_sample, ARGS_WHOLE },
	{ 0, "seed", "NUMBER", 0, "choose others than with another seed [1]", "0 to 4294967295", set_seed,
	  ARGS_WHOLE },
	{ 0, "sample-by", "WHAT", 0,
	  "what is chosen as a whole: session, or client, by its address alone [session]",
	  "session or client", set_sample_by, ARGS_WHOLE },
	{ 'g', "ramp", "DURATION", ARGS_OPTIONAL,
	  "let the sessions grow from none to all of them, or to those of -r, in this time; without one, in 100s",
	  "1s to 24h", set_ramp, ARGS_WHOLE },
	{ 'n', "copies", "N", 0,
	  "replicate each session so many times, such as 3; of 1.5, half of them twice [1]", "1 to 1000",
	  set_copies, ARGS_WHOLE },
	{ 0, "spread", "DURATION", 0,
	  "with -n: let the copies of a session go up to so much later, each by a time of its own [all at once]",
	  "1ms to 10s, with the unit ms or s, such as 200ms", set_spread, ARGS_WHOLE },
	{ 0, "max-sessions", "N", 0, "begin no session while so many are live [4000000]", "1 to 4000000",
	  set_max_sessions, ARGS_WHOLE },
	{ 0, "max-rate", "N", 0, "begin no more sessions in a second than so many [any number]",
	  "0.001 to 1000000", set_max_rate, ARGS_WHOLE },
	{ 0, "stop-after", "AMOUNT", ARGS_REPEAT,
	  "end after a time, or so many sessions or requests: 10m, 1000sessions or 50000requests [never]",
	  "100ms to 1000h, or a number of sessions or requests, such as 10m, 1000sessions or 50000requests",
	  set_stop_after, ARGS_WHOLE },
	{ 0, "breaker", "CONDITIONS", 0,
	  "while a target suffers, and for 30 s after it, begin no session to it, such as 'p99 > 2s or refused > 5%' "
	  "[never]",
	  "p99 (or another quantile) of answer, refused, reset or unanswered > LIMIT, perhaps more of them with or between",
	  set_breaker, ARGS_WHOLE },
	{ 0, "yield", "CONDITIONS", 0,
	  "while this host is busy, and for 30 s after it, begin no session, such as 'cpu > 80%' [never]",
	  "cpu, memory or drops > LIMIT, such as cpu > 80%, perhaps more of them with or between", set_yield,
	  ARGS_WHOLE },
	ARGS_TOPIC_ROW("capture", "how requests are captured"),
	{ 'i', "interface", "NAME,...", ARGS_REPEAT,
	  "capture on these interfaces only; or the name of a file, as for --read [all that are up]",
	  "names of interfaces, as \"ip link\" shows them, any, or a file", set_interfaces, ARGS_WHOLE },
	{ 'F', "filter", "FILTER", ARGS_GREEDY | ARGS_FIRST,
	  "replicate only packets that also match this pcap-filter(7) expression; need not be quoted",
	  "a pcap-filter(7) expression, such as src net 192.0.2.0/24", set_filter, ARGS_WHOLE },
	{ 0, "capture", "MODE", 0,
	  "capture mode: packet (lowest latency), ring (least CPU), or auto, by the rate [auto]",
	  "auto, ring or packet", set_capture, AT(enum capture_mode, capture) },
	{ 'B', "ring", "SIZE", 0,
	  "memory for packets captured but not yet read; a number alone is MB [by the links' speed and this "
	  "host's memory]",
	  "1M to 4G, or a number of MB", set_ring, AT(uint64_t, ring) },
	ARGS_TOPIC_ROW("sending", "how copies are sent"),
	{ 'M', "mtu", "BYTES", 0, "send no larger packets to a target [the route's MTU]", "576 to 65535",
	  set_mtu, AT(uint32_t, mtu) },
	{ 0, "inject", "METHOD", 0,
	  "injection method: link (Ethernet), raw (IP sockets), or auto, link where possible [auto]",
	  "link, raw or auto", set_inject, AT(enum config_inject, inject) },
	ARGS_TOPIC_ROW("workers", "threads and CPUs"),
	OPTION_WORKERS("connections"),
	OPTION_CPUS,
	OPTION_BUSY_POLL,
	ARGS_TOPIC_ROW("sessions", "what becomes of a connection, and how much it may hold"),
	{ 0, "join", "MODE,...", ARGS_REPEAT,
	  "join connections in their middle: where the protocol allows it (auto), all of them, or none older "
	  "than tcpcopy; PORT=MODE for the rules with that online port [auto]",
	  "auto, all or none, or PORT=MODE, such as auto,6379=none", set_joins, ARGS_WHOLE },
	{ 'O', "no-join", NULL, 0, "do not replicate connections older than tcpcopy; the same as --join=none",
	  "one of the two, or --join=none", args_set_true, AT(bool, no_join) },
	{ 0, "unproved", NULL, 0, "replicate also connections that the online server is not known to have",
	  NULL, args_set_true, AT(bool, unproved) },
	{ 0, "hold", "DURATION", 0, "longest wait for the target's response to the previous request [3s]",
	  "0 to 10m, with the unit us, ms, s or m", set_hold, AT(uint64_t, hold) },
	{ 'W', "no-hold", NULL, 0, "never wait; the same as --hold=0", "one of the two, or --hold=0",
	  args_set_true, AT(bool, never_hold) },
	{ 0, "session-buffer", "SIZE", 0, "the most that one session may hold for its target [64M]",
	  "64K to 1G", set_session_buffer, AT(uint64_t, session_buffer) },
	{ 'm', "memory", "SIZE", 0,
	  "the most that all sessions together may hold; a number alone is MB [160M]",
	  "1M to 1T, or a number of MB", set_memory, AT(uint64_t, memory) },
	ARGS_TOPIC_ROW("ignored", "what the original tool had, and is not needed here"),
	OPTION_IGNORED('C', "NUMBER", options_unused_number,
		       "each worker has its own connection to each assistant; see --workers"),
	OPTION_IGNORED('D', "BYTES", options_unused_number,
		       "each client's own MSS goes to the target; -M bounds what is sent"),
	OPTION_IGNORED('f', "NUMBER", options_unused_number,
		       "a copy takes no port that another tcpcopy has at the target"),
	OPTION_IGNORED('H', "ADDRESS", options_unused,
		       "without -s, clients of this host are copied from its address, too; with -s, -c gives "
		       "copies an address"),
	OPTION_IGNORED('k', "SECONDS", options_unused_number,
		       "a session is idle after more than two hours without a packet, as TCP has it"),
	OPTION_IGNORED('o', "INTERFACE", options_unused,
		       "the route to the target says where copies leave; see --inject"),
	OPTION_IGNORED('R', "MS", options_unused_number, "round-trip times are measured"),
	OPTION_IGNORED('S', "BYTES", options_unused_number, "packets are captured whole"),
	OPTION_IGNORED('t', "SECONDS", options_unused_number,
		       "a session ends when its target leaves a SYN unanswered for 60 s, or data for 120 s"),
	OPTION_IGNORED('U', "KB", options_unused_number,
		       "a session takes what it needs; --session-buffer and -m bound it"),
	ARGS_TOPIC_ROW("running", "how the program runs, and what it reports"),
	OPTION_STATS("10s"),
	OPTION_CHECK("replicate nothing"),
	{ 0, "probe-from", "ADDRESS[:PORT]", 0,
	  "source of the probe of --check [one of -c, or a client that is captured]",
	  "the address of a client, with or without a port: 192.0.2.9, 192.0.2.9:7000 or [2001:db8::9]:7000",
	  set_probe_from, ARGS_WHOLE },
	OPTION_USER,
	OPTION_NO_SANDBOX,
	OPTION_DAEMON,
	OPTION_LOG,
	OPTION_REPORT,
	OPTION_PID,
	OPTION_STATUS("tcpcopy"),
	OPTION_JSON,
	OPTION_CONTROL("tcpcopy"),
	OPTION_VERBOSE,
};

_Static_assert(offsetof(struct config, run) == 0, "options_ignored() finds it there");

static const struct args_program program = {
	.name = "tcpcopy",
	.version = VERSION,
	.summary = "Replicates the live TCP requests of this host to a target server. The target's responses "
		   "come back to this host and end here; with -s they end on an assistant server, where "
		   "intercept returns their headers, and the target sees the clients' own addresses.",
	.closing = "Example: tcpcopy -x 6379-10.90.109.143:6379\n"
		   "         tcpcopy -x 6379-10.90.109.143:6379 -s 10.90.110.143 -d\n",
	.ignored = options_ignored,
	.options = options,
	.count = ARRAY_SIZE(options),
};

int config_parse(struct config *c, int argc, char **argv)
{
	const char *wrong, *option;
	int status;

	*c = (struct config){
		.run = { .workers = 1, .stats_interval = DEFAULT_STATS },
		.assistant_port = DEFAULT_ASSISTANT_PORT,
		.hold = HOLD_NOT_GIVEN,
		.max_answers = UINT64_MAX,
		.speed = 1000000,
		.gap = UINT64_MAX,
		.loops = 1,
		.decap = DECAP_ALL,
		.choice = { .share = CHOICE_ALL, .seed = CHOICE_SEED },
		.session_buffer = DEFAULT_SESSION_BUFFER,
		.memory = DEFAULT_MEMORY,
	};
	status = args_parse(&program, argc, argv, c);
	args_free(); /* the setters have copied what they want */
	if (status >= 0)
		return status;

	if (c->run.status)
		return -1;
	if (c->n_rules == 0)
		return args_error(&program, 'x', NULL, "is missing");
	if (c->way_back == RETURN_AUTO)
		c->way_back = c->n_assistants ? RETURN_ASSISTANT : RETURN_OWN;
	if (c->way_back == RETURN_ASSISTANT && c->n_assistants == 0)
		return args_error(&program, 's', NULL, "is missing, which --return assistant needs");
	if (c->way_back == RETURN_OWN && c->n_assistants)
		return args_error(&program, 's', NULL, "names an assistant, which --return own does not use");
	if (c->never_hold && c->hold && c->hold != HOLD_NOT_GIVEN)
		return args_error(&program, 'W', NULL, "never waits, but --hold says how long to wait");
	if (c->never_hold || c->dry_run)
		c->hold = 0;
	else if (c->hold == HOLD_NOT_GIVEN)
		c->hold = DEFAULT_HOLD;
	if (c->no_join && c->has_join && c->join != ENGINE_JOIN_NONE)
		return args_error(&program, 'O', NULL, "joins nothing older, but --join says otherwise");
	wrong = config_set_joins(c);
	if (wrong)
		return args_error_named(&program, "join", NULL, wrong);
	for (unsigned i = 0; i < c->n_assistants; i++)
		if (c->assistants[i].at.port == 0)
			c->assistants[i].at.port = c->assistant_port;
	status = options_check(&program, &c->run);
	if (status >= 0)
		return status;
	wrong = config_check_replay(c, &option);
	if (wrong)
		return args_error_named(&program, option, NULL, wrong);
	c->copies.seed = c->targets.seed = c->choice.seed;
	wrong = config_check_choice(c, &option);
	if (wrong)
		return args_error_named(&program, option, NULL, wrong);
	wrong = config_check_copies(c, &option);
	if (wrong)
		return args_error_named(&program, option, NULL, wrong);
	wrong = config_check_write(c, &option);
	if (wrong)
		return args_error_named(&program, option, NULL, wrong);
	status = config_check(c);
	return status == 0 ? -1 : status;
}
