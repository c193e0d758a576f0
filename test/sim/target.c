/*
 * Simulator: the target - theory of operation
 *
 * A host with a TCP that is not ours (stack.c, or lwIP: lwip.c) and an application that knows the
 * scripts. It finds the connection that is being replicated by source and initial sequence number,
 * and so the place in the client's stream where the replica begins. It compares every byte it
 * reads, executes each request when it has all of it, and answers. It also judges the turns: a
 * request whose client had waited for an answer may not arrive before that answer was sent.
 */
#include "stack.h"

#include <assert.h>
#include <stdlib.h>

#include "packet/parse.h"

#define SLACK (50 * NS_PER_US)
#define ERROR_TEXT 20 /* bytes */

static struct conn *conn_of(struct world *w, const struct endpoint *source, uint32_t irs)
{
	const struct endpoint *peer = sources_client(w, source);

	for (unsigned i = 0; i < w->n_conns; i++) {
		struct conn *c = &w->conn[i];

		if (c->started && endpoint_eq(&c->client, peer) && irs - c->c.iss <= c->stream_len)
			return c;
	}
	fail(w, "the target got a SYN that no client can have sent: irs %u", irs);
}

struct served *served_new(struct target_host *h, const struct endpoint *peer, uint32_t irs)
{
	struct world *w = h->w;
	struct conn *c = conn_of(w, peer, irs);
	struct served *v = calloc(1, sizeof(*v));

	if (!v)
		abort();
	v->w = w;
	v->conn = c;
	v->target = h->index;
	v->lwip = h->lwip;
	v->base = irs - c->c.iss;
	v->link = h->all;
	h->all = v;
	while (v->next < c->n && c->r[v->next].start < v->base)
		v->next++;
	v->first = v->arriving = v->next;
	if (w->fair.capture_whole && w->fair.client_clean && w->fair.lockstep && v->base &&
	    (v->next == c->n || c->r[v->next].start != v->base))
		fail(w, "connection %u joined at %u, in the middle of a request", c->index, v->base);
	return v;
}

void served_connected(struct served *v)
{
	struct conn *c = v->conn;

	v->open = true;
	c->incarnations[v->target]++;
	if (!c->met[v->target]) {
		c->met[v->target] = true;
		c->base[v->target] = c->reached[v->target] = v->base;
	}
	trace(v->w, "target %u accepts connection %u at offset %u", v->target, c->index, v->base);
	if (!v->greeted && c->target_greeting && !v->base) {
		v->ans_written += c->target_greeting;
		served_write(v, c->target_greeting);
	}
	v->greeted = true;
	if (v->w->copy.target[v->target].slams) {
		served_close(v);
		v->open = false;
	}
}

/* Answer bytes that must be on the wire before request @k may come. */
static uint64_t answers_due(const struct served *v, unsigned k)
{
	const struct conn *c = v->conn;
	unsigned after = c->r[k].after;
	uint64_t sum = 0;

	if (!v->base)
		sum = after ? c->target_greeting : MIN(c->greeting, c->target_greeting);
	for (unsigned i = v->first; i < after; i++)
		sum += i + 1 < after ? c->r[i].target_answer : MIN(c->r[i].target_answer, c->r[i].answer);
	return sum;
}

/* Where nothing is in its way, a turn leaves when it was captured or when the answer before it has
 * come, whichever is later. */
static void judge_delay(const struct served *v, unsigned k)
{
	struct world *w = v->w;
	const struct copy *c = &w->copy;
	uint64_t answer = v->answered_at + c->to_assistant[v->target].delay + c->channel_delay;
	uint64_t due = MAX(v->conn->captured_at[k], answer) + c->batch + c->to_target[v->target].delay;

	if (w->fair.prompt && !v->lwip && k > v->first && w->now > due + SLACK)
		fail(w, "request %u of connection %u came %.3f ms late", k, v->conn->index,
		     (double)(w->now - due) / 1e6);
}

/* The stack has all bytes below stream offset @edge. */
static void judge_turns(struct served *v, uint64_t edge)
{
	struct world *w = v->w;
	const struct engine_counters *n = engine_counters(w->copy.e);
	struct conn *c = v->conn;

	for (; v->arriving < c->n && c->r[v->arriving].start < edge; v->arriving++) {
		uint64_t due = answers_due(v, v->arriving), sent = served_sent(v);

		judge_delay(v, v->arriving);
		if (sent >= due || due == v->early_due)
			continue;
		v->early_due = due; /* the others of this turn came with it */
		w->early++;
		trace(w, "EARLY: request %u of connection %u with %llu of %llu answer bytes sent",
		      v->arriving, c->index, (unsigned long long)sent, (unsigned long long)due);
		/* one that did not wait may take the next ones' answers with it */
		if (w->fair.no_early &&
		    !(n->released_on_pause + n->released_on_deadline + n->released_on_close))
			fail(w,
			     "request %u of connection %u came with %llu of %llu answer bytes sent, and no turn was"
			     " released on pause or deadline",
			     v->arriving, c->index, (unsigned long long)sent, (unsigned long long)due);
	}
}

static void serve(struct served *v);

static void answer(struct world *w, void *arg, uint64_t k)
{
	struct served *v = arg;
	const struct target_host *h = &w->copy.target[v->target];
	struct conn *c = v->conn;

	if (w->now >= h->stop_from && w->now < h->stop_to) {
		at(w, h->stop_to, answer, v, k);
		return;
	}
	v->serving = false;
	if (!v->open)
		return;
	trace(w, "target %u executed request %llu of connection %u", v->target, (unsigned long long)k,
	      c->index);
	if (++c->executed[v->target][k] > 1)
		fail(w, "request %llu of connection %u was executed twice", (unsigned long long)k, c->index);
	w->executed++;
	v->next++;
	if (rng_chance(w, h->crash)) {
		trace(w, "target %u resets connection %u", v->target, c->index);
		served_abort(v);
		return;
	}
	if (h->no_middle && (v->base || c->old)) {
		v->ans_written += ERROR_TEXT;
		served_write(v, ERROR_TEXT);
		served_close(v);
		v->open = false;
		return;
	}
	if (c->r[k].target_answer) {
		v->ans_written += c->r[k].target_answer;
		served_write(v, c->r[k].target_answer);
	}
	if (h->closes_after && v->next - v->first >= h->closes_after) {
		v->open = false;
		if (v->lwip)
			lwip_close_served(v);
		else
			tcb_close_both(&v->t);
		if (!v->lwip && v->t.state == T_CLOSED) /* there was something to read */
			served_gone(v);
		return;
	}
	if (v->next == c->n && c->ending == END_SERVER_FIN && h->closes) {
		served_close(v);
		v->open = false;
		return;
	}
	serve(v);
}

static void serve(struct served *v)
{
	struct conn *c = v->conn;

	if (v->serving || !v->open)
		return;
	if (v->next < c->n && v->base + v->read >= (uint64_t)c->r[v->next].start + c->r[v->next].size) {
		v->serving = true;
		at(v->w, v->w->now + c->r[v->next].target_service, answer, v, v->next);
	} else if (v->eof && !v->w->copy.target[v->target].stays) {
		served_close(v);
		v->open = false;
	}
}

/* The application has read @len bytes more. */
void served_data(struct served *v, const uint8_t *data, uint32_t len)
{
	struct conn *c = v->conn;
	uint32_t off = v->base + (uint32_t)v->read;

	if (off + len > c->stream_len || !content_equal(c, off, data, len))
		fail(v->w, "the target read wrong bytes in connection %u, offsets %u to %u", c->index, off,
		     off + len);
	if (c->multipath >= MULTIPATH_AGREED)
		fail(v->w, "the target has read bytes of a subflow, connection %u", c->index);
	if (c->has_limit && off + len > c->limit)
		fail(v->w, "connection %u: target %u has read up to %u, the online server took up to %u",
		     c->index, v->target, off + len, c->limit);
	v->read += len;
	c->reached[v->target] = MAX(c->reached[v->target], off + len);
	serve(v);
}

void served_eof(struct served *v)
{
	v->eof = true;
	serve(v);
}

void served_gone(struct served *v)
{
	v->open = false;
	v->closed = true;
}

void served_arrived(struct served *v, uint64_t bytes)
{
	judge_turns(v, v->base + bytes);
}

/* --- on our own stack ------------------------------------------------------------------------ */

static void read_some(struct world *w, void *arg, uint64_t n)
{
	struct served *v = arg;
	const struct target_host *h = &w->copy.target[v->target];
	struct tcb *t = &v->t;

	(void)n;
	v->reading = false;
	if (w->now >= h->stop_from && w->now < h->stop_to) {
		v->reading = true;
		at(w, h->stop_to, read_some, v, 0);
		return;
	}
	while (tcb_readable(t)) {
		uint32_t some = h->read_rate ? MIN(h->read_rate, tcb_readable(t)) : tcb_readable(t);
		const uint8_t *data = t->rx + (t->read_seq - t->irs - 1);

		tcb_read(t, some);
		served_data(v, data, some);
		if (h->read_rate) {
			v->reading = true;
			at(w, w->now + NS_PER_MS, read_some, v, 0);
			return;
		}
	}
	if (t->fin_taken && !v->eof)
		served_eof(v);
}

static void target_event(struct tcb *t, enum tcb_event e)
{
	struct served *v = t->owner;

	switch (e) {
	case TCB_CONNECTED:
		served_connected(v);
		break;
	case TCB_READABLE:
		served_arrived(v, t->rcv_nxt - t->irs - 1 - t->fin_taken);
		if (!v->reading)
			read_some(t->w, v, 0);
		break;
	case TCB_EOF:
		if (!v->reading)
			read_some(t->w, v, 0);
		break;
	case TCB_RESET:
		trace(t->w, "target %u: connection %u was reset", v->target, v->conn->index);
		served_gone(v);
		break;
	case TCB_CLOSED:
		served_gone(v);
		break;
	case TCB_ACKED:
		break;
	}
}

static void target_send(struct tcb *t, const struct segment *g)
{
	struct served *v = t->owner;

	if (g->len)
		v->answered_at = t->w->now;
	else if (g->flags & TCPF_SYN) /* the WATCH may come after it */
		v->answered_at = t->w->now + t->w->copy.channel_delay;
	target_output(&t->w->copy.target[v->target], g);
}

uint64_t served_sent(const struct served *v)
{
	if (v->lwip)
		return v->ans_written - v->pending;
	return v->t.snd_max - v->t.iss - 1 - (v->t.fin_wanted && v->t.snd_max == v->t.tx_end + 1);
}

void served_write(struct served *v, uint32_t n)
{
	if (v->lwip)
		lwip_write(v, n);
	else
		tcb_write(&v->t, n);
}

void served_close(struct served *v)
{
	if (v->lwip)
		lwip_close_served(v);
	else
		tcb_close(&v->t);
}

void served_abort(struct served *v)
{
	if (v->lwip)
		lwip_abort(v);
	else
		tcb_abort(&v->t);
	served_gone(v);
}

/* RFC 9293 3.10.7.1: nobody is there. */
static void answer_by_reset(struct target_host *h, const struct segment *g)
{
	struct segment r = { .tuple = { g->tuple.dst, g->tuple.src }, .time = h->w->now, .flags = TCPF_RST };

	if (g->flags & TCPF_RST)
		return;
	if (g->flags & TCPF_ACK) {
		r.seq = g->ack;
	} else {
		r.flags |= TCPF_ACK;
		r.ack = g->seq + segment_seq_len(g);
	}
	h->resets_sent++;
	trace(h->w, "target %u has no such connection: RST", h->index);
	target_output(h, &r);
}

static void drain_objections(struct target_host *h, struct tcb *t)
{
	h->bad.paws += t->bad.paws;
	h->bad.no_ts += t->bad.no_ts;
	h->bad.beyond_window += t->bad.beyond_window;
	h->bad.challenge += t->bad.challenge;
	h->bad.ack_beyond += t->bad.ack_beyond;
	h->bad.bad_rst += t->bad.bad_rst;
	h->bad.oversize += t->bad.oversize;
	h->bad.old += t->bad.old;
	t->bad = (struct objections){ 0 };
}

void target_input(struct target_host *h, const uint8_t *ip, uint32_t ip_len)
{
	struct world *w = h->w;
	struct served *v = h->all;
	enum parse_reason why;
	struct segment g;

	why = parse_ip(&g, ip, ip_len, ip_len, CHECKSUM_VERIFY);
	if (why != PARSE_OK)
		fail(w, "the target cannot parse a packet: reason %d", why);
	g.time = w->now;
	while (v && (!endpoint_eq(&v->t.peer, &g.tuple.src) || v->t.state == T_CLOSED))
		v = v->link;
	if (v && g.flags & TCPF_SYN && !(g.flags & TCPF_ACK) && v->t.state == T_TIME_WAIT &&
	    ((int32_t)(g.seq - v->t.rcv_nxt) > 0 ||
	     (v->t.ts_ok && g.opt.has_ts && (int32_t)(g.opt.tsval - v->t.ts_recent) > 0))) {
		v->t.state = T_CLOSED; /* RFC 6191 */
		served_gone(v);
		v = NULL;
	}
	trace_segment(w, "to target", &g, v ? v->t.irs : g.seq, v ? v->t.iss : 0);
	if (v) {
		tcb_input(&v->t, &g);
		drain_objections(h, &v->t);
	} else if ((g.flags & (TCPF_SYN | TCPF_ACK | TCPF_RST)) == TCPF_SYN && !h->refuses &&
		   w->now >= h->refuses_to) {
		v = served_new(h, &g.tuple.src, g.seq);
		tcb_init(&v->t, w, &h->p, &h->at, &g.tuple.src, w->day ? day_isn(w) : (uint32_t)rng(w));
		v->t.owner = v;
		v->t.send = target_send;
		v->t.event = target_event;
		tcb_accept(&v->t, &g);
	} else {
		answer_by_reset(h, &g);
	}
}

void target_free(struct target_host *h)
{
	while (h->all) {
		struct served *v = h->all;

		h->all = v->link;
		tcb_free(&v->t);
		free(v);
	}
}
