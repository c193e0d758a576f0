/*
 * From a captured segment to a RESPONSE record, and from two records to one.
 *
 * When tcpcopy reads more slowly than responses come, intercept keeps one record for a session and
 * folds newer ones into it. What a session engine takes from responses is cumulative (the edge seq
 * + len, the newest ack, window, TSval and SACK blocks, how many duplicate ACKs), so a merged
 * record tells it the same as the single ones told later. What is an event by itself (SYN, FIN,
 * RST) is never merged. The rules are those of doc/PROTOCOL.md, "Merging".
 */
#include "packet/response.h"

#include <string.h>

#include "base/util.h"
#include "packet/seq.h"

#define EVENTS (TCPF_SYN | TCPF_FIN | TCPF_RST)
#define MAX_SPAN                                                                                             \
	(1u << 30) /* of sequence space in one record: the receiver believes nothing farther away  \
		    */

/* The newer @b acknowledges nothing new and carries no data (RFC 5681 2; with SACK the window may
 * differ, RFC 6675 2). */
static bool is_duplicate_ack(const struct response *a, const struct response *b)
{
	return (a->flags & b->flags & TCPF_ACK) && !b->len && a->ack == b->ack &&
	       (a->window == b->window || b->opt.n_sack);
}

static void merge_ack(struct response *a, const struct response *b)
{
	if (!(b->flags & TCPF_ACK))
		return;
	if ((a->flags & TCPF_ACK) && seq_lt(b->ack, a->ack))
		return; /* reordered on its way: what it says of the window and SACK is old */
	if ((a->flags & TCPF_ACK) && a->ack == b->ack)
		a->dup_acks = (uint8_t)MIN(255, a->dup_acks + b->dup_acks + is_duplicate_ack(a, b));
	else
		a->dup_acks = b->dup_acks; /* those of an older ack mean nothing any more */
	a->ack = b->ack;
	a->window = b->window;
	a->opt.n_sack = b->opt.n_sack;
	memcpy(a->opt.sack, b->opt.sack, sizeof(a->opt.sack));
}

bool response_merge(struct response *a, const struct response *b)
{
	uint32_t first, edge;

	if (a->id != b->id || ((a->flags | b->flags) & EVENTS))
		return false;
	if (a->len > MAX_SPAN || b->len > MAX_SPAN || seq_gt(a->seq, b->seq + MAX_SPAN) ||
	    seq_gt(b->seq, a->seq + MAX_SPAN))
		return false;
	first = seq_min(a->seq, b->seq);
	edge = seq_max(a->seq + a->len, b->seq + b->len);
	if (edge - first > MAX_SPAN || a->merged + b->merged + 1 > UINT16_MAX)
		return false;
	if (a->seq != first || a->ack != b->ack)
		a->n_first = 0; /* of a part, or of an answer that may not be the newest */
	merge_ack(a, b);
	a->seq = first;
	a->len = edge - first;
	a->flags = (a->flags | b->flags) & (TCPF_ACK | TCPF_PSH | TCPF_ECE);
	a->merged = (uint16_t)(a->merged + b->merged + 1);
	if (b->opt.has_ts && (!a->opt.has_ts || !ts_lt(b->opt.tsval, a->opt.tsval))) {
		a->opt.has_ts = true;
		a->opt.tsval = b->opt.tsval;
		a->opt.tsecr = b->opt.tsecr;
	}
	return true;
}

struct response response_from_segment(uint64_t id, const struct segment *s)
{
	struct response r = {
		.id = id,
		.seq = s->seq,
		.ack = s->ack,
		.len = s->len,
		.window = s->window,
		.flags = s->flags,
		.opt = s->opt,
	};

	r.n_first = (uint8_t)MIN(MIN(s->captured, s->len), sizeof(r.first));
	if (r.n_first)
		memcpy(r.first, s->payload, r.n_first);
	/* What a segment without SYN says of these is void (RFC 9293 3.2, RFC 7323 2.2, RFC 2018
	 * 2), and the rest is not carried. */
	if (!(s->flags & TCPF_SYN)) {
		r.opt.mss = 0;
		r.opt.has_wscale = r.opt.has_sack_permitted = false;
	}
	if (!r.opt.has_wscale)
		r.opt.wscale = 0;
	r.opt.mptcp = 0;
	r.opt.has_tfo = r.opt.has_mptcp = r.opt.has_unknown = false;
	return r;
}
