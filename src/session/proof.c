/*
 * Session engine: proof that the online server has a connection - theory of operation
 *
 * Whoever can send packets can claim a connection. So nobody's handshake is completed at the target, and
 * nobody is joined in mid-stream, on a word alone; an ACK proves nothing, because who cannot see the
 * server's ISN can send one. Proof is either of:
 *
 *   the client acknowledges the server's ISN      the SYN-ACK, captured on its way out, tells the ISN
 *                                                 (engine_server()), and also what was agreed. The server
 *                                                 has to take the segment that says so
 *   the server has the socket, established        it is asked (question.c)
 *
 * Until then what the client sends is put aside (doubt.c). Our SYN leaves with the client's, so that the
 * target's SYN-ACK is there when the proof is, but it is not acknowledged: the target's application hears
 * of nobody whom the online server's did not hear of. A flood of SYNs must not stand in the target's queue
 * either: when EAGER_MOST handshakes of a target are unproved, further SYNs wait for their proof.
 *
 * The two directions are captured by different sockets, so a SYN-ACK can be read before the SYN that it
 * answers: it is remembered for a while.
 *
 * Data in a SYN waits for the SYN-ACK, which says whether the server took it.
 *
 * The handshake of a joined connection was not seen, so only the server's socket proves the connection. A
 * segment of it is proved if that socket had received something when the segment came. "No socket" means
 * something only for an online endpoint that was found to have some (unseen.c). Sometimes nothing can be
 * known: on a mirror port of one direction, or after capture has lost the SYN-ACK of a server that cannot
 * be asked. There the configuration says whether the claim is believed.
 *
 * Without engine_config.prove, for traffic that was recorded, all of this counts as proved from the start.
 */
#include "session/impl.h"

/* So long is a SYN-ACK remembered whose SYN has not come: capture may lag behind it. */
#define EARLY_LIFE (10 * NS_PER_SEC)
#define EAGER_MOST 64 /* unproved handshakes with one target; a flood of SYNs has more */

/* The target's SYN-ACK may be acknowledged: by what the client sends next, or soon. */
static void acknowledge_handshake(struct engine *e, struct session *s, uint64_t now)
{
	if (session_target(e, s)->client_first)
		timer_set(e, s, TIMER_ACK, now + ACK_DELAY_SHORT); /* its data mostly carries the ACK */
	else
		s->ack_now = true; /* the target's application may wait for it */
}

void proof_handshake(struct engine *e, struct session *s, uint64_t now)
{
	if (!proof_needed(e, s))
		acknowledge_handshake(e, s, now);
}

void proof_begin(struct engine *e, struct session *s, uint64_t now)
{
	struct target *t = session_target(e, s);

	if (!e->cfg.prove) {
		session_event(e, s, EV_PROVED);
	} else if (t->unproved > EAGER_MOST) { /* this one is among them */
		s->waits_for_proof = true;
		return;
	}
	session_start(e, s, now);
}

void proof_found(struct engine *e, struct session *s, uint64_t at, uint64_t now)
{
	session_event(e, s, EV_PROVED);
	s->proved_at = at;
	session_target(e, s)->proofs.found++;
	if (s->waits_for_proof) {
		s->waits_for_proof = false;
		session_start(e, s, now);
	} else if (s->events & EV_ESTABLISHED) {
		acknowledge_handshake(e, s, now);
	}
}

bool proof_by_state(const struct online_answer *a)
{
	return a->word == ONLINE_THERE && a->tcp_state != ONLINE_SYN_SENT && a->tcp_state != ONLINE_SYN_RECV;
}

/* Linux wants the TSval of its SYN-ACK, or of one of its retransmissions, back (tcp_check_req()). */
static bool echo_is_false(const struct session *s, const struct segment *g)
{
	return s->judge.has_ts && g->opt.has_ts && g->opt.tsecr &&
	       (seq_lt(g->opt.tsecr, s->server_ts[0]) || seq_gt(g->opt.tsecr, s->server_ts[1]));
}

/* The ISN alone completes nothing: the server has to take the segment. */
enum proof proof_of_segment(const struct session *s, const struct segment *g)
{
	uint32_t beyond = g->ack - (s->server_irs + 1);
	enum refusal why;

	if (!(g->flags & TCPF_ACK))
		return PROOF_FALSE;
	if (!s->has_server_irs)
		return PROOF_UNKNOWN;
	/* more than the ISN: the ACK before was lost to capture, perhaps; or it was guessed */
	if (beyond)
		return beyond < BELIEVE_WITHIN ? PROOF_UNKNOWN : PROOF_FALSE;
	return g->seq == s->iss + 1 && !echo_is_false(s, g) && judge_segment(s, g, &why) == VERDICT_TAKEN
		       ? PROOF_GIVEN
		       : PROOF_UNKNOWN;
}

bool proof_is_undone(const struct session *s, const struct segment *g)
{
	return s->has_server_irs && g->ack != s->server_irs + 1 && g->time <= s->proved_at;
}

/* The server accepts what the client's SYN asked for, with the ISN and the options in @r. */
static void accepted(struct engine *e, struct session *s, const struct early_reply *r, uint64_t now)
{
	if (!s->has_server_irs || s->server_irs != r->seq)
		s->server_ts[0] = r->tsval;
	s->server_ts[1] = r->tsval;
	s->server_irs = r->seq;
	s->has_server_irs = true;
	s->syn_data_taken = r->ack != s->iss + 1;
	/* and until the client says more, the server may send what the window of its SYN has room for */
	s->client_ack = s->judge.first_ack = r->seq + 1;
	s->judge.max_window = s->syn_window;
	s->judge.edge = r->seq + 1 + s->syn_window;
	s->judge.acked = true;
	/* what was agreed is what both have offered (RFC 7323 2.2, 3.2; RFC 2018 2) */
	s->client_mptcp = s->client_mptcp && r->has_mptcp;
	if (!r->has_ts)
		s->judge.has_ts = false;
	s->judge.no_sack = !r->has_sack;
	s->judge.window = MIN(s->judge.window, r->has_wscale && s->client_ws ? 65535u << r->wscale : 65535u);
	if (s->doubts)
		doubt_server_spoke(e, s, now);
}

/*
 * The set in which the reply about @k may stand. Its ack is part of the hash: a client in a hurry has
 * several connections by one port within the time that capture lags.
 */
static struct early_set *early_set(const struct engine *e, const struct flow_key *k, uint32_t ack)
{
	const struct {
		struct endpoint client, online;
		uint16_t target, copy;
		uint32_t ack;
	} packed = { k->client, k->online, k->target, k->copy, ack };

	return &e->early[siphash(&e->cfg.key, &packed, sizeof(packed)) % EARLY_SETS];
}

/* In the place of the oldest there. */
static void early_keep(struct engine *e, const struct early_reply *r)
{
	struct early_set *set = early_set(e, &r->key, r->ack);
	unsigned oldest = 0;

	for (unsigned i = 1; i < EARLY_WAYS; i++)
		if (set->reply[i].time < set->reply[oldest].time)
			oldest = i;
	if (r->time - e->early_last >= EARLY_LIFE)
		e->early_kept = 0; /* the others are too old */
	e->early_kept++;
	e->early_last = r->time;
	set->ack[oldest] = r->ack;
	set->reply[oldest] = *r;
}

/* The reply on @k with @ack that came before its SYN, or NULL. */
static struct early_reply *early_find(struct engine *e, const struct flow_key *k, uint32_t ack, uint64_t now)
{
	struct early_set *set = e->early_kept ? early_set(e, k, ack) : NULL;

	for (unsigned i = 0; set && i < EARLY_WAYS; i++) {
		struct early_reply *r = &set->reply[i];

		if (set->ack[i] == ack && r->time && now - r->time < EARLY_LIFE &&
		    r->key.target == k->target && endpoint_eq(&r->key.client, &k->client) &&
		    endpoint_eq(&r->key.online, &k->online))
			return r;
	}
	return NULL;
}

bool proof_is_early(struct engine *e, const struct flow_key *k, const struct segment *syn, uint64_t now)
{
	return early_find(e, k, syn->seq + 1, now) ||
	       (syn->len && early_find(e, k, syn->seq + 1 + syn->len, now));
}

/* Does a SYN-ACK with @ack answer the SYN of @s? With or without its data. */
static bool answers_syn(const struct session *s, uint32_t ack)
{
	return ack == s->iss + 1 || (s->syn_data && ack == s->iss + 1 + s->syn_data);
}

void proof_look_back(struct engine *e, struct session *s, uint64_t now)
{
	struct early_reply *r = early_find(e, &s->key, s->iss + 1, now);

	if (!r && s->syn_data)
		r = early_find(e, &s->key, s->iss + 1 + s->syn_data, now);
	if (r) {
		accepted(e, s, r, now);
		r->time = 0; /* it makes room */
		e->early_kept--;
	}
}

static void server_synack(struct engine *e, struct session *s, const struct flow_key *k,
			  const struct segment *g, uint64_t now)
{
	const struct early_reply r = {
		.key = *k,
		.time = now,
		.seq = g->seq,
		.ack = g->ack,
		.tsval = g->opt.tsval,
		.has_ts = g->opt.has_ts,
		.has_sack = g->opt.has_sack_permitted,
		.has_wscale = g->opt.has_wscale,
		.has_mptcp = g->opt.mptcp & MPTCP_CAPABLE,
		.wscale = g->opt.wscale,
	};

	if (s && doubt_syn_answered(e, s, g->ack, now))
		s = flow_table_find(e->flows, k); /* the new one */
	if (s && !session_observing(s) && answers_syn(s, g->ack) && !(s->events & EV_JOINED)) {
		if (!(s->events & (EV_PROVED | EV_ENDED)))
			accepted(e, s, &r, now);
	} else if (e->early) {
		early_keep(e, &r); /* its SYN may still be on its way to us */
	}
}

/*
 * Was the RST sent after the proof, and would the client take it (RFC 9293 3.10.7.4)? Others answer a false
 * ACK, with its number: before the handshake, or where the host passes its connections on to a container
 * and its connection tracking did not take that segment for one of theirs.
 */
static bool rst_is_believed(const struct session *s, const struct segment *g)
{
	if (g->time < s->proved_at)
		return false;
	return !s->judge.acked || (seq_ge(g->seq, s->client_ack) && seq_le(g->seq, s->judge.edge));
}

/* What a RST of the server may end: a session that was proved, and that the client has not ended. */
static bool may_be_reset(const struct session *s)
{
	/* after the client's FIN the server has no connection, and resets a stray copy of a segment */
	return !session_observing(s) && !(s->events & (EV_ENDED | EV_CLIENT_FIN | EV_CLIENT_RST | EV_CUT));
}

void engine_server_resets(struct engine *e, const struct flow_key *k, const struct segment *g)
{
	struct session *s = flow_table_find(e->flows, k);

	if (s && may_be_reset(s) && s->events & EV_PROVED && !s->server_reset_at && rst_is_believed(s, g))
		s->server_reset_at = g->time;
}

/*
 * The server's kernel says that there is no such connection, or that its application has aborted it. An
 * answer to a SYN acknowledges it; any other RST to an unproved session may be for somebody's false ACK,
 * and says nothing.
 */
static void server_rst(struct engine *e, struct session *s, const struct segment *g, uint64_t now)
{
	bool refused = g->flags & TCPF_ACK && g->ack == s->iss + 1;

	if (!may_be_reset(s))
		return;
	if (!(s->events & EV_PROVED)) {
		if (refused && !s->has_server_irs)
			session_end(e, s, OUTCOME_SERVER_RESET, now);
		return;
	}
	if (!rst_is_believed(s, g)) {
		s->server_reset_at = 0;
		return;
	}
	hole_cut(e, s, OUTCOME_SERVER_RESET, false, now);
	session_step(e, s, now);
}

void engine_server(struct engine *e, const struct flow_key *k, const struct segment *g, uint64_t now)
{
	struct session *s = flow_table_find(e->flows, k);

	if (g->flags & TCPF_RST && s)
		server_rst(e, s, g, now);
	else if ((g->flags & (TCPF_SYN | TCPF_ACK | TCPF_RST)) == (TCPF_SYN | TCPF_ACK))
		server_synack(e, s, k, g, now);
	else if (s && g->len)
		turn_server(e, s, g);
}

const struct engine_proofs *engine_proofs(const struct engine *e, unsigned target)
{
	return &e->target[target].proofs;
}

bool engine_waits_for_proof(const struct engine *e)
{
	for (unsigned i = 0; i < e->n_targets; i++)
		if (e->target[i].unproved)
			return true;
	return false;
}
