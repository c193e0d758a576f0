/*
 * Two servers, simulated. A time is 300 us, four times that for one request of ten, spread by a log-normal
 * factor and by the server's load; one of a hundred takes five times as long. The load is an autoregressive
 * process: where it is high now it is high soon, so neighbouring times are not independent, which is what
 * makes verdicts hard. A server may also pause, and what arrives meanwhile waits.
 */
#include "traffic_model.h"

#include <math.h>

#include "base/util.h"

#define RULES 5 /* that decide by default: p50, p99, differ, errors, silent */
#define LIMIT 1.10
#define SPREAD 0.3       /* of the logarithm of a time */
#define STEP 0.005       /* s, between moves of the load */
#define RESOLUTION 20000 /* ns, the least there is */

static double uniform(struct traffic_state *s)
{
	uint64_t z = s->seed += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	z ^= z >> 31;
	return ((double)(z >> 11) + 0.5) / 9007199254740992.0;
}

/* Box and Muller's pairs. */
static double normal(struct traffic_state *s)
{
	double radius, angle;

	if (s->has_spare) {
		s->has_spare = false;
		return s->spare;
	}
	radius = sqrt(-2 * log(uniform(s)));
	angle = 2 * M_PI * uniform(s);
	s->spare = radius * sin(angle);
	s->has_spare = true;
	return radius * cos(angle);
}

static double waiting(struct traffic_state *s, double rate)
{
	return rate > 0 ? -log(uniform(s)) / rate : INFINITY;
}

/* exp(0.3 z) at the quantiles of the normal distribution, found by adding up its density. */
static void make_factors(struct traffic_state *s)
{
	const double step = 1e-4;
	double z = -4, below = 0;

	for (unsigned i = 0; i < TRAFFIC_FACTORS; i++) {
		const double want = (i + 0.5) / TRAFFIC_FACTORS;

		for (; below < want && z < 4; z += step)
			below += exp(-z * z / 2) * step / sqrt(2 * M_PI);
		s->factor[i] = exp(SPREAD * z);
	}
}

/* The load at s->now. */
static void move(struct traffic_state *s)
{
	const double keep = exp(-STEP / s->t->tau), add = sqrt(1 - keep * keep);

	while (s->moved + STEP <= s->now) {
		s->moved += STEP;
		s->common = keep * s->common + add * normal(s);
		for (unsigned side = 0; side < BLOCKS_SIDES; side++) {
			struct traffic_server *server = &s->server[side];
			double load;

			server->load = keep * server->load + add * normal(s);
			load = sqrt(s->t->common) * s->common + sqrt(1 - s->t->common) * server->load;
			server->slowed = exp(s->t->sd * load);
		}
	}
}

void traffic_begin(struct traffic_state *s, const struct traffic *t, uint64_t seed)
{
	*s = (struct traffic_state){ .t = t, .seed = seed * 0xd1342543de82ef95ull + 1, .moved = -STEP };
	make_factors(s);
	s->common = normal(s);
	for (unsigned side = 0; side < BLOCKS_SIDES; side++) {
		s->server[side].load = normal(s);
		s->server[side].pause_begins = waiting(s, t->pauses);
	}
}

static double time_of(struct traffic_state *s, struct traffic_server *server, bool slow, bool target)
{
	const unsigned luck = (unsigned)(uniform(s) * TRAFFIC_FACTORS);
	double us = 300 * (slow ? 4 : 1) * server->slowed * s->factor[luck];

	if (uniform(s) < 0.01)
		us *= 5 * (target ? s->t->tail : 1);
	if (target)
		us *= s->t->slower;
	while (s->now > server->pause_begins) {
		server->pause = server->pause_begins + 0.02 + 0.08 * uniform(s);
		server->pause_begins = server->pause + waiting(s, s->t->pauses);
	}
	if (s->now < server->pause)
		us += (server->pause - s->now) * 1e6;
	return us;
}

uint64_t traffic_next(struct traffic_state *s, struct blocks_times *times)
{
	const bool slow = uniform(s) < 0.1;

	s->now += waiting(s, s->t->rate);
	move(s);
	for (unsigned side = 0; side < BLOCKS_SIDES; side++) {
		const double us = time_of(s, &s->server[side], slow, side == BLOCKS_TARGET);

		for (unsigned m = 0; m < BLOCKS_METRIC_COUNT; m++)
			times->ns[side][m] = (uint64_t)(us * NS_PER_US);
	}
	return (uint64_t)(s->now * NS_PER_SEC);
}

void traffic_judge(const struct blocks *b, double confidence, struct rule_work *w, struct traffic_verdict *v)
{
	struct rule_quantile q = { .quantile = 0.5, .limit = LIMIT, .resolution = RESOLUTION };

	confidence = rule_confidence(confidence, RULES);
	blocks_view(b, BLOCKS_TOTAL, BLOCKS_LAST, &w->view);
	v->judged = w->view.span;
	rule_judge(w, &q, confidence, &v->p50);
	q.quantile = 0.99;
	blocks_view(b, BLOCKS_TOTAL, BLOCKS_LAST, &w->view);
	rule_judge(w, &q, confidence, &v->p99);
	if (v->p50.verdict == VERDICT_FAIL || v->p99.verdict == VERDICT_FAIL)
		v->both = VERDICT_FAIL;
	else
		v->both = v->p50.verdict == VERDICT_PASS ? v->p99.verdict : v->p50.verdict;
}

void traffic_run(const struct traffic *t, uint64_t seed, double seconds, void *memory, struct rule_work *w,
		 struct traffic_verdict *at_end, struct traffic_verdict *when_decided)
{
	struct blocks *b = blocks_init(memory, 0, 0, BLOCKS_LENGTH);
	const uint64_t end = (uint64_t)(seconds * NS_PER_SEC);
	struct blocks_times times;
	struct traffic_state s;
	bool decided = false;
	uint64_t next = 0;

	traffic_begin(&s, t, seed);
	for (;;) {
		const uint64_t now = traffic_next(&s, &times);

		blocks_advance(b, MIN(now, end));
		if (when_decided && !decided &&
		    rule_look(&next, blocks_count(b) * blocks_length(b), blocks_length(b))) {
			traffic_judge(b, RULE_LOOK_CONFIDENCE, w, when_decided);
			decided = when_decided->both != VERDICT_UNDECIDED;
		}
		if (now >= end)
			break;
		blocks_add(b, now, BLOCKS_TOTAL, &times);
	}
	blocks_end(b, end);
	traffic_judge(b, RULE_CONFIDENCE, w, at_end);
	if (when_decided && !decided)
		traffic_judge(b, RULE_LOOK_CONFIDENCE, w, when_decided);
}
