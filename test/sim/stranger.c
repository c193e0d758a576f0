/*
 * Simulator: somebody else - theory of operation
 *
 * Whoever can send packets with a client's address can claim to be it. Here one does who knows the connection
 * well: he hits the server's RCV.NXT, but has one field wrong, for which the server's TCP refuses the segment
 * (stack_input.c, RFC 9293 3.10.7.4, RFC 5961, RFC 7323), or its kernel before that. His bytes are not the
 * client's. So the target that gets any of them, or a session that ends or waits because of them, has been
 * given what the online server did not take. And he sends RSTs to the client in the server's name.
 */
#include "referee.h"
#include "stack.h"

#define LONGEST 1000u
#define LEAP (1u << 18) /* bytes; of a smaller one it is not known that it is one */

/* The client's next segment, but with foreign bytes. */
static struct segment likely(struct world *w, const struct conn *c, uint32_t len)
{
	static uint8_t bytes[LONGEST];
	struct segment g = {
		.tuple = { c->client, w->online },
		.time = w->now,
		.seq = c->o.rcv_nxt,
		.ack = c->c.rcv_nxt,
		.len = len,
		.captured = len,
		.payload = bytes,
		.flags = TCPF_ACK | TCPF_PSH,
		.window = 1000,
		.ttl = w->client_p.ttl,
		.df = true,
	};

	content_fill(c, g.seq - c->c.iss - 1, bytes, len);
	for (uint32_t i = 0; i < len; i++)
		bytes[i] ^= 0x55;
	g.opt.has_ts = c->o.ts_ok;
	if (g.opt.has_ts) {
		g.opt.tsval = stack_clock(w, &w->client_p);
		g.opt.tsecr = c->c.ts_recent;
	}
	return g;
}

/*
 * Is the place all that tells who the client of @c is? So it is where a session has begun in mid-stream, for
 * the server's count of bytes has no known beginning, and where there is none.
 */
static bool place_tells(const struct world *w, const struct conn *c)
{
	unsigned live = 0;

	for (const struct replica *r = w->copy.replica; r->used; r++) {
		if (r->conn == c && r->joined)
			return true;
		live += r->conn == c && !r->over;
	}
	return c->old || live < w->copy.n_targets;
}

/* One field of @g is wrong. False: not in this connection. *@kernel: TCP does not see the segment. */
static bool spoil(struct world *w, const struct conn *c, struct segment *g, bool *kernel)
{
	const struct tcb *o = &c->o;
	const bool blind = place_tells(w, c); /* he must not hit it, or he is believed */

	*kernel = false;
	if (c->elsewhere) { /* it is refused, but a socket that is not here cannot say that */
		g->flags = TCPF_RST;
		g->len = g->captured = 0;
		g->seq += 1 + (uint32_t)rng_below(w, 1u << 16);
		return !o->n_ooo && !unseen_enough(w);
	}
	if (blind)
		g->seq += (1u << 30) + (1u << 17) + (uint32_t)rng_below(w, 1u << 28);
	switch (rng_below(w, 13)) {
	case 0:
		g->flags = TCPF_PSH;
		return true;
	case 1: /* what the server has not sent, and what the client has no room for */
		g->ack = seq_max(o->snd_max, c->c.adv_edge) + (1u << 20) + (uint32_t)rng_below(w, 1u << 28);
		return true;
	case 2:
		g->ack = o->snd_una - o->max_wnd - 1 - (uint32_t)rng_below(w, 1u << 20);
		return seq_lt(g->ack, o->iss - (1u << 16));
	case 3:
		g->opt.tsval = o->ts_recent - 2 - (uint32_t)rng_below(w, 100000);
		return o->ts_ok && w->now < o->ts_recent_at + TS_AGE / 2;
	case 4:
		g->flags = TCPF_RST;
		g->len = g->captured = 0;
		g->seq += 1 + (uint32_t)rng_below(w, 1u << 16);
		return !o->n_ooo && !blind;
	case 5:
		g->flags = TCPF_RST | TCPF_ACK;
		g->len = g->captured = 0;
		g->seq -= 1 + (uint32_t)rng_below(w, 1u << rng_below(w, 30));
		return !blind;
	case 6:
		g->flags = TCPF_SYN;
		g->len = g->captured = 0;
		g->seq += (uint32_t)rng_below(w, 1u << rng_below(w, 32));
		/* of an older one it would be a new connection, and so it is where that has gone meanwhile */
		return g->seq != c->c.iss && !blind && w->copy.cfg.prove;
	case 7:
		g->opt.has_auth = true;
		*kernel = true;
		return true;
	case 8:
		g->odd_ip_option = true;
		*kernel = true;
		return true;
	case 9:
		g->seq = o->adv_edge + (1u << 30) + (uint32_t)rng_below(w, 1u << 29);
		return true;
	case 10: /* what the client has room for, but the server has not sent that much */
		g->ack = o->snd_max + LEAP + (uint32_t)rng_below(w, 1u << 20);
		return g->len && seq_lt(g->ack, c->c.adv_edge);
	case 11:
		g->seq = o->adv_edge + w->copy.cfg.server_window + (uint32_t)rng_below(w, 1u << 30);
		return true;
	default: /* of what has come */
		g->seq -= g->len + 1 + (uint32_t)rng_below(w, 1u << rng_below(w, 20));
		return !blind;
	}
}

static void to_server(struct world *w, struct conn *c)
{
	struct segment g = likely(w, c, rng_below(w, 4) ? (uint32_t)rng_range(w, 1, LONGEST) : 0);
	const uint32_t before = c->o.rcv_nxt;
	const enum tcb_state state = c->o.state;
	bool kernel;

	if (!spoil(w, c, &g, &kernel))
		return;
	trace_segment(w, "stranger", &g, c->c.iss, c->o.iss);
	copy_foreign(w, &g);
	if (!kernel)
		tcb_input(&c->o, &g);
	if (c->o.rcv_nxt != before || c->o.state != state || c->o.n_ooo > 32)
		fail(w, "the simulator's own online server took a stranger's segment");
}

/* An RST in the server's name that its client does not take. Of an older one the window is not known. */
static void to_client(struct world *w, struct conn *c)
{
	struct segment g = { .tuple = { w->online, c->client }, .time = w->now, .flags = TCPF_RST };
	const uint32_t far = 1 + (uint32_t)rng_below(w, 1u << 20);

	g.seq = place_tells(w, c) || rng_below(w, 2) ? c->o.snd_una - far : c->c.adv_edge + (1u << 28) + far;
	copy_server(w, &g);
}

/* Before the handshake is complete: the ISN is guessed, the echo or the place is wrong. */
static void too_soon(struct world *w, struct conn *c)
{
	struct segment g = likely(w, c, rng_below(w, 3) ? 100 : 0);
	/* when the client's own comes: had it come, the socket could not tell which of them was taken */
	const uint64_t own = c->began_at + 2 * w->up.delay + w->down.delay;

	g.ack = c->o.iss + 1;
	g.opt.has_ts = c->o.ts_ok;
	if (g.opt.has_ts)
		g.opt.tsecr = stack_clock(w, &w->online_p);
	switch (rng_below(w, 4)) {
	case 0:
		g.ack += 1 + (uint32_t)rng_below(w, 9000);
		break;
	case 1:
		g.ack = (uint32_t)rng(w);
		break;
	case 2:
		g.seq += c->o.p->rcvbuf + (uint32_t)rng_below(w, 1u << 20);
		if (w->now + 20 * NS_PER_MS > own)
			return;
		break;
	default:
		g.opt.tsecr += 1000 + (uint32_t)rng_below(w, 1u << 20);
		if (!g.opt.has_ts || w->now + 20 * NS_PER_MS > own)
			return;
		break;
	}
	trace_segment(w, "stranger", &g, c->c.iss, c->o.iss);
	copy_foreign(w, &g);
}

static void stranger(struct world *w, void *arg, uint64_t n)
{
	struct conn *c = arg;
	/* the client says more: of an end that nobody hears of, his RST may have been the reason */
	const bool goes_on = c->c.state == T_ESTABLISHED && c->o.state == T_ESTABLISHED &&
			     (c->sent < c->n || c->ending == END_OPEN) && !c->ended;

	if (!n || c->ended)
		return;
	at(w, w->now + rng_range(w, NS_PER_MS, 200 * NS_PER_MS), stranger, c, n - 1);
	if (goes_on && w->copy.cfg.prove && rng_below(w, 8) == 0)
		to_client(w, c);
	else if (goes_on)
		to_server(w, c);
	else if (c->o.w && c->o.state == T_SYN_RCVD && w->copy.cfg.prove && n % 4 == 0)
		too_soon(w, c);
}

void stranger_begin(struct world *w, struct conn *c)
{
	if (c->strangers)
		at(w, w->now + w->up.delay + rng_below(w, 2 * w->down.delay + NS_PER_MS), stranger, c,
		   c->strangers);
}
