/*
 * Ends that were not captured - theory of operation
 *
 * Capture may lose a client's FIN or RST. Nothing follows it, so no hole tells of the loss: the session
 * would wait for hours, and its connection would stay on the target. So the engine looks for such ends when
 * it knows of lost packets: the kernel's counter of drops has moved, or a hole was proved. It goes through
 * all sessions that have been quiet since then, three times, in portions, and asks whether the online
 * server still has their socket (question.c).
 *
 * Nor is anything captured of a server that aborts, if its RST gets lost here, or of one that has never
 * accepted the connection, because its queue was full, and forgets it. So without a loss as well all sessions
 * that are quiet are gone through all the time, slowly: at most 80 in a second, each when it has been quiet
 * for 5 s, and again when that has doubled, or 10 min later.
 *
 * That there is none means an end only where there would be one: not on a host that passes its connections
 * on, to a container for example. And a host may pass on some connections only, those from outside, and have
 * a proxy for the others. So it is believed of a session whose own socket was found before; and, as many end
 * before they are asked about, of any other session of an online endpoint that was found to have the sockets
 * of FOUND_ENOUGH, until a client goes on whose socket was found gone. One question a second, of a connection
 * that begins or goes on, is asked for that.
 *
 * The end may still be on its way through the capture buffer. So the engine asks again a little later, when
 * it has processed everything that was captured before the first question. If the session has received
 * anything by then, that wins. Otherwise its stream is cut where it is (hole.c): what waits is delivered,
 * and an RST ends it.
 */
#include "session/impl.h"

#define ROUNDS 3
#define SWEEP_FIRST (1 * NS_PER_SEC) /* after the loss; and the rounds behind it: */
#define SWEEP_SECOND (10 * NS_PER_SEC)
#define SWEEP_THIRD (60 * NS_PER_SEC)
#define SWEEP_PAUSE (1 * NS_PER_MS) /* between two portions */
#define SWEEP_LOOKS 256
#define ASK_EVERY (1 * NS_PER_SEC)
#define ASK_SOON (50 * NS_PER_MS)
#define FOUND_ENOUGH 16
#define GOES_ON (10 * NS_PER_MS) /* what was on its way when the socket was found gone has come by then */

#define QUIET_FOR (5 * NS_PER_SEC)    /* of a session, until it is asked about; and again in twice the time */
#define QUIET_MOST (600 * NS_PER_SEC) /* at most after */
#define PATROL_PAUSE (100 * NS_PER_MS) /* between two portions of them */
#define PATROL_REST (1 * NS_PER_SEC)   /* behind the last one, at least */

static const uint64_t round_after[ROUNDS] = { SWEEP_FIRST, SWEEP_SECOND, SWEEP_THIRD };

static struct online_endpoint *known(struct target *t, const struct endpoint *online)
{
	for (unsigned i = 0; i < t->n_online; i++)
		if (endpoint_eq(&t->online[i].at, online))
			return &t->online[i];
	return NULL;
}

static struct online_endpoint *remember(struct target *t, const struct endpoint *online)
{
	struct online_endpoint *o = known(t, online);

	if (o)
		return o;
	o = &t->online[t->online_next++ % ONLINE_MOST];
	t->n_online = MIN(t->n_online + 1, ONLINE_MOST);
	*o = (struct online_endpoint){ .at = *online };
	return o;
}

void unseen_begins(struct engine *e, uint64_t now)
{
	if (e->ops->online_ask)
		e->patrol_at = MIN(e->patrol_at, now + QUIET_FOR);
}

/* Its client goes on, as far as is known. */
static bool goes_on(const struct session *s)
{
	return s->events & (EV_CLIENT_ACKED | EV_JOINED) &&
	       !(s->events & (EV_ENDED | EV_CLIENT_FIN | EV_CLIENT_RST | EV_CUT));
}

/*
 * The word of @a, asked for at @asked, as far as it is to be believed; and what it tells of the online
 * endpoint of @s.
 */
enum online_word unseen_believed(struct engine *e, struct session *s, const struct online_answer *a,
				 uint64_t asked)
{
	struct target *t = session_target(e, s);
	const struct online_endpoint *o;

	if (a->word == ONLINE_THERE) {
		struct online_endpoint *there = remember(t, &s->key.online);

		if (!s->found_there && there->found < FOUND_ENOUGH && ++there->found < FOUND_ENOUGH)
			t->ask_at = asked; /* so that it is soon known of enough of them */
		s->found_there = true;
		unseen_begins(e, asked);
	}
	if (a->word != ONLINE_GONE)
		return a->word;
	s->found_gone = true;
	s->gone_at = asked;
	o = known(t, &s->key.online);
	if (o && !o->elsewhere && o->found < FOUND_ENOUGH)
		t->ask_at = MIN(t->ask_at, asked + ASK_SOON);
	return s->found_there || (o && !o->elsewhere && (o->found >= FOUND_ENOUGH || !goes_on(s)))
		       ? ONLINE_GONE
		       : ONLINE_UNKNOWN;
}

void unseen_goes_on(struct engine *e, struct session *s, const struct segment *g)
{
	/* it has read something since, and somebody must have sent that */
	if (g->time >= s->gone_at + GOES_ON && seq_gt(g->ack, s->client_ack))
		remember(session_target(e, s), &s->key.online)->elsewhere = true;
}

void engine_capture_lost(struct engine *e, uint64_t now)
{
	if (!e->ops->online_ask)
		return;
	e->lost_at = now;
	/* a round under way is not one of them: it has passed sessions that are quiet only since this loss */
	e->sweep_round = 0;
	if (!e->sweeping)
		e->sweep_at = MIN(e->sweep_at, now + SWEEP_FIRST);
}

/* The client of @s sends: is its socket one that can be asked about? */
void unseen_learn(struct engine *e, struct session *s, uint64_t now)
{
	session_target(e, s)->ask_at = now + ASK_EVERY;
	question_ask(e, s, ASKER_UNSEEN, now);
}

/* A hole decides, or the socket was found gone and is asked for again. */
static bool is_looked_after(const struct session *s)
{
	return s->hole_since || s->hole_proof;
}

static bool may_be_over(const struct session *s)
{
	return goes_on(s) && !is_looked_after(s);
}

/* Nothing was captured of @s since packets were lost. */
static bool quiet_since_loss(struct engine *e, const struct session *s, uint64_t now)
{
	(void)now;
	return may_be_over(s) && s->captured_last <= e->lost_at;
}

/*
 * When @s is asked about because it is quiet for long, ns; UINT64_MAX: its server is not known to have
 * sockets, or the target has closed, and it is over there.
 */
static uint64_t patrol_due(struct engine *e, const struct session *s, uint64_t now)
{
	const struct online_endpoint *o = known(session_target(e, s), &s->key.online);

	if (!o || (o->elsewhere && !s->found_there) || !goes_on(s) || s->events & EV_TARGET_FIN)
		return UINT64_MAX;
	if (is_looked_after(s))
		return now + QUIET_FOR;
	if (s->asked_at <= s->captured_last)
		return s->captured_last + QUIET_FOR;
	return s->asked_at + MIN(MAX(s->asked_at - s->captured_last, QUIET_FOR), QUIET_MOST);
}

static bool patrol_is_due(struct engine *e, const struct session *s, uint64_t now)
{
	const uint64_t due = patrol_due(e, s, now);

	if (due <= now)
		return true;
	e->patrol_next = MIN(e->patrol_next, due);
	return false;
}

/*
 * Ask about the next few of those that are @due, from place *@hand on, by the order of their places. True:
 * that was the last one.
 */
static bool portion(struct engine *e, uint32_t *hand,
		    bool (*due)(struct engine *e, const struct session *s, uint64_t now), uint64_t now)
{
	unsigned asked = 0;

	for (unsigned looked = 0; looked < SWEEP_LOOKS && asked < SWEEP_ASKS; looked++) {
		struct session *s = slots_from(e->sessions, hand);

		if (!s)
			return true;
		if (due(e, s, now)) {
			if (!question_ask(e, s, ASKER_UNSEEN, now))
				return false; /* too many are open: it has its turn in the next portion */
			s->asked_at = now;
			e->patrol_next = MIN(e->patrol_next, patrol_due(e, s, now));
			asked++;
		}
		++*hand;
	}
	return false;
}

static bool quiet_for_long(const struct session *s, uint64_t now)
{
	return may_be_over(s) && s->captured_last + QUIET_FOR <= now;
}

/* When the next round begins, at the end of one. ns; UINT64_MAX: there was the last one. */
static uint64_t next_round(const struct engine *e, uint64_t now)
{
	if (e->sweep_round == ROUNDS)
		return UINT64_MAX;
	return MAX(e->lost_at + round_after[e->sweep_round], now + SWEEP_PAUSE);
}

void unseen_sweep(struct engine *e, uint64_t now)
{
	if (!e->sweeping) {
		e->sweeping = true;
		e->sweep_round++;
		e->sweep_hand = 0;
	}
	e->sweep_at = now + SWEEP_PAUSE;
	if (portion(e, &e->sweep_hand, quiet_since_loss, now)) {
		e->sweeping = false;
		e->sweep_at = next_round(e, now);
	}
}

void unseen_patrol(struct engine *e, uint64_t now)
{
	e->patrol_at = now + PATROL_PAUSE;
	if (!portion(e, &e->patrol_hand, patrol_is_due, now))
		return;
	/* with nobody to ask about it rests, until the next session begins, or is found to have a socket */
	e->patrol_at = e->patrol_next == UINT64_MAX ? UINT64_MAX : MAX(e->patrol_next, now + PATROL_REST);
	e->patrol_next = UINT64_MAX;
	e->patrol_hand = 0;
}

/* Nothing more has come of @s, whose socket was found gone at @since. */
static bool nothing_came(const struct session *s, uint64_t since)
{
	return s->captured_last <= since && !(s->events & (EV_CLIENT_FIN | EV_CLIENT_RST | EV_CUT));
}

void unseen_answered(struct engine *e, struct session *s, const struct online_answer *a, uint64_t asked,
		     uint64_t now)
{
	bool gone = unseen_believed(e, s, a, asked) == ONLINE_GONE;
	uint64_t since = s->hole_proof;

	if (s->hole_since)
		return; /* a hole has opened meanwhile, and decides */
	if (since) {
		s->hole_proof = 0;
		if (gone && nothing_came(s, since))
			hole_cut(e, s, OUTCOME_CAPTURE_HOLE, false, now);
	} else if (gone && (quiet_since_loss(e, s, now) || quiet_for_long(s, now))) {
		s->hole_proof = now;
		timer_set(e, s, TIMER_HOLE, now + GONE_AGAIN);
	}
}

/* When the life of @s is over, if nothing comes of it and nobody is asked, ns. */
static uint64_t life_end(const struct session *s)
{
	if (s->events & EV_FIN_ACKED)
		return MAX(s->answer_last, s->progress_at) + FIN_WAIT_2_LIFE;
	return MAX(s->captured_last, MAX(s->answer_last, s->progress_at)) + IDLE_LIFE;
}

/* @lives: the original does. */
static void judge_life(struct engine *e, struct session *s, bool lives, uint64_t now)
{
	if (lives)
		return;
	if (now < life_end(s))
		timer_set(e, s, TIMER_LIFE, life_end(s));
	else
		session_end(e, s, s->events & EV_FIN_ACKED ? OUTCOME_TARGET_OPEN : OUTCOME_IDLE, now);
}

void unseen_life_over(struct engine *e, struct session *s, uint64_t now)
{
	timer_set(e, s, TIMER_LIFE, now + (s->events & EV_FIN_ACKED ? FIN_WAIT_2_LIFE : IDLE_LIFE));
	if (!question_ask(e, s, ASKER_LIFE, now))
		judge_life(e, s, false, now);
}

/*
 * Behind the client's FIN the server works on as long as its socket is in CLOSE-WAIT; any other state says
 * that it has closed. Before it, the connection lives as long as there is a socket, but not beyond the time
 * after which the client's next timestamp would seem to be an old one (RFC 7323 5.5).
 */
void unseen_life_answered(struct engine *e, struct session *s, const struct online_answer *a, uint64_t asked,
			  uint64_t now)
{
	const bool there = unseen_believed(e, s, a, asked) == ONLINE_THERE;

	judge_life(e, s,
		   there && (s->events & EV_FIN_ACKED ? a->tcp_state == ONLINE_CLOSE_WAIT
						      : now - s->captured_last < TS_FORGOTTEN - IDLE_LIFE),
		   now);
}

/* TIMER_HOLE fired, not for a hole: the socket was gone. */
void unseen_timeout(struct engine *e, struct session *s, uint64_t now)
{
	if (!captured_all_before(e, s->hole_proof, now)) {
		timer_set(e, s, TIMER_HOLE, now + GONE_AGAIN);
		return;
	}
	/* else its end was on its way, or it was another connection's answer */
	if (!nothing_came(s, s->hole_proof) || !question_ask(e, s, ASKER_UNSEEN, now))
		s->hole_proof = 0;
}
