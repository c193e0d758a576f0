/*
 * Session engine: the life of sessions - theory of operation
 *
 * A session is one copy of one client connection. It is a TCP client towards the target whose application
 * is the captured client: an ordered sender of the client's bytes that remembers the client's segment
 * boundaries, and a responder that acknowledges what the target sends. What it remembers is laid out in
 * state_impl.h.
 *
 * State is a set of events (SESSION_EVENTS), each of which happens once; session_event() is the only place
 * that records one. "States" are derived:
 *
 *   no event              observing: a connection older than the engine (or given up on), waiting for its
 *                         next turn
 *   OPENED                waiting for its predecessor on the same port, or about to start
 *   OPENED STARTED        SYN-SENT
 *   ... ESTABLISHED       data flows; CLIENT_FIN, FIN_SENT, FIN_ACKED, TARGET_FIN say how far either half
 *                         is closed
 *   ... ENDED             has its outcome and no memory of data; answers stray segments of the target for
 *                         LINGER, then is freed
 *
 * The flow table knows the newest session of a key. An older one of the same key (its client closed and
 * used the port again) is its pred: the newer one starts when the older one is done, so that requests still
 * on their way are not thrown away. Responses find their session by id; an id names a slot and a
 * generation, so a late record of a former incarnation finds nobody.
 *
 * A session whose target has closed before its client may go on in its place, on a connection of its own
 * (handover.c): it ends, with an outcome and an id, and begins anew with another id and what it had queued.
 *
 * Ending never frees: callers further up may still hold the session. Memory of data is returned at once;
 * the struct goes when TIMER_LIFE fires or a newer session of its key starts.
 */
#include "session/impl.h"
#include "session/memory.h"

#include <assert.h>

#define MAX_MOVES 4 /* of a session to another source */

struct session *session_by_id(const struct engine *e, uint64_t id)
{
	struct session *s = slots_at(e->sessions, (uint32_t)id);

	return s && s->id == id ? s : NULL;
}

enum session_state session_state(uint32_t ev)
{
	bool client = ev & (EV_CLIENT_FIN | EV_CLIENT_RST);

	if (!(ev & EV_STARTED))
		return STATE_WAITING;
	if (!(ev & EV_ESTABLISHED))
		return STATE_SYN_SENT;
	if (ev & EV_TARGET_FIN)
		return client ? STATE_CLOSING : STATE_TARGET_CLOSED;
	return client ? STATE_CLIENT_CLOSED : STATE_ESTABLISHED;
}

/* Counts @s among the sessions of its kind (@one 1), or no longer (-1). */
static void count(struct engine *e, const struct session *s, int one)
{
	const uint32_t ev = s->events;

	if (session_observing(s)) {
		e->observed += one;
	} else if (ev & EV_ENDED) {
		e->lingering += one;
	} else {
		e->live += one;
		e->by_state[session_state(ev)] += one;
		e->half_open += ev & (EV_CLIENT_ACKED | EV_JOINED) ? 0 : one;
	}
}

/* An observing session that the flow table points to; NULL: no memory. */
struct session *session_new(struct engine *e, const struct flow_key *k, uint64_t now)
{
	struct session *s;
	uint32_t i;

	if (e->cfg.max_sessions && e->live + e->observed >= e->cfg.max_sessions)
		return NULL;
	if (memory_above_limit(e))
		return NULL;
	s = slots_take(e->sessions, &i);
	if (!s)
		return NULL;
	memset(s, 0, sizeof(struct session_slot));
	s->key = *k;
	s->id = (uint64_t)e->generation++ << 32 | i;
	flow_table_put(e->flows, s);
	count(e, s, +1);
	memory_session_new(e, s);
	timer_set(e, s, TIMER_LIFE, now + OBSERVE_LIFE);
	return s;
}

static void syn_options_free(struct engine *e, struct session *s)
{
	pool_put(e->pool, s->syn, sizeof(*s->syn));
	s->syn = NULL;
}

/* Opened by a SYN, and the server is not known to have the connection. */
static bool waits_for_proof(const struct session *s)
{
	return (s->events & (EV_OPENED | EV_JOINED | EV_PROVED | EV_ENDED)) == EV_OPENED;
}

/* The one mutator of a session's events: records @ev, which must be new. */
void session_event(struct engine *e, struct session *s, enum session_event ev)
{
	assert(!(s->events & (uint32_t)ev));
	assert(!(s->events & EV_ENDED));
	count(e, s, -1);
	session_target(e, s)->unproved -= waits_for_proof(s);
	s->events |= (uint32_t)ev;
	session_target(e, s)->unproved += waits_for_proof(s);
	count(e, s, +1);
	if (ev == EV_OPENED && s->key.copy & e->cfg.copy_mask)
		e->n.sessions_copies++;
	if (ev & (EV_ESTABLISHED | EV_ENDED))
		syn_options_free(e, s);
	if (ev == EV_PROVED)
		memory_session_proved(e, s);
	else if (ev == EV_ENDED)
		memory_session_over(e, s);
}

/*
 * There are as many half-open sessions as there may be. One of the unproved makes room; the hand goes round,
 * so it is one of those that have waited longest: who completes a handshake does so within a round trip, a
 * flood never does.
 */
static bool half_open_evict(struct engine *e, uint64_t now)
{
	for (int looked = 0; looked < EVICT_LOOK; looked++) {
		struct session *s = slots_from(e->sessions, &e->evict_hand);

		if (!s) {
			e->evict_hand = 0;
			continue;
		}
		e->evict_hand++;
		if (waits_for_proof(s) && !(s->events & EV_CLIENT_ACKED)) {
			session_end(e, s, OUTCOME_HALF_OPEN, now);
			return true;
		}
	}
	return false;
}

static void unwatch(struct engine *e, struct session *s)
{
	struct tuple response = { .src = session_target(e, s)->at, .dst = s->source };

	if (s->watched)
		e->ops->unwatch(e->arg, s->id, &response);
	s->watched = false;
}

/* What the target acknowledges next is one more. */
static uint32_t acknowledged(const struct session *s)
{
	return s->events & EV_ESTABLISHED ? s->snd_una - 1 : s->iss;
}

static void watch(struct engine *e, struct session *s)
{
	struct tuple response = { .src = session_target(e, s)->at, .dst = s->source };

	s->watched = true;
	s->unwatched = false;
	e->ops->watch(e->arg, s->id, &response, acknowledged(s));
}

void session_free(struct engine *e, struct session *s)
{
	doubt_drop(e, s);
	assert(!s->stream.head && !session_has_hole(s) && !s->rec);
	session_target(e, s)->unproved -= waits_for_proof(s);
	timer_off_all(e, s);
	question_withdraw_all(e, s);
	unwatch(e, s);
	loss_backoff_unlink(e, s);
	if (s->has_source && e->ops->source_give)
		e->ops->source_give(e->arg, &s->key, &s->source);
	/* an older one that still works must be found by whoever uses the port next */
	if (flow_table_remove(e->flows, s) && s->pred)
		flow_table_put(e->flows, s->pred);
	/* one that ended while it waited leaves its place in the line */
	if (s->pred)
		s->pred->succ = s->succ;
	if (s->succ)
		s->succ->pred = s->pred;
	count(e, s, -1);
	memory_session_over(e, s);
	syn_options_free(e, s);
	slots_give(e->sessions, (uint32_t)s->id);
}

void session_declined(struct engine *e, const struct flow_key *k, enum decline why, uint64_t now)
{
	e->n.declined[why]++;
	e->examples.declined[why] = (struct engine_example){ .key = *k, .time = now };
}

/* Why @s cannot open a connection now; DECLINE_COUNT: it can, and has the memory for its SYN. */
static enum decline not_now(struct engine *e, struct session *s, bool half_open, uint64_t now)
{
	const struct target *t = session_target(e, s);

	if (!e->channel)
		return DECLINE_CHANNEL;
	if (half_open && e->half_open >= e->cfg.max_half_open && !half_open_evict(e, now))
		return DECLINE_HALF_OPEN;
	if (!memory_admits(e, &s->key))
		return DECLINE_MEMORY;
	if (t->refusals >= REFUSALS_FEW && now < t->ask_after)
		return DECLINE_REFUSING;
	s->syn = pool_get(e->pool, sizeof(*s->syn));
	return s->syn ? DECLINE_COUNT : DECLINE_MEMORY;
}

/*
 * A further copy that has the endpoint of the client of *k ends: the client has the right of way. The target
 * hears the end of the one before it hears the other's SYN, and what it says then is the other's. The copy's
 * next turn is awaited, and goes from another port.
 */
static void make_room(struct engine *e, const struct flow_key *k, uint64_t now)
{
	struct flow_key holder;
	struct session *s;

	if (!e->ops->source_holder || !e->ops->source_holder(e->arg, k, &holder))
		return;
	s = flow_table_find(e->flows, &holder);
	while (s && !(s->has_source && endpoint_eq(&s->source, &k->client)))
		s = s->pred;
	if (!s)
		return;
	if (!(s->events & EV_ENDED))
		session_end(e, s, OUTCOME_GAVE_WAY, now);
	unwatch(e, s);
	timer_set(e, s, TIMER_LIFE, now);
}

/*
 * From observing to opened: a place among the sessions and a source address. The caller has filled in what
 * it knows of the client. False: declined and counted; the session goes on observing.
 */
bool session_open(struct engine *e, struct session *s, bool half_open, enum decline *why, uint64_t now)
{
	struct target *t = session_target(e, s);

	s->source = s->key.client;
	*why = not_now(e, s, half_open, now);
	if (*why == DECLINE_COUNT && e->ops->admit)
		*why = e->ops->admit(e->arg, &s->key, e->live, now);
	if (*why == DECLINE_COUNT)
		make_room(e, &s->key, now);
	if (*why == DECLINE_COUNT && e->ops->source_take && !e->ops->source_take(e->arg, &s->key, &s->source))
		*why = DECLINE_SOURCE;
	if (*why != DECLINE_COUNT) {
		syn_options_free(e, s);
		session_declined(e, &s->key, *why, now);
		return false;
	}
	s->has_source = true;
	s->later = e->ops->later ? e->ops->later(e->arg, &s->key) : 0;
	s->start_at = now + s->later;
	if (t->refusals >= REFUSALS_FEW)
		t->ask_after = now + pause_of_all(e, REFUSED_PAUSE);
	session_event(e, s, EV_OPENED);
	t->spoken.sessions[s->spoken.protocol]++;
	return true;
}

/* Send the SYN now, or when its time has come and the predecessor is done. */
void session_start(struct engine *e, struct session *s, uint64_t now)
{
	if (now < s->start_at) { /* and then it is seen whether its predecessor is done */
		timer_set(e, s, TIMER_WAIT, s->start_at);
		return;
	}
	s->start_at = 0;
	/* it ended while it waited: what it waited for, we wait for */
	while (s->pred && s->pred->events & EV_ENDED && s->pred->pred) {
		struct session *skipped = s->pred, *before = skipped->pred;

		s->pred = before;
		before->succ = s;
		skipped->pred = skipped->succ = NULL;
	}
	if (s->pred && !(s->pred->events & EV_ENDED)) {
		timer_set(e, s, TIMER_WAIT, now + MAX(e->cfg.hold, RTO_FLOOR));
		return;
	}
	if (s->pred) {
		/* its tuple is ours from now on; the struct goes with the next tick, callers may hold it */
		unwatch(e, s->pred);
		timer_set(e, s->pred, TIMER_LIFE, now);
		s->pred->succ = NULL;
		s->pred = NULL;
	}
	timer_off(s, TIMER_WAIT);
	session_event(e, s, EV_STARTED);
	session_target(e, s)->pace.begun++;
	s->progress_at = now;
	watch(e, s);
	output_syn(e, s, now);
	loss_rearm(e, s, now);
}

struct session *session_observe_again(struct engine *e, struct session *s, bool at_once, uint64_t now)
{
	struct session *o = session_new(e, &s->key, now);

	if (!o) {
		e->forgotten_at = now;
		return NULL;
	}
	o->pred = s;
	s->succ = o;
	o->turn_ack = s->turn_ack;
	o->has_turn_ack = s->has_turn_ack;
	o->stream.nxt = s->stream.nxt;
	o->captured_last = s->captured_last;
	o->spoken = s->spoken;
	o->spoken.over = true;
	o->failures = s->failures;
	o->closes_each = s->closes_each;
	o->here_before = s->here_before;
	o->expected_before = s->expected_before;
	o->era = s->era;
	timer_set(e, o, TIMER_LIFE, now + rejoin_memory(o));
	o->rejoins = (uint8_t)MIN(s->rejoins + 1, 10);
	o->rejoin_after =
		at_once && !s->rejoins ? now : now + MIN(REJOIN_FIRST << MIN(s->rejoins, 9), REJOIN_MAX);
	return o;
}

static void count_end(struct engine *e, const struct session *s, enum session_outcome o, uint64_t now)
{
	struct engine_pace *pace = &session_target(e, s)->pace;

	pace->ended += (s->events & EV_STARTED) != 0;
	pace->refused += o == OUTCOME_REFUSED;
	pace->reset += o == OUTCOME_TARGET_RESET;
	e->n.ended[o]++;
	e->examples.ended[o] = (struct engine_example){ .key = s->key, .time = now };
}

bool session_again(struct engine *e, struct session *s, enum session_outcome o, uint64_t now)
{
	const uint32_t client = s->events & (EV_CLIENT_FIN | EV_CLIENT_RST | EV_CUT);

	if (not_now(e, s, false, now) != DECLINE_COUNT)
		return false;
	if (o != OUTCOME_TARGET_RESET)
		output_rst(e, s, s->snd_nxt, true, now);
	unwatch(e, s);
	count_end(e, s, o, now);
	if (e->ops->ended)
		e->ops->ended(e->arg, s, o);
	output_probed(e, s, PATH_UNKNOWN, now);
	loss_free(e, s);
	loss_backoff_unlink(e, s);
	for (int t = 0; t < TIMER_COUNT; t++)
		if (t != TIMER_HOLE && t != TIMER_DOUBT)
			timer_off(s, (enum session_timer)t);
	s->id = (uint64_t)e->generation++ << 32 | (uint32_t)s->id;
	question_follow(e, s);
	count(e, s, -1);
	s->events = 0;
	count(e, s, +1);
	session_event(e, s, EV_OPENED);
	session_event(e, s, EV_JOINED);
	session_event(e, s, EV_PROVED);
	for (uint32_t ev = EV_CLIENT_FIN; ev <= EV_CUT; ev <<= 1)
		if (client & ev)
			session_event(e, s, (enum session_event)ev);
	e->n.sessions_joined++;
	e->n.sessions_continued++;
	session_target(e, s)->spoken.sessions[s->spoken.protocol]++;
	session_target(e, s)->spoken.joined[s->spoken.protocol]++;
	rejoin_begun(e, s, now);
	timer_set(e, s, TIMER_LIFE, now + IDLE_LIFE);
	return true;
}

/* @s ends as @o. Was nothing heard because nobody listened? */
static enum session_outcome cause(const struct session *s, enum session_outcome o)
{
	const bool silent =
		o == OUTCOME_NO_ANSWER || o == OUTCOME_RETURN_SILENT || o == OUTCOME_TARGET_SILENT;

	return silent && s->unwatched ? OUTCOME_UNWATCHED : o;
}

void session_end(struct engine *e, struct session *s, enum session_outcome o, uint64_t now)
{
	/* who was cut is observed already, or gone */
	bool over = s->events & (EV_CLIENT_FIN | EV_CLIENT_RST | EV_CUT);
	bool target_knows = (s->events & EV_STARTED) && o != OUTCOME_COMPLETE && o != OUTCOME_UNANSWERED &&
			    o != OUTCOME_REFUSED && o != OUTCOME_TARGET_RESET && o != OUTCOME_SOURCE_TAKEN;
	uint64_t lost = e->n.lost_bytes;

	o = cause(s, o);
	rejoin_ended(e, s, o, !over && o != OUTCOME_HALF_OPEN && o != OUTCOME_SHUTDOWN, now);
	turn_over(e, s, o, now);
	if (target_knows) {
		output_rst(e, s, s->snd_nxt, s->events & EV_ESTABLISHED, now);
		session_event(e, s, EV_RST_SENT);
	}
	session_event(e, s, EV_ENDED);
	s->outcome = o;
	count_end(e, s, o, now);
	question_withdraw_all(e, s);
	hole_close(e, s);
	doubt_drop(e, s);
	queue_drop(e, s);
	e->n.lost_by_outcome[o] += e->n.lost_bytes - lost;
	output_probed(e, s, PATH_UNKNOWN, now);
	loss_free(e, s);
	loss_backoff_unlink(e, s);
	timer_off_all(e, s);
	timer_set(e, s, TIMER_LIFE, now + (s->events & EV_STARTED ? LINGER : 0));
	e->trim_at = MIN(e->trim_at, now + TRIM_PERIOD);
	if (e->ops->ended)
		e->ops->ended(e->arg, s, o);
	if (s->succ && (s->succ->events & EV_OPENED) && !(s->succ->events & EV_ENDED))
		session_start(e, s->succ, now);
	else if (!over && o != OUTCOME_HALF_OPEN && o != OUTCOME_SHUTDOWN &&
		 flow_table_find(e->flows, &s->key) == s && !session_observe_again(e, s, false, now))
		flow_table_remove(e->flows, s);
}

/*
 * Ask the target from another source. Its answers to our SYN went to the other tcpcopy, whose connection has
 * challenged it (RFC 5961 4.2), so nothing has happened there; and nothing is sent there any more.
 */
static bool move(struct engine *e, struct session *s, uint64_t now)
{
	struct endpoint source;

	if (s->moves == MAX_MOVES || s->events & EV_ESTABLISHED || !e->ops->source_other ||
	    !e->ops->source_other(e->arg, &s->key, &source))
		return false;
	unwatch(e, s);
	if (e->ops->source_give)
		e->ops->source_give(e->arg, &s->key, &s->source);
	s->source = source;
	s->moves++;
	e->n.sources_moved++;
	s->id = (uint64_t)e->generation++ << 32 | (uint32_t)s->id;
	question_follow(e, s);
	s->progress_at = now;
	s->backoff = s->leftover_resets = 0;
	s->syn_resent = s->syn_timed_out = false;
	watch(e, s);
	output_syn(e, s, now);
	loss_rearm(e, s, now);
	return true;
}

void engine_source_taken(struct engine *e, uint64_t id, uint64_t now)
{
	struct session *s = session_by_id(e, id);

	if (s && s->events & EV_STARTED && !(s->events & EV_ENDED) && !move(e, s, now))
		session_end(e, s, OUTCOME_SOURCE_TAKEN, now);
}

void engine_source_lost(struct engine *e, uint64_t id, uint64_t now)
{
	struct session *s = session_by_id(e, id);

	if (s && s->events & EV_STARTED && !(s->events & EV_ENDED))
		session_end(e, s, OUTCOME_SOURCE_LOST, now);
}

void engine_unwatched(struct engine *e, uint64_t id, bool deaf, uint64_t now)
{
	struct session *s = session_by_id(e, id);

	if (!s || !(s->events & EV_STARTED) || s->events & EV_ENDED)
		return;
	s->unwatched = true;
	if (deaf)
		session_end(e, s, OUTCOME_UNWATCHED, now);
}

static void announce_when_room(struct engine *e, uint64_t now)
{
	e->announce_at = e->announcing && e->announce_room ? now : UINT64_MAX;
}

/* True: a channel that came up since brings the responses of @s. */
static bool announce(struct engine *e, struct session *s)
{
	struct tuple response = { .src = session_target(e, s)->at, .dst = s->source };

	s->unwatched = false;
	if (e->ops->announce)
		return e->ops->announce(e->arg, s->id, &response, acknowledged(s));
	watch(e, s);
	return true;
}

/* The next session to announce; NULL: the place was that of none, or *@over: all are announced. */
static struct session *next_to_announce(struct engine *e, bool *over)
{
	struct session *s = slots_from(e->sessions, &e->announce_from);

	*over = !e->announce_again && (!s || e->announce_from >= e->announce_until);
	if (*over)
		return NULL;
	if (!s) {
		e->announce_from = 0;
		e->announce_again = false;
		return NULL;
	}
	e->announce_from++;
	return s->watched ? s : NULL;
}

/*
 * The next portion of the sessions that new channels have to hear of, in the order of their places. One that
 * starts meanwhile is announced at once, perhaps twice; one that ends is taken back at once, perhaps without
 * having been announced: both do no harm.
 */
void session_announce(struct engine *e, uint64_t now)
{
	struct session *s;
	bool over;

	for (unsigned n = 0; n < ANNOUNCE_AT_ONCE && e->announce_room; n++) {
		s = next_to_announce(e, &over);
		if (over) {
			e->announcing = false;
			break;
		}
		if (!s || !announce(e, s))
			continue;
		e->announce_room--;
		if (s->progress_at >= e->announce_since)
			continue;     /* it started meanwhile, or was announced already */
		s->progress_at = now; /* its silence was not the target's */
		s->syn_resent |= !(s->events & EV_ESTABLISHED); /* nor is that the time of its SYN (Karn) */
		/* what was answered meanwhile is lost: ask again soon, spread over some milliseconds */
		if (timer_on(s, TIMER_RTX))
			timer_set(e, s, TIMER_RTX, now + (n % 64) * (NS_PER_MS / 4));
	}
	announce_when_room(e, now);
}

void engine_channel_up(struct engine *e, unsigned room, uint64_t now)
{
	e->channel = true;
	/* on a second one meanwhile: from here to the end, and then from the first to here */
	e->announce_until = e->announcing ? e->announce_from : UINT32_MAX;
	e->announce_again = e->announcing;
	if (!e->announcing) {
		e->announce_since = now;
		e->announce_from = 0;
	}
	e->announcing = true;
	e->announce_room = room;
	session_announce(e, now);
}

void engine_channel_room(struct engine *e, unsigned room, uint64_t now)
{
	e->announce_room = room;
	announce_when_room(e, now);
}

void engine_channel_down(struct engine *e)
{
	e->channel = false;
	e->announcing = false;
	e->announce_at = UINT64_MAX;
}
