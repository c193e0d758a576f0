/*
 * The probe - theory of operation
 *
 * In: a target, a source address (a client's, or one of -c), the real sink and the real channel. Out: what
 * became of one SYN, as far as this host, the assistants and an ordinary connection can tell together.
 *
 *   ASK      WATCH and PROBE go to the assistants. Their FINDINGS say that they are listening, and what is
 *            wrong there already.
 *   SYN      The SYN leaves through the sink. A SYN-ACK or a reset should come back as a record.
 *   TORN     It was answered. Whoever else received the answer, a client or the assistant's own kernel,
 *            resets the connection now.
 *   CONFIRM  The same SYN again. A live connection repeats its SYN-ACK with the same sequence number
 *            (RFC 9293 3.10.7.4); another number means that the connection was reset in between.
 *   LARGE    A packet as large as the route takes, with an old sequence number: the target acknowledges it
 *            again and throws it away (RFC 9293 3.10.7.4), so its application sees nothing. If no answer
 *            comes, smaller ones follow, and at last one without payload: if that is answered, a link on
 *            the way takes less than the route says.
 *   REPORT   PROBE again: what has arrived at the assistants, and what did they send? A reset then ends the
 *            connection.
 *
 * If nothing came back:
 *
 *   PLAIN    An ordinary connection from this host's own address: is the service there at all? It is
 *            watched as well, because the answer to it must not arrive at an assistant.
 *   NEAR     A SYN whose source is the assistant's own address. The answer to it needs no special route.
 *            If it arrives, the route to the client is missing; if it does not, packets with another host's
 *            address are dropped. The assistant's kernel does not know the connection and resets it.
 *
 * The target's application sees nothing of a SYN that is reset before its third packet; the ordinary
 * connection is opened and closed. An unanswered SYN is not repeated but followed by a reset, in case the
 * target holds a half-open connection whose SYN-ACK nobody received.
 */
#include "tcpcopy/check/probe.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "program/clock.h"
#include "io/host/host.h"
#include "io/inject/next_hop.h"
#include "io/inject/route.h"
#include "path/path.h"

#define ASK_MS 300
#define ANSWER_MS REACH_PATIENCE_MS
#define TORN_MS 300
#define PLAIN_MS 2200 /* the kernel does not tell the number of its SYN, so the record comes late */
#define CONFIRM_MS 500
#define LARGE_MS 300
#define OLD (1u << 16) /* bytes behind what is expected */
#define LARGEST 9216u
#define LOWEST_PORT 5001u
#define HIGHEST_PORT 9999u
#define MSS 1460u
#define WINDOW 64240u

enum step {
	STEP_ASK,
	STEP_SYN,
	STEP_TORN,
	STEP_CONFIRM,
	STEP_LARGE,
	STEP_REPORT,
	STEP_PLAIN,
	STEP_NEAR,
	STEP_OVER
};

/* One connection that is watched: the client's, this host's own, the assistant's. */
struct attempt {
	uint64_t id;
	struct endpoint source;
	uint32_t iss, irs;
	bool watched, syn_sent, answered, reset;
};

struct probe {
	struct probe_way way;
	struct event *timer, *connected;
	struct reach reach;
	enum step step;
	struct attempt client, plain, near;
	uint64_t sent_at;
	unsigned findings; /* since they were asked for */
	uint32_t large;    /* bytes of the packet that is under way in STEP_LARGE */
	uint16_t mss;      /* of the target's SYN-ACK; 0: it has none */
	struct probe_result result;
};

static uint32_t random_u32(void)
{
	uint32_t v = 0;

	if (getrandom(&v, sizeof(v), GRND_NONBLOCK) != sizeof(v))
		v = (uint32_t)clock_now();
	return v;
}

uint16_t probe_port(bool (*in_use)(void *arg, uint16_t port), void *arg)
{
	const uint32_t n = HIGHEST_PORT - LOWEST_PORT + 1, first = random_u32() % n;
	uint32_t i = 0;

	while (i < n - 1 && in_use(arg, (uint16_t)(LOWEST_PORT + (first + i) % n)))
		i++;
	return (uint16_t)(LOWEST_PORT + (first + i) % n);
}

static void next(struct probe *p, enum step step, unsigned ms)
{
	const struct timeval tv = { ms / 1000, (suseconds_t)(ms % 1000) * 1000 };

	p->step = step;
	event_add(p->timer, &tv);
}

static void tell(struct probe *p, enum message_type type, const struct attempt *t)
{
	struct message m = {
		.type = type,
		.watch = { .id = t->id,
			   .response = { .src = *p->way.target, .dst = t->source },
			   .number = t->iss },
	};

	p->way.send(p->way.arg, &m);
}

static void watch(struct probe *p, struct attempt *t)
{
	t->watched = true;
	if (t->iss) /* of our own SYN; without it a SYN-ACK would be reported half a second late */
		tell(p, MSG_EXPECT, t);
	tell(p, MSG_WATCH, t);
}

static void ask(struct probe *p, const struct attempt *t)
{
	p->findings = 0;
	tell(p, MSG_PROBE, t);
}

/* With @len bytes of payload. False: the kernel did not take it; *why says why, as the sink counts it. */
static bool emit_bytes(struct probe *p, const struct attempt *t, uint8_t flags, uint32_t seq, uint32_t ack,
		       uint32_t len, enum sink_error *why)
{
	static const uint8_t zeros[LARGEST];
	static const uint8_t mss[4] = { 2, 4, MSS >> 8, MSS & 0xff };
	const struct sink_counters before = p->way.sink->counters;
	const struct sink_counters *after = &p->way.sink->counters;
	struct tx_segment s = {
		.tuple = { t->source, *p->way.target },
		.seq = seq,
		.ack = ack,
		.flags = flags,
		.window = flags & TCPF_RST ? 0 : WINDOW,
		.ttl = 64,
		.df = true,
		.ip_id = (uint16_t)random_u32(),
		.payload = zeros,
		.len = len,
	};

	if (flags & TCPF_SYN) {
		s.options_len = sizeof(mss);
		memcpy(s.options, mss, sizeof(mss));
	}
	sink_send(p->way.sink, &s);
	sink_flush(p->way.sink);
	/* One packet of a neighbour that is to be asked again goes so, too. */
	p->result.by_raw &= p->way.config->inject == INJECT_RAW || after->fallback != before.fallback;
	for (int e = 0; e < SINK_ERROR_COUNT; e++) {
		if (after->errors[e] == before.errors[e])
			continue;
		*why = (enum sink_error)e;
		return false;
	}
	return true;
}

static bool emit(struct probe *p, const struct attempt *t, uint8_t flags, uint32_t seq, uint32_t ack,
		 enum sink_error *why)
{
	return emit_bytes(p, t, flags, seq, ack, 0, why);
}

/* Then the kernel drops what belongs to no connection that it knows (nf_conntrack(4)). */
static bool tracking_is_full(void)
{
	const long long most = host_number("/proc/sys/net/netfilter/nf_conntrack_max");

	return most > 0 && host_number("/proc/sys/net/netfilter/nf_conntrack_count") >= most;
}

static void send_syn(struct probe *p, struct attempt *t)
{
	enum sink_error why = SINK_OTHER;

	t->syn_sent = emit(p, t, TCPF_SYN, t->iss, 0, &why);
	p->sent_at = clock_now();
	if (t != &p->client || t->answered)
		return;
	p->result.sent = t->syn_sent;
	p->result.refused = why;
	p->result.tracking_full = why == SINK_PERM && tracking_is_full();
}

/* Nothing of it stays, neither at the target nor at the assistants. */
static void end_attempt(struct probe *p, struct attempt *t)
{
	enum sink_error why;

	if (t->syn_sent && !t->reset && t != &p->plain)
		emit(p, t, TCPF_RST | (t->answered ? TCPF_ACK : 0), t->iss + 1, t->answered ? t->irs + 1 : 0,
		     &why);
	if (t->watched)
		tell(p, MSG_UNWATCH, t);
	t->watched = t->syn_sent = false;
}

static void end_plain(struct probe *p)
{
	if (p->connected)
		event_free(p->connected);
	p->connected = NULL;
	if (p->reach.fd >= 0)
		reach_close(&p->reach);
	end_attempt(p, &p->plain);
}

static void finish(struct probe *p)
{
	end_attempt(p, &p->client);
	end_plain(p);
	end_attempt(p, &p->near);
	event_del(p->timer);
	p->step = STEP_OVER;
	p->way.done(p->way.arg);
}

static void begin_report(struct probe *p)
{
	enum sink_error why = SINK_OTHER;

	/* Connection tracking that saw one direction only calls this ACK invalid, as it would those
	 * of the copies. */
	if (p->client.answered && p->result.by_raw && !p->result.torn)
		p->result.ack_refused =
			!emit(p, &p->client, TCPF_ACK, p->client.iss, p->client.irs + 1, &why) &&
			why == SINK_PERM;
	ask(p, &p->client);
	next(p, STEP_REPORT, ASK_MS);
}

static uint32_t headers(const struct probe *p)
{
	return addr_is_v4(&p->way.target->addr) ? 40 : 60;
}

static void send_large(struct probe *p)
{
	enum sink_error why = SINK_OTHER;

	if (emit_bytes(p, &p->client, TCPF_ACK, p->client.iss + 1 - OLD, p->client.irs + 1,
		       p->large - headers(p), &why))
		next(p, STEP_LARGE, LARGE_MS);
	else
		begin_report(p);
}

static void begin_large(struct probe *p)
{
	struct probe_result *r = &p->result;
	const uint32_t most = p->way.config->mtu ? p->way.config->mtu : LARGEST;

	if (!p->client.answered || r->torn || route_lookup(&r->route, &p->way.target->addr) ||
	    r->route.local || !r->route.mtu) {
		begin_report(p);
		return;
	}
	r->large = p->large = MIN(MIN(MIN(most, r->route.mtu), LARGEST), MAX(p->mss, 88u) + headers(p));
	send_large(p);
}

/* Nothing has answered it. */
static void large_is_lost(struct probe *p)
{
	if (p->large == headers(p)) {
		begin_report(p);
		return;
	}
	p->large = MAX(path_next_smaller(!addr_is_v4(&p->way.target->addr), p->large), headers(p));
	send_large(p);
}

static void large_arrived(struct probe *p)
{
	if (p->large > headers(p))
		p->result.takes = p->large;
	else
		p->result.small_takes = true;
	begin_report(p);
}

static void decide_near(struct probe *p)
{
	p->result.near = p->near.answered || p->near.reset;
	finish(p);
}

/* The assistant's own address as the target reaches it, else the one that we reach. */
static bool near_source(struct probe *p, struct addr *a)
{
	const struct probe_result *r = &p->result;
	bool v4 = addr_is_v4(&p->way.target->addr);

	for (unsigned i = 0; i < p->way.config->n_assistants; i++) {
		const struct addr *own = &p->way.config->assistants[i].at.addr;

		if (!r->has_found[i] || (r->found[i].facts & FINDING_SOURCE_HERE))
			continue;
		*a = addr_is_any(&r->found[i].address) ? *own : r->found[i].address;
		if (addr_is_v4(a) == v4 && !addr_is_loopback(a))
			return true;
	}
	return false;
}

static bool same_link(const struct addr *a, const struct addr *b)
{
	struct route_info to_a, to_b;

	return !route_lookup(&to_a, a) && !route_lookup(&to_b, b) && !to_a.unreachable && !to_b.unreachable &&
	       !to_a.has_gateway && !to_b.has_gateway && to_a.ifindex == to_b.ifindex;
}

static bool free_port(void *arg, uint16_t port)
{
	(void)arg;
	(void)port;
	return false;
}

static void decide_plain(struct probe *p)
{
	struct probe_result *r = &p->result;
	struct route_info route;
	struct addr source;
	const bool assistant = near_source(p, &source);

	r->plain = reach_state(&p->reach);
	if (r->plain == REACH_SILENT && next_hop_unresolved(&p->way.target->addr))
		r->plain = REACH_NO_NEIGHBOUR; /* the kernel asks longer than we wait */
	r->plain_by = p->reach.by;
	r->plain_error = p->reach.error;
	r->plain_source = p->reach.local.addr;
	r->plain_covered = p->plain.answered || p->plain.reset;
	end_plain(p);
	if (!route_lookup(&route, &p->way.target->addr) && route.has_gateway) {
		r->has_gateway = true;
		r->gateway = route.gateway;
	}
	r->near_same_link = assistant && same_link(&p->way.target->addr, &source);
	if (r->plain != REACH_CONNECTED || !p->client.source.port || !assistant) {
		finish(p);
		return;
	}
	p->near.source = (struct endpoint){ source, probe_port(free_port, NULL) };
	r->tried_near = true;
	watch(p, &p->near);
	send_syn(p, &p->near);
	next(p, STEP_NEAR, ANSWER_MS);
}

static void on_connected(evutil_socket_t fd, short what, void *arg)
{
	struct probe *p = arg;

	(void)fd;
	(void)what;
	if (p->step == STEP_PLAIN)
		decide_plain(p);
}

static void begin_plain(struct probe *p)
{
	p->result.tried_plain = true;
	reach_open(&p->reach, p->way.target);
	if (p->reach.fd >= 0 && !p->reach.error) {
		p->plain.source = p->reach.local;
		watch(p, &p->plain); /* the assistants hold for a moment what comes before */
		p->connected = event_new(p->way.base, p->reach.fd, EV_WRITE, on_connected, p);
		if (p->connected)
			event_add(p->connected, NULL);
	}
	next(p, STEP_PLAIN, PLAIN_MS);
}

static void end_report(struct probe *p)
{
	bool back = p->client.answered || p->client.reset;

	end_attempt(p, &p->client);
	if (back || !p->result.sent)
		finish(p);
	else
		begin_plain(p);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct probe *p = arg;

	(void)fd;
	(void)what;
	switch (p->step) {
	case STEP_ASK:
		if (!p->client.source.port) {
			begin_plain(p);
			break;
		}
		send_syn(p, &p->client);
		next(p, STEP_SYN, p->result.sent ? ANSWER_MS : 0);
		break;
	case STEP_SYN:
		begin_report(p);
		break;
	case STEP_TORN:
		send_syn(p, &p->client);
		next(p, STEP_CONFIRM, CONFIRM_MS);
		break;
	case STEP_CONFIRM:
		begin_large(p);
		break;
	case STEP_LARGE:
		large_is_lost(p);
		break;
	case STEP_REPORT:
		end_report(p);
		break;
	case STEP_PLAIN:
		decide_plain(p);
		break;
	case STEP_NEAR:
		decide_near(p);
		break;
	case STEP_OVER:
		break;
	}
}

static void on_client_response(struct probe *p, bool syn, const struct response *r)
{
	struct attempt *t = &p->client;

	if (p->step == STEP_LARGE && !syn) { /* an ACK, or, of SYN cookies, a reset */
		t->reset |= (r->flags & TCPF_RST) != 0;
		large_arrived(p);
		return;
	}
	if (!syn) { /* a reset */
		if (t->answered)
			p->result.torn = true;
		else
			p->result.reset = true;
		t->reset = true;
		if (p->step == STEP_SYN || p->step == STEP_TORN || p->step == STEP_CONFIRM)
			begin_report(p);
		return;
	}
	if (!t->answered) {
		t->answered = p->result.answered = true;
		t->irs = r->seq;
		p->mss = r->opt.mss;
		p->result.round_trip = clock_now() - p->sent_at;
		if (p->step == STEP_SYN)
			next(p, STEP_TORN, TORN_MS);
		return;
	}
	p->result.torn |= r->seq != t->irs;
	t->irs = r->seq; /* what the reset at the end has to name */
	if (p->step == STEP_CONFIRM)
		begin_large(p);
}

bool probe_response(struct probe *p, const struct response *r)
{
	struct attempt *all[] = { &p->client, &p->plain, &p->near };
	bool syn = (r->flags & (TCPF_SYN | TCPF_ACK)) == (TCPF_SYN | TCPF_ACK);

	for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
		struct attempt *t = all[i];

		if (r->id != t->id || p->step == STEP_OVER)
			continue;
		if ((!syn && !(r->flags & TCPF_RST) && (t != &p->client || p->step != STEP_LARGE)) ||
		    (t != &p->plain && (r->flags & TCPF_ACK) && r->ack != t->iss + 1))
			return true;
		if (t == &p->client) {
			on_client_response(p, syn, r);
			return true;
		}
		t->answered |= syn;
		t->reset |= !syn;
		t->irs = r->seq;
		if (t == &p->near && p->step == STEP_NEAR)
			decide_near(p);
		return true;
	}
	return false;
}

void probe_findings(struct probe *p, unsigned assistant, const struct msg_findings *f)
{
	unsigned expected = 0;

	if (f->id != p->client.id || p->step == STEP_OVER)
		return;
	p->result.found[assistant] = *f;
	p->result.has_found[assistant] = true;
	p->findings++;
	for (unsigned i = 0; i < p->way.config->n_assistants; i++)
		expected += p->result.has_found[i];
	if (p->step == STEP_REPORT && p->findings == expected)
		next(p, STEP_REPORT, 0);
	if (p->step == STEP_ASK && p->findings == p->way.config->n_assistants)
		next(p, STEP_ASK, 0);
}

struct probe *probe_start(const struct probe_way *way)
{
	struct probe *p = calloc(1, sizeof(*p));
	uint64_t id = (uint64_t)random_u32() << 32 | UINT32_MAX;

	if (!p)
		return NULL;
	p->way = *way;
	p->reach.fd = -1;
	p->client = (struct attempt){ .id = id, .source = way->source, .iss = random_u32() };
	p->plain = (struct attempt){ .id = id + (1ull << 32) };
	p->near = (struct attempt){ .id = id + (2ull << 32), .iss = random_u32() };
	p->result = (struct probe_result){ .target = *way->target,
					   .source = way->source,
					   .served = way->served,
					   .online_port = way->online_port,
					   .by_raw = true };
	p->timer = evtimer_new(way->base, on_timer, p);
	if (!p->timer) {
		free(p);
		return NULL;
	}
	if (way->source.port) {
		watch(p, &p->client);
		ask(p, &p->client);
	}
	next(p, STEP_ASK, way->source.port ? ASK_MS : 0);
	return p;
}

void probe_free(struct probe *p)
{
	if (!p)
		return;
	if (p->step != STEP_OVER) {
		end_attempt(p, &p->client);
		end_plain(p);
		end_attempt(p, &p->near);
	}
	event_free(p->timer);
	free(p);
}

const struct probe_result *probe_result(const struct probe *p)
{
	return &p->result;
}
