/*
 * intercept --check - theory of operation
 *
 * In: the configuration of a real start. Out: lines on stdout and an exit status. It may run beside a working
 * intercept; the port that this one listens on is then no finding. Whether responses arrive at all cannot be
 * seen from here alone; the probe of tcpcopy --check finds that out.
 */
#include "intercept/check/check.h"

#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <pcap/pcap.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "program/check.h"
#include "build/config.h"
#include "channel/conn.h"
#include "intercept/clients/admission.h"
#include "intercept/hole/blackhole.h"
#include "intercept/hole/guard.h"
#include "intercept/hole/on_target.h"
#include "io/capture/filter.h"
#include "io/host/checks.h"
#include "io/host/offloads.h"
#include "io/capture/source.h"
#include "packet/build.h"

#define CONNECT_TIMEOUT_MS 1000

struct checking {
	struct config *config;
	char *const *argv;
};

static void check_permissions(struct check_report *report, void *arg)
{
	const struct checking *k = arg;

	host_check_capability(report, "capturing needs CAP_NET_RAW", k->argv);
}

static void check_interfaces(struct check_report *report, void *arg)
{
	const struct checking *k = arg;
	const struct config *c = k->config;

	if (!c->n_interfaces)
		check_note(report, CHECK_BROKEN, "no interface but loopback is up: nothing can be captured");
	for (unsigned i = 0; i < c->n_interfaces; i++) {
		char on[200];

		if (!host_check_interface(report, c->interfaces[i]))
			continue;
		offloads_text(on, sizeof(on), c->interfaces[i]);
		check_note(report, CHECK_OK, "%s is up; nothing depends on its offloads (enabled: %s)",
			   c->interfaces[i], on[0] ? on : "none");
	}
}

bool check_filter_passes(const char *filter, const struct endpoint *from, const struct endpoint *to)
{
	const struct tx_segment t = { .tuple = { *from, *to }, .flags = TCPF_SYN | TCPF_ACK, .ttl = 64 };
	struct pcap_pkthdr h = { 0 };
	struct bpf_program program;
	uint8_t packet[BUILD_MAX_HEADERS];
	char err[512];
	bool passes;

	if (!filter)
		return true;
	if (capture_filter_compile(&program, filter, LINK_RAW, 0, err, sizeof(err)))
		return true;
	h.caplen = h.len = (bpf_u_int32)build_packet(packet, sizeof(packet), &t);
	passes = pcap_offline_filter(&program, &h, packet);
	pcap_freecode(&program);
	return passes;
}

/* No one service uses all these ports, so a filter that matches all of them does not look at the port. */
static bool passes_any_port(const char *filter)
{
	static const uint16_t ports[] = { 1013, 20011, 36523, 50021 };
	/* TEST-NET-1 and 2 (RFC 5737) */
	struct endpoint from = { addr_from_v4("\xc0\x00\x02\x07"), 0 },
			to = { addr_from_v4("\xc6\x33\x64\x07"), 40009 };

	for (unsigned i = 0; i < ARRAY_SIZE(ports); i++) {
		from.port = ports[i];
		if (!check_filter_passes(filter, &from, &to))
			return false;
	}
	return true;
}

static void check_filter(struct check_report *report, void *arg)
{
	const struct checking *k = arg;
	const char *filter = k->config->filter;
	struct check_result r = { 0 };

	if (!filter) {
		check_note(report, CHECK_OK, "the targets that the connected tcpcopys announce");
	} else if (passes_any_port(filter)) {
		check_text(
			&r, CHECK_WARNING,
			"-F \"%s\" matches every TCP packet of this host, which wastes CPU and fills the "
			"counters with noise; name the target's port, such as -F tcp and src port 6379, or omit -F",
			filter);
		check_cure(&r, "this host", "intercept -i %s --check",
			   k->config->n_interfaces ? k->config->interfaces[0] : "any");
		check_say(report, &r);
	} else {
		check_note(report, CHECK_OK, "%s", filter);
	}
}

static void check_kernel(struct check_report *report, void *arg)
{
	const struct config *c = ((const struct checking *)arg)->config;
	const struct capture_options o = { .interface = c->interfaces[0],
					   .filter = "tcp",
					   .ring_bytes = 1u << 20 };

	if (c->n_interfaces)
		host_check_capture(report, &o);
}

static void check_forwarding(struct check_report *report, void *arg)
{
	const struct checking *k = arg;
	struct check_result r = { 0 };
	char switches[512], why[256];

	if (k->config->n_on_target)
		check_note(report, CHECK_OK,
			   "it does not matter: what --on-target captures does not come in");
	else if (!blackhole_switches(k->config, switches, sizeof(switches))) {
		check_note(report, CHECK_OK, "off: packets that are not for this host end here");
	} else if (!k->config->guard) {
		check_text(
			&r, CHECK_BROKEN,
			"this host forwards packets, so the target's responses would reach the clients, which "
			"reset them (if it has to forward, use --guard with --allow or --secret)");
		check_cure(&r, "this host", "sysctl -w %s", switches);
		check_say(report, &r);
	} else if (!guard_possible(why, sizeof(why))) {
		check_note(report, CHECK_BROKEN, "this host forwards, and --guard cannot work: %s", why);
	} else {
		check_note(report, CHECK_OK, "on, but --guard drops the target's responses first");
	}
}

static void check_on_target(struct check_report *report, void *arg)
{
	const struct config *c = ((const struct checking *)arg)->config;
	char text[ADDR_TEXT_LEN], list[CONFIG_MAX_ON_TARGET * (ADDR_TEXT_LEN + 2)] = "";
	struct check_result r;
	size_t n = 0;

	if (!c->n_on_target)
		return;
	for (unsigned i = 0; i < c->n_on_target; i++)
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s", n ? ", " : "",
				      addr_format(text, sizeof(text), &c->on_target[i]));
	if (on_target_running())
		check_note(report, CHECK_OK, "an intercept with --on-target runs already");
	else if (on_target_possible(c, &r))
		check_note(report, CHECK_OK, "no host has %s", list);
	else
		check_say(report, &r);
}

/* The services of IPVS come after the header, and begin with TCP or FWM. */
static void check_balancer(struct check_report *report, void *arg)
{
	struct check_result r = { 0 };
	char line[256];
	unsigned n = 0;
	FILE *f = fopen("/proc/net/ip_vs", "re");

	(void)arg;
	while (f && fgets(line, sizeof(line), f))
		n += !strncmp(line, "TCP", 3) || !strncmp(line, "FWM", 3);
	if (f)
		fclose(f);
	if (n) {
		check_text(
			&r, CHECK_WARNING,
			"IPVS (LVS) has %u service%s on this host and may intercept the target's responses",
			n, n == 1 ? "" : "s");
		check_cure(&r, "this host", "ipvsadm -Ln");
		check_say(report, &r);
	} else {
		check_note(report, CHECK_OK, "no load balancer in this kernel");
	}
}

static void check_limits(struct check_report *report, void *arg)
{
	struct check_result r = { 0 };
	struct rlimit files = { 0 };

	(void)arg;
	if (getrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur >= ADMISSION_MAX) {
		check_note(report, CHECK_OK, "%llu open files", (unsigned long long)files.rlim_cur);
		return;
	}
	check_text(&r, CHECK_WARNING,
		   "this process may open only %llu files, which limits the number of connected tcpcopys",
		   (unsigned long long)files.rlim_cur);
	check_cure(&r, "this host", "ulimit -n %u", 2 * ADMISSION_MAX);
	check_say(report, &r);
}

/* Is it an intercept that has the port? */
struct asking {
	struct event_base *base;
	bool is_intercept;
	struct msg_hello hello;
};

static void on_up(struct channel_conn *conn, const struct msg_hello *hello, uint16_t version, void *arg)
{
	struct asking *a = arg;

	(void)version;
	a->hello = *hello;
	a->is_intercept = !strcmp(hello->program, "intercept");
	channel_conn_close(conn, "the check is over");
	event_base_loopbreak(a->base);
}

static void on_message(struct channel_conn *conn, const struct message *m, void *arg)
{
	(void)conn;
	(void)m;
	(void)arg;
}

static void on_down(struct channel_conn *conn, const char *why, void *arg)
{
	(void)conn;
	(void)why;
	(void)arg;
}

static bool ask_who(const struct config *c, const struct endpoint *at, struct asking *a)
{
	const struct channel_options options = { .program = "tcpcopy",
						 .release = VERSION,
						 .secret = c->secret };
	static const struct channel_handler handler = { .up = on_up, .message = on_message, .down = on_down };
	struct endpoint to = *at;

	if (addr_is_any(&to.addr))
		to.addr = addr_from_v4("\x7f\x00\x00\x01");
	*a = (struct asking){ .base = event_base_new() };
	if (!a->base)
		return false;
	if (channel_connect(a->base, &to, CONNECT_TIMEOUT_MS, &options, &handler, a))
		event_base_dispatch(a->base);
	event_base_free(a->base);
	return a->is_intercept;
}

/* 0, or errno of listening there. */
static int try_to_listen(const struct endpoint *e)
{
	static const int on = 1;
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(&ss, &e->addr, e->port);
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), error = 0;

	if (fd < 0)
		return errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&ss, len) || listen(fd, 1))
		error = errno;
	close(fd);
	return error;
}

static void check_channel(struct check_report *report, void *arg)
{
	const struct checking *k = arg;
	const struct config *c = k->config;
	const struct addr any = addr_from_v4("\0\0\0\0");

	for (unsigned i = 0; i < c->n_binds || !i; i++) {
		const struct endpoint e = { c->n_binds ? c->binds[i] : any, c->port };
		struct check_result r = { 0 };
		struct asking who;
		char at[ENDPOINT_TEXT_LEN];
		int error = try_to_listen(&e);

		endpoint_format(at, sizeof(at), &e);
		if (!error) {
			check_note(report, CHECK_OK, "%s is free", at);
		} else if (error == EADDRINUSE && ask_who(c, &e, &who)) {
			check_note(report, CHECK_OK, "%s: intercept %s already listens there", at,
				   who.hello.release);
		} else {
			check_text(
				&r, CHECK_BROKEN, "%s: %s", at,
				error == EADDRINUSE
					? "another program is using this port, or an intercept with another --secret"
					: strerror(error));
			if (error == EADDRNOTAVAIL)
				check_cure(&r, "this host", "ip address show");
			else
				check_cure(&r, "this host", "ss -ltnp sport = :%u", e.port);
			check_say(report, &r);
		}
	}
}

static const struct check checks[] = {
	{ "permissions", check_permissions }, { "interfaces", check_interfaces },
	{ "kernel", check_kernel },           { "filter", check_filter },
	{ "forwarding", check_forwarding },   { "balancer", check_balancer },
	{ "limits", check_limits },           { "channel", check_channel },
	{ "on-target", check_on_target },
};

int check_main(struct config *c, char *const *argv)
{
	struct checking k = { c, argv };
	struct check_report report = { 0 };

	signal(SIGPIPE, SIG_IGN);
	if (!c->n_interfaces)
		c->n_interfaces = capture_interfaces(c->interfaces, CONFIG_MAX_INTERFACES, false);
	return check_run(&report, checks, ARRAY_SIZE(checks), &k);
}
