/*
 * Session timers - theory of operation
 *
 * Every timer of a session has its own deadline; setting one never disturbs another. The wheel sees only
 * one node a session, armed for a time not later than the earliest deadline. Turning a timer off does not
 * touch the wheel: the node then fires early, finds nothing due and is armed again for what is left. So the
 * frequent pattern (set on sending, off on the answer) costs two stores.
 *
 * What each timer means stands in enum session_timer; what its expiry does, in expired().
 *
 * Some things are due to the engine and not to a session. All that is due stands in one table, DUTIES, of
 * which both engine_advance() and engine_next() are made: what is served at its time is also what the
 * caller wakes up for.
 */
#include "session/impl.h"

void timer_set(struct engine *e, struct session *s, enum session_timer t, uint64_t at)
{
	s->deadline[t] = at;
	if (!wheel_armed(&s->node) || s->node.at > at)
		wheel_set(e->wheel, &s->node, at);
}

void timer_off(struct session *s, enum session_timer t)
{
	s->deadline[t] = 0;
}

void timer_off_all(struct engine *e, struct session *s)
{
	for (int t = 0; t < TIMER_COUNT; t++)
		s->deadline[t] = 0;
	wheel_cancel(e->wheel, &s->node);
}

/* The life timer says different things at different times of life. True: the session was ended or freed. */
static bool life_expired(struct engine *e, struct session *s, uint64_t now)
{
	if (session_observing(s) || (s->events & EV_ENDED)) {
		session_free(e, s);
		return true;
	}
	if (!(s->events & (EV_CLIENT_ACKED | EV_JOINED)))
		session_end(e, s, OUTCOME_HALF_OPEN, now);
	else
		unseen_life_over(e, s, now);
	return s->events & EV_ENDED;
}

/* True when the session did not survive it. */
static bool expired(struct engine *e, struct session *s, enum session_timer t, uint64_t now)
{
	switch (t) {
	case TIMER_RTX:
		if (timer_on(s, TIMER_RESET)) { /* the target has gone */
			timer_set(e, s, t, s->deadline[TIMER_RESET]);
			return false;
		}
		loss_timeout(e, s, now);
		return s->events & EV_ENDED;
	case TIMER_PERSIST:
		if (timer_on(s, TIMER_RESET))
			return false;
		output_window_probe(e, s, now);
		return s->events & EV_ENDED;
	case TIMER_ACK:
		s->ack_now = true;
		return false;
	case TIMER_HOLD:
	case TIMER_PAUSE:
		return false; /* session_step() looks at the turn */
	case TIMER_HOLE:
		hole_timeout(e, s, now);
		return s->events & EV_ENDED;
	case TIMER_DOUBT:
		doubt_timeout(e, s, now);
		return s->events & EV_ENDED;
	case TIMER_RESET:
		handover_reset(e, s, now);
		return s->events & EV_ENDED;
	case TIMER_WAIT:
		if (s->start_at) {
			session_start(e, s, now);
			return false;
		}
		/* the predecessor had its time; its end starts this session */
		if (s->pred && !(s->pred->events & EV_ENDED))
			session_end(e, s->pred,
				    s->pred->events & EV_CUT ? s->pred->outcome : OUTCOME_PORT_REUSED, now);
		return false;
	case TIMER_LIFE:
		return life_expired(e, s, now);
	case TIMER_COUNT:
		break;
	}
	return false;
}

static void node_fired(struct wheel_node *n, uint64_t now, void *arg)
{
	struct engine *e = arg;
	struct session *s = CONTAINER_OF(n, struct session, node);
	uint64_t next = 0;
	bool any = false;

	output_mtu(e, s); /* the timers send, too */
	for (int t = 0; t < TIMER_COUNT; t++) {
		if (!s->deadline[t] || s->deadline[t] > now)
			continue;
		s->deadline[t] = 0;
		any = true;
		if (expired(e, s, (enum session_timer)t, now))
			return; /* freed, or session_end() has armed what comes next */
	}
	for (int t = 0; t < TIMER_COUNT; t++)
		if (s->deadline[t] && (!next || s->deadline[t] < next))
			next = s->deadline[t];
	if (next)
		wheel_set(e->wheel, &s->node, next);
	if (any)
		session_step(e, s, now);
}

static void serve_sessions(struct engine *e, uint64_t now)
{
	wheel_advance(e->wheel, now, ADVANCE_AT_ONCE, node_fired, e);
}

static void trim(struct engine *e, uint64_t now)
{
	bool more = pool_trim(e->pool);

	e->trim_at = pool_trim(e->store) || more ? now + TRIM_PERIOD : UINT64_MAX;
}

/*
 * What the engine does when its time has come: when that is (ns; UINT64_MAX: not at all), and what does it.
 * Each of them moves its own time on. They are served in this order.
 */
#define DUTIES(X)                                                                                            \
	X(wheel_next(e->wheel), serve_sessions)                                                              \
	X(e->announce_at, session_announce)                                                                  \
	X(e->sweep_at, unseen_sweep)                                                                         \
	X(e->patrol_at, unseen_patrol)                                                                       \
	X(e->overdue_at, question_overdue)                                                                   \
	X(e->trim_at, trim)

static inline uint64_t earlier(uint64_t a, uint64_t b)
{
	return MIN(a, b);
}

void engine_advance(struct engine *e, uint64_t now)
{
#define X(at, serve)                                                                                         \
	if (now >= (at))                                                                                     \
		serve(e, now);
	DUTIES(X)
#undef X
}

uint64_t engine_next(const struct engine *e)
{
	uint64_t next = UINT64_MAX;

#define X(at, serve) next = earlier(next, at);
	DUTIES(X)
#undef X
	return next;
}
