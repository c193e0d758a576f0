/*
 * A configuration as text: the capture filter for libpcap, and the facts that the log states at the start.
 *
 * The capture filter is made from the rules, so that the kernel hands us nothing that no rule matches.
 * Packets to a target are always excluded: on a mirror port, or where another tcpcopy's target is this
 * host's neighbour, our own copies pass by and must not be taken for requests.
 *
 * libpcap's "tcp" and "port" mean TCP directly after the IPv4 header or the fixed IPv6 header. IPv6 requests
 * with extension headers in between are not captured; TCP clients do not send such. But this host's own
 * kernel inserts one, into a super-packet that is longer than the IPv6 header can express (BIG TCP, RFC
 * 2675); the filter matches that one by offsets.
 */
#include <stdarg.h>
#include <inttypes.h>
#include <stdio.h>

#include "program/log.h"
#include "io/inject/route.h"
#include "io/capture/source.h"
#include "tcpcopy/mapping.h"
#include "tcpcopy/config/parts.h"
#include "tcpcopy/sources.h"

struct writer {
	char *at;
	size_t left;
	bool overflow;
};

static void put(struct writer *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void put(struct writer *w, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(w->at, w->left, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= w->left) {
		w->overflow = true;
		return;
	}
	w->at += n;
	w->left -= (size_t)n;
}

char *config_prefix_format(char *buf, size_t size, const struct prefix *p)
{
	char a[ADDR_TEXT_LEN];
	bool v4 = addr_is_v4(&p->addr) && p->len >= 96;

	snprintf(buf, size, "%s/%u", addr_format(a, sizeof(a), &p->addr), v4 ? p->len - 96u : p->len);
	return buf;
}

/* Only the port is matched here; which rule a packet belongs to is decided later. */
static void put_big_tcp(struct writer *w, const struct config *c)
{
	bool any = false;

	for (unsigned i = 0; i < c->n_rules; i++) {
		const struct rule *rule = &c->rules[i];

		if (addr_is_v4(&rule->target.addr))
			continue;
		put(w, "%sip6[50:2] = %u",
		    any ? " or " : " or (ip6[6] = 0 and ip6[40] = 6 and ip6[42] = 0xc2 and (",
		    rule->online_port);
		any = true;
	}
	if (any)
		put(w, "))");
}

int config_capture_filter(const struct config *c, char *out, size_t size)
{
	struct writer w = { .at = out, .left = size };
	char text[ADDR_TEXT_LEN];
	unsigned i;

	put(&w, "((tcp and (");
	for (i = 0; i < c->n_rules; i++) {
		const struct rule *rule = &c->rules[i];

		put(&w, "%s(%s and ", i ? " or " : "", addr_is_v4(&rule->target.addr) ? "ip" : "ip6");
		if (rule->has_online_addr)
			put(&w, "dst host %s and ", addr_format(text, sizeof(text), &rule->online_addr));
		put(&w, "dst port %u)", rule->online_port);
	}
	put(&w, "))");
	put_big_tcp(&w, c);
	put(&w, ") and not (");
	for (i = 0; i < c->n_rules; i++) {
		const struct endpoint *target = &c->rules[i].target;

		put(&w, "%s(dst host %s and dst port %u)", i ? " or " : "",
		    addr_format(text, sizeof(text), &target->addr), target->port);
	}
	put(&w, ")");
	if (c->filter[0])
		put(&w, " and (%s)", c->filter);
	return w.overflow ? -1 : 0;
}

static void log_rules(const struct config *c)
{
	char online[ENDPOINT_TEXT_LEN], target[ENDPOINT_TEXT_LEN];
	unsigned i;

	for (i = 0; i < c->n_rules; i++) {
		const struct rule *rule = &c->rules[i];
		const struct endpoint from = { rule->online_addr, rule->online_port };

		endpoint_format(target, sizeof(target), &rule->target);
		if (!rule->has_online_addr) {
			log_info("rule: %s requests to port %u of this host -> %s",
				 addr_is_v4(&rule->target.addr) ? "IPv4" : "IPv6", rule->online_port, target);
			continue;
		}
		endpoint_format(online, sizeof(online), &from);
		log_info("rule: requests to %s -> %s", online, target);
		if (!route_is_local(&rule->online_addr))
			log_warn(
				"rule \"%s\": the online address is not an address of this host; only packets "
				"addressed to this host are captured",
				rule->text);
	}
}

static void log_list(const char *what, const char *const *items, unsigned n, const char *none)
{
	char line[1024] = "";
	struct writer w = { .at = line, .left = sizeof(line) };
	unsigned i;

	for (i = 0; i < n; i++)
		put(&w, "%s%s", i ? ", " : "", items[i]);
	log_info("%s: %s%s", what, n ? line : none, w.overflow ? ", ..." : "");
}

static void log_sources(const struct config *c)
{
	const char *items[MAX(CONFIG_MAX_INTERFACES, CONFIG_MAX_POOL)];
	char filter[CONFIG_FILTER_SIZE], every[CONFIG_MAX_INTERFACES][16];
	unsigned i, n = c->n_interfaces;

	if (n == 0)
		n = capture_interfaces(every, CONFIG_MAX_INTERFACES, true);
	for (i = 0; i < n; i++)
		items[i] = c->n_interfaces ? c->interfaces[i] : every[i];
	/* they were read before, and capture is open: if that fails now, it is for want of a file */
	log_list("capturing on", items, n, "all interfaces that are up");
	config_capture_filter(c, filter, sizeof(filter));
	log_info("capture filter: %s", filter);

	for (i = 0, n = 0; i < c->n_pool; i++)
		if (i == 0 || c->pool_text[i] != c->pool_text[i - 1])
			items[n++] = c->pool_text[i];
	if (c->way_back == RETURN_OWN) /* plan_log() tells */
		return;
	log_list("source addresses", items, n, "the clients' own");
	for (int v4 = 1; v4 >= 0; v4--)
		if (mapping_pool_addresses(c, v4))
			log_info("source addresses: %" PRIu64 " of %s, with %u ports each: %" PRIu64
				 " sessions at a time to each target",
				 mapping_pool_addresses(c, v4), v4 ? "IPv4" : "IPv6", MAPPING_PORTS,
				 mapping_pool_addresses(c, v4) * MAPPING_PORTS);
}

static void log_workers(const struct config *c)
{
	char list[RUN_MAX_CPUS * 5] = "";
	struct writer w = { .at = list, .left = sizeof(list) };

	for (unsigned i = 0; i < c->run.workers && c->run.n_cpus; i++)
		put(&w, "%s%u", i ? ", " : " on CPUs ", c->run.cpus[i % c->run.n_cpus]);
	log_info("workers: %u%s", c->run.workers, list);
	if (c->run.busy_poll)
		log_warn("busy polling (--busy-poll): each worker uses a whole CPU even when it is idle");
}

static void log_limits(const struct config *c)
{
	static const char *const inject[INJECT_COUNT] = {
#define X(id, name, text) [INJECT_##id] = text,
		CONFIG_INJECT(X)
#undef X
	};
	static const char *const capture[CAPTURE_MODE_COUNT] = {
#define X(id, name, text) [CAPTURE_##id] = text,
		CAPTURE_MODES(X)
#undef X
	};
	static const char *const joins[ENGINE_JOIN_COUNT] = {
		[ENGINE_JOIN_AUTO] = "joined where their protocol allows it",
		[ENGINE_JOIN_ALL] = "joined",
		[ENGINE_JOIN_NONE] = "not joined",
	};
	char mtu[48] = "the route's";

	if (c->hold)
		log_info("hold: a request waits at most %.3f s for the previous response",
			 (double)c->hold / NS_PER_SEC);
	else
		log_info("hold: requests never wait for a response");
	if (c->mtu)
		snprintf(mtu, sizeof(mtu), "%u bytes", c->mtu);
	log_info("capture mode: %s", capture[c->capture]);
	if (c->capture != CAPTURE_PACKET)
		log_info("capture rings: %llu MiB in total%s", (unsigned long long)sources_ring(c) >> 20,
			 c->ring ? "" : "; super-packets wait in buffers by the speed of their link (-B)");
	log_info("injection: %s", c->dry_run ? "none: a dry run, which sends nothing" : inject[c->inject]);
	log_info("session buffer: at most %llu KiB each, %llu MiB in total; MTU towards targets: %s; older "
		 "connections: %s",
		 (unsigned long long)c->session_buffer >> 10, (unsigned long long)c->memory >> 20, mtu,
		 joins[c->no_join ? ENGINE_JOIN_NONE : c->join]);
}

static void log_choice(const struct config *c)
{
	char text[CONFIG_CHOICE_TEXT], copies[CONFIG_COPIES_TEXT];

	if (*config_choice_format(text, &c->choice, 0))
		log_info("replicated: %s", text);
	if (c->targets.mode == TARGETS_ALL)
		log_info("targets: each session goes to all whose rules are for it");
	if (c->targets.mode == TARGETS_SPREAD)
		log_info(
			"targets: sessions are divided among those whose rules are for them, by the client's "
			"address%s",
			c->targets.by == TARGETS_BY_SESSION ? " and port" : "");
	if (*config_copies_format(copies, c))
		log_info("copies: each session %s, each copy from a source of its own", copies);
	if (c->max_sessions)
		log_info("sessions: at most %llu are live at a time", (unsigned long long)c->max_sessions);
	if (c->max_rate)
		log_info("sessions: at most %.6g begin in a second", (double)c->max_rate / 1e6);
}

static void log_channel(const struct config *c)
{
	bool beyond = false;

	if (c->way_back == RETURN_OWN)
		return;
	for (unsigned i = 0; i < c->n_assistants; i++)
		beyond |= !addr_is_loopback(&c->assistants[i].at.addr);
	if (c->secret)
		log_info("the channel to the assistant is encrypted (--secret)");
	else if (beyond)
		log_warn("the channel to the assistant is neither encrypted nor authenticated; use --secret");
}

void config_log_facts(const struct config *c)
{
	char assistant[ENDPOINT_TEXT_LEN];
	unsigned i;

	log_rules(c);
	for (i = 0; i < c->n_assistants; i++)
		log_info("responses from: intercept at %s%s",
			 endpoint_format(assistant, sizeof(assistant), &c->assistants[i].at),
			 c->keep_trying ? ", which may be absent at the start" : "");
	log_channel(c);
	if (c->n_read)
		config_log_replay(c);
	else
		log_sources(c);
	log_choice(c);
	log_workers(c);
	log_limits(c);
}
