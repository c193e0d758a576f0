/*
 * Simulator: client, online server and capture - theory of operation
 *
 * Each connection follows its script: the client sends request k when it has read `after` answers
 * and has thought; the server answers a request when it has read all of it. Both speak through
 * stack.c over two links with faults. What reaches the online server passes the capture first:
 * merged to super-packets as GRO does, and perhaps lost, cut, repeated or late. Packets carry no
 * bytes here: capture makes them from the connection's content.
 */
#include "stack.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "packet/options.h"

#define CONTENT 65521u /* prime: shifted bytes are never equal */
#define GRO_TIME (30 * NS_PER_US)
#define GRO_MOST 65000u

static uint8_t content[CONTENT + 1];

static void content_make(void)
{
	uint64_t x = 88172645463325252ull;

	for (unsigned i = 0; i < CONTENT; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		content[i] = (uint8_t)(x >> 24);
	}
	content[CONTENT] = 1;
}

void content_fill(const struct conn *c, uint32_t off, uint8_t *out, uint32_t n)
{
	uint32_t i = (c->key + off) % CONTENT, part;

	if (!content[CONTENT])
		content_make();
	for (; n; n -= part, out += part, i = 0) {
		part = MIN(n, CONTENT - i);
		memcpy(out, content + i, part);
	}
}

bool content_equal(const struct conn *c, uint32_t off, const uint8_t *data, uint32_t n)
{
	uint32_t i = (c->key + off) % CONTENT, part;

	for (; n; n -= part, data += part, i = 0) {
		part = MIN(n, CONTENT - i);
		if (memcmp(data, content + i, part))
			return false;
	}
	return true;
}

/* --- capture --------------------------------------------------------------------------------- */

struct captured {
	struct conn *c;
	struct segment g;
};

static void capture_now(struct world *w, struct conn *c, const struct segment *captured)
{
	static uint8_t payload[1 << 18], options[TCP_MAX_OPTIONS_LEN];
	struct segment g = *captured;

	g.time = w->now;
	if (g.len > sizeof(payload))
		abort();
	content_fill(c, g.seq - c->c.iss - 1, payload, g.len);
	if (g.captured < g.len)
		memset(payload + g.captured, 0xdb, g.len - g.captured);
	for (unsigned i = 0; i < c->n; i++)
		if (!c->captured_at[i] && g.len && c->r[i].start - (g.seq - c->c.iss - 1) < g.len)
			c->captured_at[i] = w->now;
	g.payload = payload;
	if (g.flags & TCPF_SYN) {
		if (c->multipath) {
			g.opt.has_mptcp = true;
			g.opt.mptcp = c->multipath == MULTIPATH_SUBFLOW ? MPTCP_JOIN : MPTCP_CAPABLE;
		}
		g.raw_options = options;
		g.raw_options_len =
			tcp_options_syn_build(options, g.opt.mss, g.opt.has_wscale ? g.opt.wscale : -1,
					      g.opt.has_sack_permitted, g.opt.has_ts, g.opt.tsval);
	}
	if (!(g.flags & (TCPF_SYN | TCPF_RST)) && c->multipath >= MULTIPATH_AGREED) {
		g.opt.has_mptcp = true;
		g.opt.mptcp = MPTCP_DSS;
	}
	if (g.flags & TCPF_RST && !c->rst_told)
		c->rst_told = w->now;
	copy_captured(w, c, &g);
}

static void capture_late(struct world *w, void *arg, uint64_t n)
{
	struct captured *k = arg;

	(void)n;
	capture_now(w, k->c, &k->g);
	k->c->late = NULL;
	free(k);
}

/* Does the capture lose @g, because of a request that begins in it? */
static bool lost_request(const struct conn *c, const struct segment *g)
{
	for (unsigned i = 0; c->lose && i < c->n; i++)
		if (c->lose >> i & 1 && c->r[i].start - (g->seq - c->c.iss - 1) < g->len)
			return true;
	return false;
}

static bool behind_lost(const struct conn *c, const struct segment *g)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->lose >> i & 1)
			return (int32_t)(g->seq - c->c.iss - 1 - c->r[i].start) > 0;
	return false;
}

static void capture(struct world *w, struct conn *c, const struct segment *g)
{
	struct capture *k = &w->capture;
	struct segment s = *g;

	if (rng_chance(w, k->loss)) {
		k->lost++;
		trace(w, "capture loses seq %u len %u", g->seq - c->c.iss, g->len);
		copy_capture_lost(w);
		return;
	}
	if (lost_request(c, g)) {
		k->lost++;
		copy_capture_lost(w);
		return;
	}
	if (k->lose_acks && !g->len && g->flags == TCPF_ACK && rng_below(w, 8)) {
		k->lost++;
		return;
	}
	c->end_lost |= c->lose_end && (g->flags & (TCPF_FIN | TCPF_RST) || c->gone_at);
	if (c->end_lost) {
		k->lost++;
		if (!k->silent)
			copy_capture_lost(w);
		return;
	}
	if (g->len && c->lose && !c->hole_told && behind_lost(c, g))
		c->hole_told = w->now;
	if (g->len && rng_chance(w, k->cut)) {
		k->truncated++;
		s.captured = (uint32_t)rng_below(w, s.len);
	}
	/* a SYN behind its data is a connection joined and a port reused: not what is asked here */
	if (!c->late && !(s.flags & TCPF_SYN) && rng_chance(w, k->reorder)) {
		struct captured *late = malloc(sizeof(*late));

		if (!late)
			abort();
		k->reordered++;
		*late = (struct captured){ c, s };
		c->late = late;
		at(w, w->now + rng_range(w, 1000, 2 * NS_PER_MS), capture_late, late, 0);
		return;
	}
	capture_now(w, c, &s);
	if (rng_chance(w, k->dup)) {
		k->duplicated++;
		capture_now(w, c, &s);
	}
}

static void gro_flush(struct world *w, struct conn *c)
{
	if (!c->gro_pending)
		return;
	c->gro_pending = false;
	capture(w, c, &c->gro);
}

static void gro_time(struct world *w, void *arg, uint64_t order)
{
	struct conn *c = arg;

	if (c->gro_pending && c->gro_order == order)
		gro_flush(w, c);
}

/* Everything that reaches the online host comes by here. */
static void tap(struct world *w, struct conn *c, const struct segment *g)
{
	struct segment *p = &c->gro;
	bool plain = g->len && !(g->flags & ~(TCPF_ACK | TCPF_PSH));

	if (w->now < w->capture.from) {
		c->old = true;
		return;
	}
	if (!w->capture.gro) {
		capture(w, c, g);
		return;
	}
	if (c->gro_pending && plain && p->seq + p->len == g->seq && p->ack == g->ack &&
	    p->len + g->len <= GRO_MOST && g->len <= (p->gso_size ? p->gso_size : p->len)) {
		if (!p->gso_size)
			p->gso_size = (uint16_t)p->len;
		p->len += g->len;
		p->captured = p->len;
		p->flags |= g->flags;
		p->window = g->window;
		if (g->flags & TCPF_PSH || g->len < p->gso_size)
			gro_flush(w, c);
		return;
	}
	gro_flush(w, c);
	if (!plain || g->flags & TCPF_PSH) {
		capture(w, c, g);
		return;
	}
	*p = *g;
	p->gso_size = 0;
	c->gro_pending = true;
	c->gro_order = ++w->order;
	at(w, w->now + GRO_TIME, gro_time, c, c->gro_order);
}

/* --- the online server -------------------------------------------------------------------------
 */

static void online_serve(struct world *w, struct conn *c);

/* Its application aborts the connection: what the client sends from now on nobody takes. */
static void online_abort(struct conn *c)
{
	struct world *w = c->o.w;

	c->has_limit = w->copy.cfg.prove;
	c->limit = c->o.rcv_nxt - c->o.irs - 1;
	c->reset_at = c->closed_at = c->gone_at = w->now;
	tcb_abort(&c->o);
}

static void online_answer(struct world *w, void *arg, uint64_t n)
{
	struct conn *c = arg;

	(void)n;
	c->serving = false;
	if (c->o.state == T_CLOSED || c->o.fin_wanted)
		return;
	if (c->ending == END_SERVER_RST && c->served_online >= c->n / 2) {
		online_abort(c);
		return;
	}
	if (c->r[c->served_online].answer)
		tcb_write(&c->o, c->r[c->served_online].answer);
	c->served_online++;
	if (c->served_online == c->n && c->ending == END_SERVER_FIN) {
		tcb_close(&c->o);
		return;
	}
	online_serve(w, c);
}

static void online_serve(struct world *w, struct conn *c)
{

	if (c->serving || c->o.fin_wanted || c->o.state == T_CLOSED)
		return;
	if (c->served_online < c->n &&
	    c->o.read_seq - c->o.irs - 1 >= c->r[c->served_online].start + c->r[c->served_online].size) {
		c->serving = true;
		at(w, w->now + c->r[c->served_online].service, online_answer, c, 0);
	} else if (c->o.fin_taken) {
		tcb_close(&c->o);
	}
}

static void online_event(struct tcb *t, enum tcb_event e)
{
	struct conn *c = t->owner;

	switch (e) {
	case TCB_CONNECTED:
		c->accepted = true;
		if (c->greeting)
			tcb_write(t, c->greeting);
		break;
	case TCB_READABLE:
		tcb_read(t, tcb_readable(t));
		online_serve(t->w, c);
		break;
	case TCB_EOF:
		if (t->state == T_TIME_WAIT)
			c->gone_at = t->w->now;
		online_serve(t->w, c);
		break;
	case TCB_RESET:
	case TCB_CLOSED:
		c->closed_at = t->w->now;
		if (!c->gone_at)
			c->gone_at = t->w->now;
		break;
	case TCB_ACKED:
		break;
	}
}

static void online_send(struct tcb *t, const struct segment *g)
{
	struct conn *c = t->owner;
	struct segment out = *g;

	if (g->flags & TCPF_SYN && c->multipath >= MULTIPATH_AGREED) {
		out.opt.has_mptcp = true;
		out.opt.mptcp = c->multipath == MULTIPATH_SUBFLOW ? MPTCP_JOIN : MPTCP_CAPABLE;
	}
	copy_server(t->w, &out);
	link_send(t->w, &t->w->down, c, g, NULL, 0);
}

/* RFC 9293 3.10.7.1: nobody is there. */
static void online_refuse(struct world *w, struct conn *c, const struct segment *g)
{
	struct segment r = { .tuple = { g->tuple.dst, g->tuple.src }, .time = w->now, .flags = TCPF_RST };

	if (g->flags & TCPF_RST)
		return;
	if (g->flags & TCPF_ACK) {
		r.seq = g->ack;
	} else {
		r.flags |= TCPF_ACK;
		r.ack = g->seq + segment_seq_len(g);
	}
	copy_server(w, &r);
	link_send(w, &w->down, c, &r, NULL, 0);
}

void online_input(struct world *w, void *to, const struct segment *g, const uint8_t *ip, uint32_t ip_len)
{
	struct conn *c = to;

	(void)ip, (void)ip_len;
	trace_segment(w, "client", g, c->c.iss, c->o.iss);
	tap(w, c, g);
	if (c->unheard || c->reset_at) {
		online_refuse(w, c, g);
		return;
	}
	if (c->o.state == T_CLOSED && !c->o.w && g->flags & TCPF_SYN) {
		tcb_init(&c->o, w, &w->online_p, &w->online, &c->client,
			 w->day ? day_isn(w) : (uint32_t)rng(w));
		c->o.owner = c;
		c->o.send = online_send;
		c->o.event = online_event;
		tcb_accept(&c->o, g);
	} else if (c->o.w) {
		tcb_input(&c->o, g);
	}
}

/* --- the client --------------------------------------------------------------------------------
 */

static void client_next(struct world *w, struct conn *c);

/* Answer bytes that came before answer @n. */
static uint64_t answers_below(const struct conn *c, unsigned n)
{
	uint64_t sum = c->greeting;

	for (unsigned i = 0; i < n; i++)
		sum += c->r[i].answer;
	return sum;
}

static void reuse(struct world *w, void *arg, uint64_t n)
{
	(void)n;
	conn_start(w, arg);
}

static void client_over(struct world *w, struct conn *c)
{
	if (c->ended)
		return;
	c->ended = true;
	if (c->reused_by)
		at(w, w->now + c->reuse_gap, reuse, c->reused_by, 0);
}

static void client_write(struct world *w, void *arg, uint64_t n)
{
	struct conn *c = arg;

	(void)n;
	c->writing = false;
	if (c->c.state != T_ESTABLISHED && c->c.state != T_CLOSE_WAIT)
		return;
	if (c->sent == c->n) { /* the end */
		if (c->ending == END_RST || c->ending == END_RST_EARLY) {
			tcb_abort(&c->c);
			client_over(w, c);
		} else if (c->ending == END_CLIENT_FIN || c->ending == END_HALF_CLOSE) {
			tcb_close(&c->c);
		}
		return;
	}
	w->requests++;
	tcb_write(&c->c, c->r[c->sent++].size);
	client_next(w, c);
}

static void client_next(struct world *w, struct conn *c)
{
	uint64_t read = c->c.read_seq - c->c.irs - 1;

	if (c->writing || c->closing)
		return;
	if (c->sent < c->n) {
		if (read < answers_below(c, c->r[c->sent].after))
			return;
		c->writing = true;
		at(w, w->now + c->r[c->sent].think, client_write, c, 0);
		return;
	}
	if (c->ending == END_OPEN || c->ending == END_SERVER_FIN || c->ending == END_SERVER_RST)
		return;
	if (c->ending != END_HALF_CLOSE && c->ending != END_RST_EARLY && read < answers_below(c, c->n))
		return;
	c->closing = c->writing = true;
	at(w,
	   w->now + (c->ending != END_RST_EARLY ? rng_below(w, 3 * NS_PER_MS)
		     : c->n                     ? c->r[0].think
						: 0),
	   client_write, c, 0);
}

static void client_event(struct tcb *t, enum tcb_event e)
{
	struct conn *c = t->owner;

	switch (e) {
	case TCB_CONNECTED:
	case TCB_ACKED:
		client_next(t->w, c);
		break;
	case TCB_READABLE:
		tcb_read(t, tcb_readable(t));
		client_next(t->w, c);
		break;
	case TCB_EOF:
		c->online_closed = true;
		if (!t->fin_wanted)
			tcb_close(t);
		if (t->state == T_TIME_WAIT)
			client_over(t->w, c);
		break;
	case TCB_RESET:
	case TCB_CLOSED:
		client_over(t->w, c);
		break;
	}
}

static void client_send(struct tcb *t, const struct segment *g)
{
	link_send(t->w, &t->w->up, t->owner, g, NULL, 0);
}

void client_input(struct world *w, void *to, const struct segment *g, const uint8_t *ip, uint32_t ip_len)
{
	struct conn *c = to;

	(void)ip, (void)ip_len;
	trace_segment(w, "online", g, c->o.iss, c->c.iss);
	if (c->scans && g->flags & TCPF_SYN) {
		struct segment r = { .tuple = { c->client, w->online },
				     .time = w->now,
				     .seq = g->ack,
				     .flags = TCPF_RST,
				     .ttl = w->client_p.ttl,
				     .df = true };

		link_send(w, &w->up, c, &r, NULL, 0);
		for (int t = 0; t < TT_COUNT; t++)
			c->c.deadline[t] = 0;
	}
	if (c->mute)
		return;
	tcb_input(&c->c, g);
}

/* Somebody who does not see the server's ISN goes on with the handshake of @arg all the same. */
static void guess(struct world *w, void *arg, uint64_t n)
{
	struct conn *c = arg;
	struct segment g = {
		.tuple = { c->client, w->online },
		.time = w->now,
		.seq = c->c.iss + 1,
		.ack = (uint32_t)rng(w),
		.flags = TCPF_ACK | TCPF_PSH,
		.window = 1000,
		.ttl = w->client_p.ttl,
		.tos = w->client_p.tos,
		.flow_label = w->client_p.flow_label,
		.df = true,
	};

	if (rng_below(w, 4) == 0 && c->o.w) /* a lucky one, but for the place or the bytes before */
		g.ack = c->o.iss + 2 + (uint32_t)rng_below(w, 100000);
	g.len = g.captured = n % 2 ? MIN(100u, c->stream_len) : 0;
	g.opt.has_ts = w->client_p.ts;
	g.opt.tsval = stack_clock(w, &w->client_p);
	g.opt.tsecr = g.opt.has_ts ? (uint32_t)rng(w) : 0;
	online_input(w, c, &g, NULL, 0);
}

static void give_up(struct world *w, void *arg, uint64_t n)
{
	struct conn *c = arg;

	(void)n;
	for (int t = 0; t < TT_COUNT; t++)
		c->c.deadline[t] = 0;
	client_over(w, c);
}

void conn_start(struct world *w, struct conn *c)
{
	if (c->mute)
		at(w, w->now + rng_range(w, NS_PER_MS, 20 * NS_PER_SEC), give_up, c, 0);
	stranger_begin(w, c);
	for (unsigned i = 0; c->mute && !c->scans && w->copy.cfg.prove && i < 6; i++)
		at(w, w->now + rng_range(w, NS_PER_MS, NS_PER_SEC), guess, c, i);
	tcb_init(&c->c, w, &w->client_p, &c->client, &w->online, c->c.iss);
	c->c.owner = c;
	c->c.send = client_send;
	c->c.event = client_event;
	c->started = true;
	c->began_at = w->now;
	trace(w, "connection %u begins, ISS %u", c->index, c->c.iss);
	tcb_connect(&c->c);
}
