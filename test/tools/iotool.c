/* clang-format off */
/*
 * The sources, sinks and routes at the command line, for the system tests and for looking at a host
 * by hand. One command a run:
 *
 *   capture INTERFACE FILTER PACKETS [incoming] [snaplen=N] [buffer=N] [held] [step] [refilter=FILTER]
 *           [quiet] [age] [mode=auto|ring|packet|alternate] [ring=BYTES] [budget=N]
 *           [workers=N [seed=N] [byport]] [prompt]
 *       Prints "ready", then a line for each packet, then the counters. It ends when its standard input
 *       has ended, PACKETS were captured or dropped, and nothing that the filter let in is unread. A line
 *       that comes in is answered by the counters; the first one by "reading", where "held" made it wait
 *       for that line before it read anything. "step" polls once for each line, and not by itself as long
 *       as lines may come. "refilter" replaces the filter when it begins to read; "quiet" prints no
 *       packets. Of a payload byte that is not its sequence number mod 251, as "send" makes them, it says
 *       "wrong". "age" adds to "quiet" the time from capture to delivery and the number of packets whose
 *       sequence number is not above that of the one before. "workers" opens the sources of so many, reads
 *       them in turn, and counts what came by each, and what came by another than fanout_worker() says.
 *       "prompt" says that few wait for what is captured.
 *   read FILE FILTER
 *       The same from a pcap file.
 *   send FROM PORT TO PORT LEN [gso=N] [ttl=N] [id=N] [tos=N] [seq=N] [nodf] [count=N] [batch=N]
 *        [interval=MS] [rate=N] [step] [also=TO2] [file=FILE] [link]
 *       "count" segments of LEN bytes, flushed after each "batch", with a pause then, and at the end the
 *       counters. "step" waits for a line of standard input before each batch, and says "sent" after it.
 *       "rate": so many a second, evenly. Every second segment goes to TO2. "link": by the link layer.
 *   route ADDRESS...
 *       What the routing says.
 *   interfaces
 *       What "any" stands for.
 */
/* clang-format on */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/hist.h"
#include "base/util.h"
#include "io/capture/fanout.h"
#include "io/inject/route.h"
#include "io/inject/sink.h"
#include "io/capture/source.h"
#include "packet/text.h"

static char err[512];

static const char *const reason_name[PARSE_REASON_COUNT] = {
#define X(id, name, text) [PARSE_##id] = name,
	PARSE_REASONS(X)
#undef X
};

static const char *const error_name[SINK_ERROR_COUNT] = {
#define X(id, name, text) [SINK_##id] = name,
	SINK_ERRORS(X)
#undef X
};

static int usage(void)
{
	fprintf(stderr, "usage: see the head of iotool.c\n");
	return 2;
}

static int failed(void)
{
	fprintf(stderr, "%s\n", err);
	return 1;
}

/* The value of argument "name=value" or the bare "name" (then ""), or NULL. */
static const char *option(char **argv, const char *name)
{
	size_t len = strlen(name);

	for (; *argv; argv++) {
		if (strncmp(*argv, name, len) == 0 && (*argv)[len] == '=')
			return *argv + len + 1;
		if (strcmp(*argv, name) == 0)
			return "";
	}
	return NULL;
}

static unsigned long number(char **argv, const char *name, unsigned long otherwise)
{
	const char *v = option(argv, name);
	unsigned long n;
	char *end;

	if (!v)
		return otherwise;
	n = strtoul(v, &end, 0);
	return *end == 'M' ? n << 20 : n;
}

static uint64_t now_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

static void print_packet(const struct raw_packet *p, void *arg)
{
	static const char *const sums[] = { "verify", "partial", "trusted" };
	char text[SEGMENT_TEXT_LEN];
	enum parse_reason r;
	struct segment s;
	uint64_t wrong = 0;

	if (*(bool *)arg)
		return;
	r = parse_packet(&s, p);
	if (r != PARSE_OK) {
		printf("packet len=%u captured=%u reason=%s\n", p->len, p->captured, reason_name[r]);
		return;
	}
	for (uint32_t i = 0; i < s.captured; i++)
		wrong += s.payload[i] != (s.seq + i) % 251;
	printf("packet len=%u captured=%u gso=%u sum=%s type=%u link=%d payload=%u/%u wrong=%" PRIu64
	       " ttl=%u id=%u tos=%u age_us=%" PRId64 " %s\n",
	       p->len, p->captured, p->gso_size, sums[p->checksum], p->pkttype, (int)p->link, s.captured,
	       s.len, wrong, s.ttl, s.ip_id, s.tos, (int64_t)(now_ns(CLOCK_MONOTONIC) - p->time) / 1000,
	       segment_format(text, sizeof(text), &s));
}

/* What "age" asks for. */
static struct hist ages;
static uint64_t disorder;

static void note_age(const struct raw_packet *p, void *arg)
{
	static uint32_t last;
	static bool any;
	struct segment s;

	(void)arg;
	if (parse_packet(&s, p) != PARSE_OK)
		return;
	hist_add(&ages, now_ns(CLOCK_MONOTONIC) - p->time);
	disorder += any && (int32_t)(s.seq - last) <= 0;
	any = true;
	last = s.seq;
}

/* What "workers" asks for. */
static struct fanout spread = { .workers = 1 };
static unsigned reader; /* whose source is being read */
static uint64_t by_worker[FANOUT_MAX_WORKERS], strayed;

struct reading {
	source_fn fn;
	void *arg;
};

static void note_worker(const struct raw_packet *p, void *arg)
{
	const struct reading *r = arg;
	struct segment s;

	by_worker[reader]++;
	if (parse_packet(&s, p) == PARSE_OK)
		strayed += fanout_worker(&spread, &s.tuple) != reader;
	r->fn(p, r->arg);
}

static void print_workers(void)
{
	printf("workers strayed=%" PRIu64, strayed);
	for (unsigned i = 0; i < spread.workers; i++)
		printf(" worker%u=%" PRIu64, i, by_worker[i]);
	printf("\n");
}

static void print_source(struct source *s, uint64_t cpu)
{
	struct source_counters c;

	source_counters(s, &c);
	printf("counters packets=%" PRIu64 " bytes=%" PRIu64 " truncated=%" PRIu64 " drops=%" PRIu64
	       " errors=%" PRIu64 " ring=%" PRIu64 " ring_used=%" PRIu64 " ring_most=%" PRIu64
	       " freezes=%" PRIu64 " aside=%" PRIu64 " turns=%" PRIu64 " disorder=%" PRIu64
	       " age_p50_ns=%" PRIu64 " age_p99_ns=%" PRIu64 " cpu_ns_each=%" PRIu64 "%s%s\n",
	       c.packets, c.bytes, c.truncated, c.kernel_drops, c.errors, c.ring_bytes, c.ring_used,
	       c.ring_most, c.ring_freezes, c.ring_aside, c.turns, disorder, hist_quantile(&ages, 0.5),
	       hist_quantile(&ages, 0.99), c.packets ? cpu / c.packets : 0, s->error[0] ? " error: " : "",
	       s->error);
}

static enum capture_mode mode(char **argv)
{
	static const char *const names[CAPTURE_MODE_COUNT] = {
#define X(id, name, text) [CAPTURE_##id] = name,
		CAPTURE_MODES(X)
#undef X
	};
	const char *v = option(argv, "mode");

	for (int i = 0; v && i < CAPTURE_MODE_COUNT; i++)
		if (!strcmp(v, names[i]))
			return (enum capture_mode)i;
	return CAPTURE_AUTO;
}

/* What the test wants, by its standard input. */
static struct {
	bool ended, asked; /* asked: a line has come */
} input;

/* Wait for input at most @ms; -1: as long as it takes. */
static void listen_to_test(int ms)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	char line[64];

	input.asked = false;
	if (input.ended || poll(&p, 1, ms) <= 0)
		return;
	input.asked = read(STDIN_FILENO, line, sizeof(line)) > 0;
	input.ended = !input.asked;
}

/* Whether all has come that was waited for, and is read. */
static bool have_all(struct source *const *s, uint64_t wanted)
{
	struct source_counters sum = { 0 };

	for (unsigned i = 0; i < spread.workers; i++) {
		struct source_counters c;

		source_counters(s[i], &c);
		source_counters_add(&sum, &c);
	}
	return sum.packets + sum.kernel_drops >= wanted && !source_unread(&sum);
}

static int run_capture(char **argv)
{
	struct capture_options o = { .interface = argv[0], .filter = argv[1] };
	const uint64_t wanted = strtoull(argv[2], NULL, 10);
	unsigned long budget = number(argv + 3, "budget", 256);
	const char *refilter = option(argv + 3, "refilter");
	bool quiet = option(argv + 3, "quiet"), step = option(argv + 3, "step");
	struct source *s[FANOUT_MAX_WORKERS];
	struct pollfd p[FANOUT_MAX_WORKERS];
	struct reading r = { option(argv + 3, "age") ? note_age : print_packet, &quiet };
	uint64_t cpu;

	o.incoming_only = option(argv + 3, "incoming");
	o.snaplen = (unsigned)number(argv + 3, "snaplen", 0);
	o.buffer_bytes = number(argv + 3, "buffer", 0);
	o.filter_changes = refilter != NULL;
	o.mode = mode(argv + 3);
	o.ring_bytes = number(argv + 3, "ring", 0);
	spread.workers = (unsigned)number(argv + 3, "workers", 1);
	spread.seed = (uint32_t)number(argv + 3, "seed", 0);
	spread.source_port_only = option(argv + 3, "byport");
	if (capture_open_workers(&o, &spread, s, err, sizeof(err)) < 0)
		return failed();
	printf("ready\n");
	fflush(stdout);
	if (option(argv + 3, "held"))
		listen_to_test(-1);
	for (unsigned i = 0; i < spread.workers; i++) {
		p[i] = (struct pollfd){ .fd = s[i]->fd, .events = POLLIN };
		s[i]->prompt = option(argv + 3, "prompt");
		if (refilter && capture_set_filter(s[i], refilter, err, sizeof(err)) < 0)
			return failed();
	}
	if (input.asked)
		printf("reading\n");
	fflush(stdout);
	hist_reset(&ages);
	cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
	while (!input.ended || !have_all(s, wanted)) {
		listen_to_test(step ? -1 : 0);
		if (!step || input.ended)
			poll(p, spread.workers, 50);
		for (reader = 0; reader < spread.workers; reader++)
			source_poll(s[reader], (unsigned)budget, note_worker, &r);
		for (unsigned i = 0; input.asked && i < spread.workers; i++)
			print_source(s[i], 0);
		fflush(stdout);
	}
	cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	if (spread.workers > 1)
		print_workers();
	for (unsigned i = 0; i < spread.workers; i++) {
		print_source(s[i], cpu);
		source_close(s[i]);
	}
	return 0;
}

static int run_read(char **argv)
{
	struct source *s = source_file_open(argv[0], argv[1], err, sizeof(err));
	bool quiet = false;

	if (!s)
		return failed();
	while (!s->at_end)
		source_poll(s, 64, print_packet, &quiet);
	print_source(s, 0);
	source_close(s);
	return 0;
}

static void flush(struct sink *s, unsigned long interval_ms)
{
	struct pollfd p = { .fd = sink_fd(s), .events = POLLIN };

	sink_flush(s);
	if (interval_ms)
		poll(NULL, 0, (int)interval_ms);
	if (p.fd >= 0 && poll(&p, 1, 0) > 0)
		sink_readable(s);
}

/* Before the next segment is @due: send those before it, and sleep. */
static void wait_until(struct sink *s, uint64_t due)
{
	struct timespec t = { (time_t)(due / NS_PER_SEC), (long)(due % NS_PER_SEC) };

	if (now_ns(CLOCK_MONOTONIC) >= due)
		return;
	sink_flush(s);
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static int run_send(char **argv)
{
	const char *file = option(argv + 5, "file"), *also = option(argv + 5, "also");
	unsigned long count = number(argv + 5, "count", 1), batch = number(argv + 5, "batch", 64);
	unsigned long interval = number(argv + 5, "interval", 0);
	unsigned long rate = number(argv + 5, "rate", 0);
	bool step = option(argv + 5, "step");
	uint64_t start;
	struct tx_segment t = { .flags = TCPF_ACK | TCPF_PSH, .ack = 7, .window = 115 };
	struct addr to[2];
	struct sink *s;
	uint8_t *payload;
	uint64_t cpu;

	t.len = (uint32_t)strtoul(argv[4], NULL, 10);
	if (!addr_parse(&t.tuple.src.addr, argv[0]) || !addr_parse(&to[0], argv[2]))
		return usage();
	to[1] = to[0];
	if (also && !addr_parse(&to[1], also))
		return usage();
	payload = malloc(t.len + 1);
	if (!payload)
		return usage();
	t.payload = payload;
	t.tuple.src.port = (uint16_t)atoi(argv[1]);
	t.tuple.dst.port = (uint16_t)atoi(argv[3]);
	t.seq = (uint32_t)number(argv + 5, "seq", 1000);
	for (uint32_t i = 0; i < t.len; i++)
		payload[i] = (uint8_t)((t.seq + i) % 251);
	t.ttl = (uint8_t)number(argv + 5, "ttl", 52);
	t.tos = (uint8_t)number(argv + 5, "tos", 0);
	t.ip_id = (uint16_t)number(argv + 5, "id", 25671);
	t.gso_size = (uint16_t)number(argv + 5, "gso", 0);
	t.df = !option(argv + 5, "nodf");
	s = file                       ? sink_file_open(file, err, sizeof(err))
	    : option(argv + 5, "link") ? sink_link_open(err, sizeof(err))
				       : sink_raw_open(err, sizeof(err));
	if (!s)
		return failed();
	prctl(PR_SET_TIMERSLACK, 1);
	start = now_ns(CLOCK_MONOTONIC);
	cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
	for (unsigned long i = 0; i < count; i++) {
		if (rate)
			wait_until(s, start + i * NS_PER_SEC / rate);
		if (step && i % batch == 0)
			listen_to_test(-1);
		t.tuple.dst.addr = to[i % 2];
		sink_send(s, &t);
		if (i % batch == batch - 1)
			flush(s, interval);
		if (step && i % batch == batch - 1) {
			printf("sent\n");
			fflush(stdout);
		}
		t.seq += t.len;
		t.ip_id = (uint16_t)(t.ip_id + 1);
	}
	sink_flush(s);
	cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	printf("counters segments=%" PRIu64 " packets=%" PRIu64 " bytes=%" PRIu64, s->counters.segments,
	       s->counters.packets, s->counters.bytes);
	printf(" fallback=%" PRIu64, s->counters.fallback);
	for (int e = 0; e < SINK_ERROR_COUNT; e++)
		printf(" %s=%" PRIu64, error_name[e], s->counters.errors[e]);
	printf(" errno=%d cpu_ns_each=%" PRIu64 "\n", s->counters.last_errno, cpu / (count ? count : 1));
	sink_close(s);
	free(payload);
	return 0;
}

static int run_route(char **argv)
{
	char gateway[ADDR_TEXT_LEN], source[ADDR_TEXT_LEN];
	struct route_info r;
	struct addr a;

	for (; *argv; argv++) {
		if (!addr_parse(&a, *argv))
			return usage();
		if (route_lookup(&r, &a) < 0) {
			perror(*argv);
			return 1;
		}
		printf("%s local=%d mine=%d unreachable=%d interface=%s mtu=%u gateway=%s source=%s\n", *argv,
		       r.local, route_is_local(&a), r.unreachable, r.interface[0] ? r.interface : "-", r.mtu,
		       r.has_gateway ? addr_format(gateway, sizeof(gateway), &r.gateway) : "-",
		       r.has_source ? addr_format(source, sizeof(source), &r.source) : "-");
	}
	return 0;
}

static int run_interfaces(void)
{
	char names[64][16];
	unsigned n = capture_interfaces(names, 64, true);

	for (unsigned i = 0; i < n; i++)
		printf("%s\n", names[i]);
	return 0;
}

int main(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : "";

	if (!strcmp(command, "capture") && argc >= 5)
		return run_capture(argv + 2);
	if (!strcmp(command, "read") && argc == 4)
		return run_read(argv + 2);
	if (!strcmp(command, "send") && argc >= 7)
		return run_send(argv + 2);
	if (!strcmp(command, "route") && argc >= 3)
		return run_route(argv + 2);
	if (!strcmp(command, "interfaces"))
		return run_interfaces();
	return usage();
}
