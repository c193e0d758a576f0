/*
 * Session engine: what the online server's TCP makes of a segment - theory of operation
 *
 * The target shall execute what the online server took, not what somebody sent to it. So every captured
 * segment of a known connection is judged as the server's TCP judges it (RFC 9293 3.10.7.4, RFC 5961, RFC
 * 7323), from what capture and the client's own acknowledgments tell:
 *
 *   RCV.NXT     stream.nxt: what was captured in order. The server may be ahead, where capture has a hole.
 *   window      at most judge.window bytes: the largest that the server can have offered.
 *   SND.UNA     client_ack: the highest acknowledgment of the client.
 *   SND.NXT     at most judge.edge: the server cannot have sent beyond a window that the client offered.
 *   TS.Recent   judge.ts_recent: TSval of the newest segment that lay at or below RCV.NXT (RFC 7323 4.3).
 *
 * The verdict: taken, as nearly always. Old: all of it has come before. Abort: the server resets the
 * connection. Refused: no server takes it. Doubtful: the server refused it if it saw what we saw, but it
 * may have seen more, or in another order; then its socket decides, see doubt.c.
 */
#include "session/impl.h"

#define ACK_LEAP (128u << 10)                   /* a client acknowledges more often than that; bytes */
#define PAWS_IDLE (24 * 24 * 3600 * NS_PER_SEC) /* RFC 7323 5.5: TS.Recent is no longer valid */

const char *refusal_name(enum refusal r)
{
	static const char *const name[] = {
#define X(id, name, text) #name,
		REFUSALS(X)
#undef X
	};

	return name[r];
}

void judge_begin(struct session *s, const struct segment *first, uint32_t window)
{
	s->judge = (struct judge){ .window = window, .has_auth = first->opt.has_auth };
	if (first->opt.has_ts) {
		s->judge.ts_recent = first->opt.tsval;
		s->judge.ts_recent_at = first->time;
		s->judge.has_ts = true;
	}
}

/* Is its TSval older than what the server has seen (RFC 7323 5.3 R1)? Linux allows for one tick. */
static bool paws_refuses(const struct judge *j, const struct segment *g)
{
	return j->has_ts && g->opt.has_ts && !(g->flags & TCPF_SYN) &&
	       (int32_t)(j->ts_recent - g->opt.tsval) > 1 && g->time < j->ts_recent_at + PAWS_IDLE;
}

/*
 * RFC 5961 5.2, as Linux has it: an acknowledgment below SND.UNA is accepted as long as it lies within the
 * largest window that the client has offered, and not before the first.
 */
static bool ack_too_old(const struct session *s, uint32_t ack)
{
	uint32_t most = (uint32_t)MIN(s->judge.max_window, s->client_read);

	return seq_lt(ack, s->client_ack - most);
}

/*
 * The server cannot have sent beyond what the client has offered. Behind what capture has lost, offers may
 * be among it.
 */
static bool ack_too_new(const struct session *s, const struct segment *g)
{
	return seq_gt(g->ack, s->judge.edge + (seq_gt(g->seq, s->stream.nxt) ? ACK_LEAP : 0));
}

/*
 * RFC 5961 3.2, with Linux's two extensions: the highest edge that the server has SACKed, and one below
 * RCV.NXT after a FIN, which is what an orphaned socket sends.
 */
bool judge_rst_is_exact(const struct session *s, uint32_t seq)
{
	return seq == s->stream.nxt || (s->events & EV_CLIENT_FIN && seq == s->stream.nxt - 1) ||
	       (session_has_hole(s) && s->client_sack && !s->judge.no_sack &&
		seq == stream_run_end(s->stream.last));
}

enum verdict judge_segment(const struct session *s, const struct segment *g, enum refusal *why)
{
	uint32_t end = g->seq + segment_seq_len(g);

	/* refused before TCP looks at anything else, where the kernel has what refuses it */
	*why = REFUSAL_OPTION;
	if (g->odd_ip_option || g->opt.has_auth != s->judge.has_auth)
		return VERDICT_DOUBTFUL;
	if (g->flags & TCPF_RST) {
		*why = REFUSAL_RST;
		if (judge_rst_is_exact(s, g->seq))
			return VERDICT_TAKEN;
		return g->seq - s->stream.nxt < BELIEVE_WITHIN ? VERDICT_DOUBTFUL : VERDICT_REFUSED;
	}
	*why = REFUSAL_NO_ACK;
	if (!(g->flags & TCPF_ACK))
		return VERDICT_REFUSED;
	/* what it brings is there, and the server does not look at the rest of it */
	if (seq_lt(end, s->stream.nxt))
		return VERDICT_OLD;
	*why = REFUSAL_SEQUENCE;
	if (seq_gt(g->seq, s->stream.nxt + BELIEVE_WITHIN))
		return VERDICT_REFUSED;
	/* where capture has lost something, the server is ahead of us, and its window with it */
	if (seq_gt(end,
		   (session_has_hole(s) ? stream_run_end(s->stream.last) : s->stream.nxt) + s->judge.window))
		return VERDICT_DOUBTFUL;
	*why = REFUSAL_PAWS;
	if (paws_refuses(&s->judge, g))
		return VERDICT_DOUBTFUL;
	*why = REFUSAL_ACK;
	/* a leap is looked at where it brings something: of bare ACKs capture may have lost a few */
	if (s->judge.acked && (ack_too_old(s, g->ack) || ack_too_new(s, g) ||
			       (end != g->seq && seq_gt(g->ack, s->client_ack + ACK_LEAP))))
		return VERDICT_DOUBTFUL;
	/* more data where the client's FIN had been: RFC 1122 4.2.2.13, tcp_rcv_state_process() */
	if (s->stream.fin && seq_lt(g->seq, s->stream.nxt) && seq_gt(g->seq + g->len, s->stream.nxt))
		return VERDICT_ABORT;
	return VERDICT_TAKEN;
}

void judge_taken(struct session *s, const struct segment *g)
{
	struct judge *j = &s->judge;
	/* a joined client's scale is not known: no server refuses for the sake of a window that is larger */
	uint32_t window = (uint32_t)g->window << (s->events & EV_JOINED ? 14
						  : s->client_ws        ? s->client_wscale
									: 0);

	if (!j->acked) {
		j->first_ack = j->edge = g->ack;
		j->acked = true;
	}
	j->max_window = MAX(j->max_window, window);
	if (seq_gt(g->ack + window, j->edge))
		j->edge = g->ack + window;
	/*
	 * the server took it, so an older one is that of a connection that was idle for 24 days, or one
	 * tick late
	 */
	if (g->opt.has_ts && seq_le(g->seq, s->stream.nxt) && j->ts_recent - g->opt.tsval != 1) {
		j->ts_recent = g->opt.tsval;
		j->ts_recent_at = g->time;
	}
}
