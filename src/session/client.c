/*
 * Session engine: what the client did - theory of operation
 *
 * engine_captured() takes every captured segment of a client, in whatever order and however often it was
 * captured. A SYN opens a session (its ISN tells a retransmission from a port used again). Data, FIN and
 * window of a known session go to its queue. A segment of an unknown connection belongs to one that is
 * older than the engine: the engine observes that connection until its next turn begins, and joins it
 * there with a synthetic SYN, because a request replicated from its middle would be worse than none.
 *
 * Nothing is sent from here; session_step() at the end sends whatever the new state allows.
 */
#include "packet/options.h"
#include "session/impl.h"
#include "session/memory.h"

#define NEAR (1u << 20) /* bytes; so far do segments of one stream lie apart */

/* Fields of the client's IP header that its replicated segments carry. */
static void take_ip_fields(struct session *s, const struct segment *g)
{
	s->ttl = g->ttl;
	s->tos = g->tos & 0xfc; /* ECN is not offered, so no packet may claim it (RFC 3168) */
	s->df = g->df;
	s->flow_label = g->flow_label;
}

static void begin_at(const struct engine *e, struct session *s, uint32_t iss)
{
	s->iss = iss;
	stream_init(&s->stream, iss + 1, (uint32_t)siphash(&e->cfg.key, &s->id, sizeof(s->id)));
	s->turn_start = iss;
	s->turn_end = iss + 1;
	s->snd_una = s->snd_nxt = iss;
}

/* End the session if its queue could not take what was captured. */
static bool queue_failed(struct engine *e, struct session *s, enum queue_result r, uint64_t now)
{
	if (r == QUEUE_FULL)
		session_end(e, s, OUTCOME_BUFFER_FULL, now);
	else if (r == QUEUE_NO_MEMORY)
		session_end(e, s, OUTCOME_NO_MEMORY, now);
	else
		return false;
	return true;
}

/* What @g brought is not replicated. */
void client_unjoined(struct engine *e, const struct segment *g, enum decline why)
{
	e->n.unjoined_bytes += g->captured;
	e->n.unjoined[why] += g->captured;
}

/*
 * Multipath TCP (RFC 8684): a subflow's bytes are not the application's. A connection's stream is spread over
 * its subflows, and parts of it come twice. So neither further subflows nor the first one is replicated. That
 * the client offers it says nothing yet: a server that does not know it ignores the option, and all goes on
 * as TCP. Then the client's first segment after the handshake has no such option.
 */
static bool joins_mptcp(struct engine *e, struct session *s, const struct segment *syn, enum decline *why,
			uint64_t now)
{
	if (!(syn->opt.mptcp & MPTCP_JOIN))
		return false;
	*why = DECLINE_MPTCP;
	session_declined(e, &s->key, *why, now);
	return true;
}

/* The server has taken @g. If it says that the connection is of Multipath TCP, that is the end of @s. */
static bool ended_by_mptcp(struct engine *e, struct session *s, const struct segment *g, uint64_t now)
{
	if (!g->opt.mptcp || !(s->client_mptcp || s->events & EV_JOINED))
		return false;
	client_unjoined(e, g, DECLINE_MPTCP);
	session_end(e, s, OUTCOME_MPTCP, now);
	return true;
}

static void open_by_syn(struct engine *e, struct session *s, const struct segment *g, uint64_t now)
{
	enum decline why;

	begin_at(e, s, g->seq);
	take_ip_fields(s, g);
	judge_begin(s, g, e->cfg.server_window);
	s->captured_last = g->time;
	s->has_turn_ack = false;
	if (joins_mptcp(e, s, g, &why, now) || !session_open(e, s, true, &why, now)) {
		client_unjoined(e, g, why);
		session_free(e, s); /* its first data may be joined, like that of any unknown connection */
		return;
	}
	e->n.sessions_opened++;
	s->from_start = true;
	s->ip_id = (uint16_t)(g->ip_id - 1);
	s->client_mss = g->opt.mss;
	s->client_ts = g->opt.has_ts;
	s->client_ws = g->opt.has_wscale;
	s->client_wscale = g->opt.wscale;
	s->client_sack = g->opt.has_sack_permitted;
	s->client_mptcp = g->opt.mptcp & MPTCP_CAPABLE;
	s->ts_emitted = g->opt.tsval;
	s->syn_window = g->window;
	s->client_window = (uint16_t)(g->window >> g->opt.wscale); /* as in all that follows a SYN */
	s->syn->len = tcp_options_syn_filter(s->syn->b, g->raw_options, g->raw_options_len, g->opt.tsval, 0);
	timer_set(e, s, TIMER_LIFE, now + HALF_OPEN_LIFE);
	s->syn_data = (uint16_t)g->len;
	if (g->captured) { /* TCP Fast Open: sent after the handshake, if the server says that it took it */
		struct segment data = *g;

		data.seq++;
		data.flags &= (uint8_t)~TCPF_SYN;
		data.ack = 0;
		data.window = s->client_window;
		if (e->cfg.prove)
			doubt_put(e, s, &data, REFUSAL_UNPROVED, now);
		else if (queue_failed(e, s, queue_put(e, s, &data), now))
			return;
		s->has_turn_ack = false; /* a SYN's ack says nothing */
	}
	proof_look_back(e, s, now);
	proof_begin(e, s, now);
}

/*
 * A SYN inside a connection changes nothing on the server, except where its socket has gone (RFC 5961 4.2):
 * that has to be known first. @again: it is. The SYN-ACK says so, too, if it was read before the SYN.
 */
static void client_syn(struct engine *e, struct session *s, const struct flow_key *k, const struct segment *g,
		       bool again, uint64_t now)
{
	struct session *pred = NULL;

	if (s && !session_observing(s)) {
		bool too_late = s->events & EV_ENDED && s->outcome == OUTCOME_HALF_OPEN;

		if (s->iss == g->seq && !(s->events & EV_JOINED) && !too_late) {
			e->n.duplicate_bytes += g->captured;
			if (!(s->events & (EV_CLIENT_ACKED | EV_ENDED)))
				timer_set(e, s, TIMER_LIFE, now + HALF_OPEN_LIFE);
			return; /* the client's retransmission: our SYN has its own timer */
		}
		if (!again && !(s->events & (EV_ENDED | EV_CLIENT_RST | EV_CUT)) &&
		    !proof_is_early(e, k, g, now)) {
			doubt_put(e, s, g, REFUSAL_SYN, now);
			return;
		}
		if ((s->events & EV_ESTABLISHED || s->stream.head) &&
		    !(s->events & (EV_ENDED | EV_CLIENT_FIN | EV_CLIENT_RST | EV_CUT))) {
			/* the server has reset it, or had not taken the SYN; what came before was executed */
			doubt_drop(e, s);
			hole_cut(e, s, OUTCOME_PORT_REUSED, false, now);
			session_step(e, s, now);
		}
		if (s->events & (EV_ENDED | EV_CLIENT_FIN | EV_CLIENT_RST | EV_CUT)) {
			pred = s;
			s = NULL;
		} else {
			session_end(e, s, OUTCOME_PORT_REUSED, now);
			s = flow_table_find(e->flows, k);
			if (s && !session_observing(s)) {
				pred = s;
				s = NULL;
			}
		}
	}
	if (pred)
		pred->port_reused = true;
	if (!s) {
		s = session_new(e, k, now);
		if (!s) {
			session_declined(e, k, DECLINE_MEMORY, now);
			client_unjoined(e, g, DECLINE_MEMORY);
			return;
		}
		s->pred = pred;
		if (pred)
			pred->succ = s;
	}
	open_by_syn(e, s, g, now);
}

/* False: declined and counted, for the reason in *@why; the connection is observed further. */
static bool join(struct engine *e, struct session *s, const struct segment *g, enum decline *why,
		 uint64_t now)
{
	uint16_t mss = addr_is_v4(&s->key.client.addr) ? 1460 : 1440;
	uint32_t old;

	if (!session_open(e, s, false, why, now))
		return false;
	session_event(e, s, EV_JOINED);
	session_event(e, s, EV_PROVED);
	exchange_joined(session_exchange(s));
	e->n.sessions_joined++;
	session_target(e, s)->spoken.joined[s->spoken.protocol]++;
	rejoin_begun(e, s, now);
	s->proved_at = g->time;
	begin_at(e, s, g->seq - 1);
	take_ip_fields(s, g);
	judge_begin(s, g, e->cfg.server_window);
	judge_taken(s, g);
	s->captured_last = g->time;
	s->turn_ack = g->ack; /* the ack of the join is turn zero */
	s->has_turn_ack = true;
	s->ip_id = (uint16_t)(g->ip_id - 2);
	s->client_mss = mss;
	s->client_ts = g->opt.has_ts;
	s->client_ws = s->client_sack = true;
	s->client_wscale = JOIN_WSCALE;
	s->ts_emitted = g->opt.tsval;
	s->syn_window = 64240;
	s->client_window = g->window;
	s->client_ack = g->ack;
	s->syn->len = tcp_options_syn_build(s->syn->b, mss, JOIN_WSCALE, true, g->opt.has_ts, g->opt.tsval);
	timer_set(e, s, TIMER_LIFE, now + IDLE_LIFE);
	unseen_begins(e, now);
	old = s->stream.nxt;
	if (queue_failed(e, s, queue_put(e, s, g), now))
		return true;
	hole_watch(e, s, old, now);
	session_start(e, s, now);
	return true;
}

/* Is @s not joined for what its client speaks? At the @turn at which it would be, that is settled. */
static bool not_joined(struct engine *e, struct session *s, const struct segment *g, bool turn, uint64_t now)
{
	if (s->not_joined || !turn || rejoin_makes_sense(e, s, g->payload, g->captured))
		return s->not_joined;
	s->not_joined = true;
	session_target(e, s)->spoken.not_joined[s->spoken.protocol]++;
	session_declined(e, &s->key, DECLINE_PROTOCOL, now);
	return true;
}

/*
 * A segment of a connection that has no session: is it the beginning of a turn? stream.nxt is where the
 * stream has come to: a segment below it was sent again, one above it follows bytes that were not captured,
 * and neither begins anything.
 */
void client_observe(struct engine *e, struct session *s, const struct segment *g, uint64_t now)
{
	uint64_t quiet_since;
	bool next, probe, turn;
	enum decline why = DECLINE_MIDDLE;

	if (g->flags & TCPF_RST || (g->flags & TCPF_FIN && !g->captured)) {
		client_unjoined(e, g, DECLINE_MIDDLE);
		/* who knows where the stream has come to is the client */
		if (!s->has_turn_ack || g->seq == s->stream.nxt)
			session_free(e, s);
		return;
	}
	if (!g->captured)
		return;
	if (g->opt.mptcp) {
		session_declined(e, &s->key, DECLINE_MPTCP, now);
		client_observed(e, s, g, DECLINE_MPTCP, now);
		return;
	}
	if (s->doubts && !s->joinable) { /* the question that decides is open, or waits for its turn */
		if (doubt_room(s)) {
			doubt_put(e, s, g, REFUSAL_UNPROVED, now);
			return;
		}
		doubt_pass(e, s, now); /* a session that began with them would have a hole behind them */
	}
	/* what is met for the first time was silent until now, unless there was no room to remember it */
	quiet_since = s->captured_last ? s->captured_last : MAX(e->started_at, e->forgotten_at);
	next = !s->has_turn_ack || g->seq == s->stream.nxt;
	/* a keep-alive of an old stack repeats a byte, and does not push it (RFC 1122 4.2.3.6) */
	probe = g->len == 1 && !(g->flags & (TCPF_PSH | TCPF_FIN));
	turn = next && !probe &&
	       ((s->has_turn_ack && seq_gt(g->ack, s->turn_ack)) || g->time >= quiet_since + JOIN_SILENCE);
	if (session_target(e, s)->join == ENGINE_JOIN_NONE && !s->rejoins) {
		why = DECLINE_OLD;
		if (!s->has_turn_ack)
			session_declined(e, &s->key, why, now);
	} else if (not_joined(e, s, g, turn, now)) {
		why = DECLINE_PROTOCOL;
	} else if (turn && now >= s->rejoin_after && g->captured == g->len && rejoin_may(e, s, &why, now)) {
		if (e->cfg.prove && !s->joinable) {
			doubt_put(e, s, g, REFUSAL_UNPROVED, now);
			return;
		}
		s->joinable = false;
		if (join(e, s, g, &why, now))
			return;
		s->joinable = e->cfg.prove; /* the socket was there: at the next turn it is not asked again */
	} else {
		session_declined(e, &s->key, why, now);
	}
	client_observed(e, s, g, why, now);
}

void client_observed(struct engine *e, struct session *s, const struct segment *g, enum decline why,
		     uint64_t now)
{
	bool far = s->has_turn_ack && g->seq - s->stream.nxt + NEAR > 2 * NEAR;

	client_unjoined(e, g, why);
	/* of two streams one is forged: the one that goes on is followed, or what comes after its silence */
	if (far && g->time < s->captured_last + JOIN_SILENCE)
		return;
	s->turn_ack = s->has_turn_ack && !far ? seq_max(s->turn_ack, g->ack) : g->ack;
	s->stream.nxt = s->has_turn_ack && !far ? seq_max(s->stream.nxt, g->seq + g->len) : g->seq + g->len;
	s->has_turn_ack = true;
	s->captured_last = g->time;
	/* behind a FIN nothing comes; who calls may still hold the session */
	timer_set(e, s, TIMER_LIFE, g->flags & TCPF_FIN ? now : now + rejoin_memory(s));
}

void client_syn_data(struct engine *e, struct session *s, const struct segment *g, uint64_t now)
{
	if (queue_failed(e, s, queue_put(e, s, g), now))
		return;
	s->has_turn_ack = false;
	session_step(e, s, now);
}

/* The client resets its connection, or made the server do so. */
static void client_rst(struct engine *e, struct session *s, const struct segment *g, uint64_t now)
{
	e->n.keepalive_bytes += g->captured;
	if (s->events & EV_CLIENT_RST)
		return;
	session_event(e, s, EV_CLIENT_RST);
	s->rst_at = g->time;
	if (g->flags & TCPF_ACK && s->has_turn_ack && session_read(s, g->ack) > 0)
		s->rst_expect = (uint64_t)session_read(s, g->ack);
	if (!(s->events & (EV_STARTED | EV_CLIENT_ACKED)) && !s->stream.head)
		session_end(e, s, OUTCOME_CLIENT_RESET, now);
}

/* Fields of any segment of a known connection. */
static void take_header(struct engine *e, struct session *s, const struct segment *g, uint64_t now)
{
	const bool begins = !(s->events & (EV_CLIENT_ACKED | EV_JOINED));

	s->captured_last = g->time;
	if (begins) {
		session_event(e, s, EV_CLIENT_ACKED);
		timer_set(e, s, TIMER_LIFE, g->time + IDLE_LIFE);
		unseen_begins(e, now);
	}
	if (!s->found_there && now >= session_target(e, s)->ask_at &&
	    (begins || (g->captured && seq_gt(g->ack, s->client_ack))))
		unseen_learn(e, s, now);
	if (!(g->flags & TCPF_ACK))
		return;
	if (!s->has_turn_ack) {
		s->turn_ack = g->ack;
		s->has_turn_ack = true;
		s->client_ack = g->ack;
	}
	if (seq_ge(g->ack, s->client_ack)) {
		if (g->ack != s->client_ack)
			turn_client_reads(s, g->time);
		s->client_read += g->ack - s->client_ack;
		s->client_ack = g->ack;
		s->client_window = g->window;
		take_ip_fields(s, g);
	}
}

void client_taken(struct engine *e, struct session *s, const struct segment *g, uint64_t now)
{
	uint32_t old = s->stream.nxt;

	if (g->flags & TCPF_SYN) {
		const struct flow_key key = s->key; /* the session may go */
		/* if another SYN came first, this one is inside that one's connection */
		struct session *newest = flow_table_find(e->flows, &key);

		client_syn(e, newest, &key, g, newest == s, now);
		return;
	}
	if (g->flags & TCPF_RST) {
		client_rst(e, s, g, now);
		session_step(e, s, now);
		return;
	}
	if (ended_by_mptcp(e, s, g, now))
		return;
	if (s->found_gone)
		unseen_goes_on(e, s, g);
	judge_taken(s, g);
	take_header(e, s, g, now);
	if (g->captured || g->flags & TCPF_FIN) {
		if (queue_failed(e, s, queue_put(e, s, g), now))
			return;
		hole_watch(e, s, old, now);
	}
	/*
	 * Nothing older waits to be sent: the client's clock is followed. A connection that only
	 * acknowledges or is kept alive would fall behind it, after 24.9 days by more than half of what a
	 * timestamp can tell.
	 */
	if (g->opt.has_ts && !s->next && !session_has_hole(s))
		s->ts_emitted = ts_max(s->ts_emitted, g->opt.tsval);
	session_step(e, s, now);
}

/*
 * All of @g was there. The client's clock is followed also by its keep-alives, one below RCV.NXT (RFC 9293
 * 3.8.4): a connection that is only kept alive would fall behind it.
 */
static void client_old(struct session *s, const struct segment *g)
{
	s->captured_last = g->time;
	if (g->seq == s->stream.nxt - 1 && g->opt.has_ts && !s->next && !session_has_hole(s))
		s->ts_emitted = ts_max(s->ts_emitted, g->opt.tsval);
}

void client_segment(struct engine *e, struct session *s, const struct segment *g, uint64_t now)
{
	enum refusal why;

	if (s->events & EV_ENDED) {
		e->n.keepalive_bytes += g->captured;
		return;
	}
	/* and nobody observes the connection: there was no room, or silence for long */
	if (s->events & EV_CUT || s->port_reused) {
		session_declined(e, &s->key, DECLINE_MIDDLE, now);
		client_unjoined(e, g, DECLINE_MIDDLE);
		return;
	}
	if (s->server_reset_at && g->time > s->server_reset_at) {
		refuse_segment(e, g, REFUSAL_RESET);
		return;
	}
	if (proof_needed(e, s) && !(g->flags & TCPF_RST)) {
		enum proof proof = proof_of_segment(s, g);

		if (!(g->flags & TCPF_ACK))
			refuse_segment(e, g, REFUSAL_NO_ACK);
		else if (proof == PROOF_FALSE)
			refuse_segment(e, g, REFUSAL_ACK);
		else if (proof == PROOF_UNKNOWN)
			doubt_put(e, s, g, REFUSAL_UNPROVED, now);
		if (proof != PROOF_GIVEN || !(g->flags & TCPF_ACK))
			return;
		proof_found(e, s, g->time, now);
		if (s->doubts && !doubt_proved(e, s, now)) {
			client_unjoined(e, g, DECLINE_MIDDLE);
			return;
		}
	}
	if (!doubt_room(s) && !doubt_make_room(e, s, now)) {
		client_unjoined(e, g, DECLINE_MIDDLE);
		return;
	}
	switch (judge_segment(s, g, &why)) {
	case VERDICT_TAKEN:
		client_taken(e, s, g, now);
		if (s->doubts)
			doubt_check(e, s, now);
		break;
	case VERDICT_OLD:
		e->n.duplicate_bytes += g->captured;
		client_old(s, g);
		session_step(e, s, now);
		break;
	case VERDICT_ABORT:
		client_rst(e, s, g, now);
		session_step(e, s, now);
		break;
	case VERDICT_DOUBTFUL:
		doubt_put(e, s, g, why, now);
		break;
	case VERDICT_REFUSED:
		refuse_segment(e, g, why);
		break;
	}
}

void engine_captured(struct engine *e, const struct flow_key *k, const struct segment *g, uint64_t now)
{
	struct session *s;
	bool full;

	e->trim_at = MIN(e->trim_at, now + TRIM_PERIOD);
	memory_make_room(e, g->captured, now);
	s = flow_table_find(e->flows, k);
	e->n.captured_segments++;
	e->n.captured_data += g->len != 0;
	e->n.captured_bytes += g->len;
	e->n.truncated_bytes += g->len - g->captured;
	if (g->flags & TCPF_SYN) {
		if (g->flags & TCPF_ACK)
			e->n.keepalive_bytes += g->captured; /* not a client's */
		else
			client_syn(e, s, k, g, false, now);
		return;
	}
	if (s && !session_observing(s)) {
		client_segment(e, s, g, now);
		return;
	}
	if (!s) {
		if (!g->captured)
			return; /* nothing to replicate yet, and nothing to remember */
		full = e->observed >= e->cfg.max_observed;
		s = full ? NULL : session_new(e, k, now);
		if (!s) {
			enum decline why = full ? DECLINE_OBSERVED : DECLINE_MEMORY;

			e->forgotten_at = now;
			session_declined(e, k, why, now);
			client_unjoined(e, g, why);
			return;
		}
	}
	client_observe(e, s, g, now);
}
