/*
 * Session engine: invariants and a readable line - theory of operation
 *
 * engine_check() is called by tests after every step. It restates what the other files promise, so that a
 * broken promise is found where it was broken and not where it hurts. session_format() is the line that
 * traces and reports show.
 */
#include "session/impl.h"
#include "session/memory.h"

#include <assert.h>
#include <stdio.h>

static void check_queue(const struct engine *e, const struct session *s, uint64_t *bytes)
{
	uint32_t at = s->stream.head ? s->stream.head->seq : s->stream.nxt, held = 0, n_behind = 0,
		 payload = 0;
	bool next_seen = !s->next, hold_seen = !s->hold, sent_seen = !s->sent,
	     again_seen = !s->rec || !s->rec->again;
	const struct qseg *q, *last = NULL;

	for (q = session_head(s); q; last = q, q = qseg_next(q)) {
		assert(q->piece.seq == at);
		at = qseg_end(q);
		held += qseg_cost(q);
		payload += q->piece.len;
		again_seen |= s->rec && q == s->rec->again;
		if (q == s->sent) {
			sent_seen = true;
			assert(q->sent_at && qseg_next(q) == s->next);
		}
		if (q == s->next) {
			next_seen = true;
			assert(seq_between(q->piece.seq,
					   s->events & EV_ESTABLISHED ? s->snd_nxt : q->piece.seq, at));
		}
		if (q == s->hold) {
			hold_seen = true;
			assert(q->turn && q->expect);
			assert(!(s->events & EV_ESTABLISHED) || seq_le(s->snd_nxt, q->piece.seq));
		}
		if (s->events & EV_ESTABLISHED)
			assert(seq_gt(at, s->snd_una));
		*bytes += seq_lt(q->piece.seq, s->snd_una)
				  ? q->piece.len - MIN(q->piece.len, s->snd_una - q->piece.seq)
				  : q->piece.len;
	}
	assert(at == s->stream.nxt && (!last || &last->piece == s->stream.tail) && next_seen && hold_seen);
	assert(sent_seen && again_seen);
	for (struct piece *run = stream_first_run(&s->stream), *before = NULL; run;
	     before = run, run = stream_next_run(&s->stream, run)) {
		assert(seq_gt(run->seq, s->stream.nxt) && !s->stream.fin);
		assert(!before || seq_lt(before->seq, run->seq));
		for (struct piece *p = run; p; p = p->next) {
			assert(p->next ? piece_end(p) == p->next->seq : p == run->tail);
			held += qseg_cost(qseg_of(p));
			payload += p->len;
			*bytes += p->len;
			n_behind++;
		}
	}
	assert(n_behind == s->stream.n_behind);
	assert(held == s->held && payload == s->payload);
	assert(held <= e->cfg.session_buffer);
}

static void check_session(const struct engine *e, const struct session *s, uint64_t *bytes)
{
	const uint32_t ev = s->events;
	uint64_t first = UINT64_MAX;

	assert(!(ev & ~(uint32_t)EV_OPENED) || ev & EV_OPENED);
	assert(!(ev & EV_ESTABLISHED) || ev & EV_STARTED);
	assert(!(ev & EV_FIN_SENT) || (ev & EV_CLIENT_FIN && ev & EV_ESTABLISHED));
	assert(!(ev & EV_FIN_ACKED) || ev & EV_FIN_SENT);
	assert(!(ev & EV_TARGET_FIN) || ev & EV_ESTABLISHED);
	assert(!(ev & EV_CUT) || !session_has_hole(s));
	assert(!(ev & EV_CLIENT_ACKED) || ev & EV_PROVED);
	assert(!(ev & EV_ENDED) || !s->doubts);
	assert((s->syn != NULL) == ((ev & (EV_OPENED | EV_ESTABLISHED | EV_ENDED)) == EV_OPENED));
	assert(!s->watched || ev & EV_STARTED);
	assert(!s->pred || s->pred->succ == s);
	assert(!s->succ || s->succ->pred == s);
	if (ev & EV_ESTABLISHED) {
		assert(seq_le(s->snd_una, s->snd_nxt) && seq_le(s->snd_nxt, s->stream.nxt));
		assert((ev & EV_ENDED) || s->snd_una == s->snd_nxt || timer_on(s, TIMER_RTX));
	}
	for (int by = 0; by < ASKERS; by++) {
		const struct question *q;

		if (!question_is_open(s, (enum asker)by))
			continue;
		q = &e->question[s->question[by] - 1];
		assert(q->id % QUESTIONS_MOST == s->question[by] - 1u && q->session == s->id &&
		       (int)q->by == by);
		assert(q->id && q->id <= e->question_number && q->asked <= e->overdue_at);
		assert(!(ev & EV_ENDED));
	}
	if (ev & EV_ENDED || session_observing(s))
		assert(!s->stream.head && !session_has_hole(s) && !s->rec && !s->held);
	for (int t = 0; t < TIMER_COUNT; t++)
		if (s->deadline[t])
			first = MIN(first, s->deadline[t]);
	assert(first == UINT64_MAX || (wheel_armed(&s->node) && s->node.at <= first));
	assert(first != UINT64_MAX); /* something always ends a session */
	if (s->rec)
		for (int i = 0; i < s->rec->n_sacked; i++) {
			assert(seq_lt(s->rec->sacked[i].start, s->rec->sacked[i].end));
			assert(seq_gt(s->rec->sacked[i].start, i ? s->rec->sacked[i - 1].end : s->snd_una));
			assert(seq_le(s->rec->sacked[i].end, s->snd_nxt));
		}
	check_queue(e, s, bytes);
}

/* All that a target calls backed off are sessions of its own that wait for it. */
static void check_target(const struct engine *e, unsigned target)
{
	const struct session *before = NULL;
	const struct target *t = &e->target[target];

	assert(t->path.limit <= t->path.route && (!t->probe.out || t->path.probing));
	assert(!t->probe.out || !(session_by_id(e, t->probe.id)->events & EV_ENDED));
	for (const struct session *s = e->target[target].backed_off; s; before = s, s = s->backoff_next) {
		assert(session_by_id(e, s->id) == s && s->key.target == target && s->backoff_prev == before);
		assert(!(s->events & EV_ENDED) && timer_on(s, TIMER_RTX));
	}
}

/* Every exchange is in exactly one row, and those that are open are kept with their sessions. */
static void check_exchanges(const struct engine *e)
{
	uint64_t open[2] = { 0 };
	struct session *s;

	for (uint32_t i = 0; (s = slots_from(e->sessions, &i)); i++)
		open[0] += exchange_open(session_exchange(s));
	for (unsigned n = 0; n < e->n_targets; n++) {
		const struct exchange_tally *t = &e->target[n].exchanges;
		uint64_t rows = t->same + t->open, ends = t->open;

		for (unsigned i = 0; i < EXCHANGE_DIFFERENCE_COUNT; i++)
			rows += t->different[i];
		for (unsigned i = 0; i < EXCHANGE_OBSTACLE_COUNT; i++)
			rows += t->not_comparable[i];
		for (unsigned i = 0; i < EXCHANGE_END_COUNT; i++)
			ends += t->ended_by[i];
		assert(t->all == rows && t->all == ends);
		open[1] += t->open;
	}
	assert(open[0] == open[1]);
}

void engine_check(const struct engine *e)
{
	const struct engine_counters *n = &e->n;
	const struct engine_questions *asked = &e->questions;
	const struct session *s;
	unsigned live = 0, lingering = 0, observed = 0, half_open = 0, by_state[STATE_COUNT] = { 0 };
	uint64_t spoken = 0, joined = 0, bytes = 0, ended = 0, lost = 0, unjoined = 0, turns_waiting = 0,
		 holes_open = 0, open = 0;

	for (uint32_t i = 0; (s = slots_from(e->sessions, &i)); i++) {
		assert((uint32_t)s->id == i);
		if (session_observing(s))
			observed++;
		else if (s->events & EV_ENDED)
			lingering++;
		else {
			live++;
			by_state[session_state(s->events)]++;
		}
		half_open += (s->events & (EV_OPENED | EV_CLIENT_ACKED | EV_JOINED | EV_ENDED)) == EV_OPENED;
		for (int by = 0; by < ASKERS; by++)
			open += question_is_open(s, (enum asker)by);
		holes_open += s->hole_since != 0;
		for (const struct qseg *q = s->hold; q; q = qseg_next(q))
			turns_waiting += q->turn;
		check_session(e, s, &bytes);
	}
	for (unsigned t = 0; t < e->n_targets; t++)
		check_target(e, t);
	memory_check(e);
	check_exchanges(e);
	for (int o = 0; o < OUTCOME_COUNT; o++) {
		ended += n->ended[o];
		lost += n->lost_by_outcome[o];
	}
	for (int d = 0; d < DECLINE_COUNT; d++)
		unjoined += n->unjoined[d];
	for (unsigned t = 0; t < e->n_targets; t++)
		for (int p = 0; p < PROTOCOL_COUNT; p++) {
			spoken += e->target[t].spoken.sessions[p];
			joined += e->target[t].spoken.joined[p];
		}
	assert(live == e->live && lingering == e->lingering && observed == e->observed &&
	       half_open == e->half_open);
	/* the account: every byte and every session in exactly one row */
	assert(bytes == e->live_bytes);
	assert(n->captured_bytes == n->truncated_bytes + n->duplicate_bytes + n->keepalive_bytes +
					    n->unjoined_bytes + n->refused_bytes + e->doubt_bytes +
					    n->queued_bytes);
	assert(n->queued_bytes == n->acked_bytes + n->lost_bytes + e->live_bytes);
	assert(n->sessions_opened + n->sessions_joined == ended + live);
	assert(n->sessions_opened + n->sessions_joined == spoken);
	assert(n->sessions_joined == joined);
	assert(n->lost_bytes == lost);
	assert(n->unjoined_bytes == unjoined);
	assert(n->turns == n->released_on_answer + n->released_on_pause + n->released_on_close +
				   n->released_on_deadline + n->turns_given_up + turns_waiting);
	assert(n->responses == n->responses_believed + n->responses_refused + n->responses_unknown +
				       n->responses_late + n->leftovers_reset);
	assert(n->holes == n->holes_filled + n->holes_given_up + holes_open);
	assert(n->path_probes == n->path_probes_arrived + n->path_probes_lost + n->path_probes_undecided +
					 engine_path_probes(e));
	assert(asked->asked == asked->answered + asked->overdue + asked->withdrawn + open);
	assert(asked->open == open);
	assert(turns_waiting == e->turns_waiting && holes_open == e->holes_open);
	assert(!memcmp(by_state, e->by_state, sizeof(by_state)));
}

char *session_format(char *buf, size_t size, const struct session *s)
{
	static const char *const name[] = {
#define X(id, text) #id,
		SESSION_EVENTS(X)
#undef X
	};
	char client[ENDPOINT_TEXT_LEN], events[160] = "";
	size_t n = 0;

	for (int i = 0; i < EVENT_COUNT && n < sizeof(events); i++)
		if (s->events & 1u << i)
			n += (size_t)snprintf(events + n, sizeof(events) - n, "%s%s", n ? "|" : "", name[i]);
	snprintf(buf, size, "%s [%s] una %u nxt %u cap %u wnd %u rcv %u held %u srtt %lluus%s%s",
		 endpoint_format(client, sizeof(client), &s->key.client), n ? events : "OBSERVING",
		 s->snd_una - s->iss, s->snd_nxt - s->iss, s->stream.nxt - s->iss, s->snd_wnd,
		 s->rcv_nxt - s->irs, s->held, (unsigned long long)(s->srtt / NS_PER_US),
		 s->hold ? " turn waits" : "", session_has_hole(s) ? " hole" : "");
	return buf;
}
