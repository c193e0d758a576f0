/*
 * The rule on times - theory of operation
 *
 * In: for each block of time the histograms of both sides. Out: PASS, FAIL or UNDECIDED for a quantile of
 * them, with the interval that says why.
 *
 * A bootstrap over blocks: as many blocks are drawn as there are, with replacement and the same ones for both
 * sides, so what slows both down cancels. Their histograms are added up and the ratio of the quantiles taken;
 * the interval is where the middle 95 % of 4000 such ratios lie. A request is no sample: neighbours share
 * their luck, and a test over single requests calls two equal servers different nine times of ten.
 *
 * For the same reason blocks must be independent. While the log ratios of neighbouring blocks go together
 * (lag-1 autocorrelation above 0.2), blocks are merged in pairs. Where fewer than 20 remain, the answer is
 * that the run is too short, and how long it would have to be. The autocorrelation is one of ranks: a few
 * pauses make blocks so different that nothing else would be seen beside them. And it is asked at the median,
 * too, where the load shows clearest: at p99 the luck of the few hides it. Without these two a tenth of short
 * runs of equal servers whose load changes slowly would fail (bench/verdict.c).
 *
 * Blocks are kept as cumulative counts. A resample is a weight for each block, so the count below a bucket is
 * one sum of products, and its quantile is found by bisection: no histogram is ever added up.
 */
#include "compare/rule.h"

#include <math.h>
#include <string.h>

#include "base/util.h"

/* Nobody waits longer for a verdict. */
#define FORESEEN (30ull * 24 * 3600 * NS_PER_SEC)

/* Blocks whose log ratios vary by less vary by rounding. */
#define SAME 1e-5

/* A resample: how often each block was drawn. */
struct weights {
	uint64_t of[BLOCKS_MOST];
};

/* splitmix64, always from the same seed: judged again, a run gets the same verdict. */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static void draw(struct weights *w, unsigned blocks, uint64_t *state)
{
	memset(w, 0, sizeof(*w));
	for (unsigned i = 0; i < blocks; i++)
		w->of[(unsigned)(((next_random(state) >> 32) * blocks) >> 32)]++;
}

static uint64_t weighted(const uint64_t *at_most, const struct weights *w, unsigned blocks)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < blocks; i++)
		sum += at_most[i] * w->of[i];
	return sum;
}

/* The quantile of one side in ns, interpolated inside its bucket. */
static double quantile_of(const struct blocks_view *v, enum blocks_side side, const struct weights *w,
			  double q)
{
	const uint64_t(*at_most)[BLOCKS_MOST] = v->at_most[side];
	const uint64_t all = weighted(at_most[SCALE_NEVER], w, v->blocks);
	const uint64_t rank = MIN((uint64_t)(q * (double)all), all - 1);
	unsigned low = 0, high = SCALE_NEVER;
	uint64_t below, until;

	while (low < high) {
		const unsigned middle = (low + high) / 2;

		if (weighted(at_most[middle], w, v->blocks) > rank)
			high = middle;
		else
			low = middle + 1;
	}
	below = low ? weighted(at_most[low - 1], w, v->blocks) : 0;
	until = weighted(at_most[low], w, v->blocks);
	return scale_lower(low) + scale_width(low) * ((double)(rank - below) + 0.5) / (double)(until - below);
}

static void all_blocks(struct weights *w, unsigned blocks)
{
	memset(w, 0, sizeof(*w));
	for (unsigned i = 0; i < blocks; i++)
		w->of[i] = 1;
}

static double mean_square(const double *x, unsigned count, double mean)
{
	double sum = 0;

	for (unsigned i = 0; i < count; i++)
		sum += (x[i] - mean) * (x[i] - mean);
	return sum / count;
}

/* Each value becomes its rank, 0 to @count - 1; equal ones share theirs. */
static void ranks(double *x, unsigned count)
{
	double rank[BLOCKS_MOST] = { 0 };

	for (unsigned i = 0; i < count; i++) {
		rank[i] = -0.5;
		for (unsigned k = 0; k < count; k++)
			rank[i] += x[k] < x[i] ? 1 : x[k] == x[i] ? 0.5 : 0;
	}
	memcpy(x, rank, count * sizeof(*x));
}

/*
 * Lag-1 autocorrelation of the ranks of the blocks' log ratios (log times) at quantile @q: 1 if neighbours go
 * together.
 */
static double dependence_at(const struct blocks_view *v, bool absolute, double q)
{
	double x[BLOCKS_MOST], mean = 0, square = 0, product = 0;

	for (unsigned i = 0; i < v->blocks; i++) {
		struct weights one = { .of = { 0 } };

		one.of[i] = 1;
		x[i] = log(quantile_of(v, BLOCKS_TARGET, &one, q));
		if (!absolute)
			x[i] -= log(quantile_of(v, BLOCKS_ONLINE, &one, q));
		mean += x[i] / v->blocks;
	}
	if (mean_square(x, v->blocks, mean) <= SAME * SAME)
		return 0;
	ranks(x, v->blocks);
	mean = (v->blocks - 1) / 2.0;
	for (unsigned i = 0; i < v->blocks; i++) {
		square += (x[i] - mean) * (x[i] - mean);
		if (i)
			product += (x[i] - mean) * (x[i - 1] - mean);
	}
	return product / square;
}

static double dependence(const struct blocks_view *v, const struct rule_quantile *q)
{
	const double own = dependence_at(v, q->absolute, q->quantile),
		     middle = dependence_at(v, q->absolute, 0.5);

	return MAX(own, middle);
}

/* Shell's sort: the core has no other, and a few thousand values are little. */
static void sort(double *x, unsigned count)
{
	static const unsigned gaps[] = { 1750, 701, 301, 132, 57, 23, 10, 4, 1 };

	for (unsigned g = 0; g < ARRAY_SIZE(gaps); g++) {
		for (unsigned i = gaps[g]; i < count; i++) {
			const double value = x[i];
			unsigned k = i;

			for (; k >= gaps[g] && x[k - gaps[g]] > value; k -= gaps[g])
				x[k] = x[k - gaps[g]];
			x[k] = value;
		}
	}
}

static void interval(struct rule_interval *i, double *sample, double confidence)
{
	const unsigned out = (unsigned)((1 - confidence) / 2 * RULE_RESAMPLES);

	sort(sample, RULE_RESAMPLES);
	i->low = sample[out];
	i->high = sample[RULE_RESAMPLES - 1 - out];
}

static void resample(struct rule_work *w, const struct rule_quantile *q, double confidence,
		     struct rule_result *r)
{
	const struct blocks_view *v = &w->view;
	struct weights weights;
	uint64_t state = 1;

	for (unsigned i = 0; i < RULE_RESAMPLES; i++) {
		double online, target;

		draw(&weights, v->blocks, &state);
		online = quantile_of(v, BLOCKS_ONLINE, &weights, q->quantile);
		target = quantile_of(v, BLOCKS_TARGET, &weights, q->quantile);
		w->ratio[i] = q->absolute ? target : target / online;
		w->difference[i] = target - online;
	}
	interval(&r->ratio, w->ratio, confidence);
	interval(&r->difference, w->difference, confidence);
}

uint64_t rule_until(double times, uint64_t span)
{
	const double more = (times - 1) * (double)span;

	return more < (double)FORESEEN ? (uint64_t)MAX(more, 0) : RULE_NEVER; /* NaN is never */
}

/*
 * An interval shrinks with the root of time: so much more until its half is as long as the way to the limit.
 */
static uint64_t until_narrow(double half, double distance, const struct rule_result *r, uint64_t span)
{
	const double times = half / distance;

	return MAX(rule_until(times * times, span), r->length);
}

static void undecided(struct rule_result *r, enum rule_reason why, uint64_t more)
{
	r->verdict = VERDICT_UNDECIDED;
	r->reason = why;
	r->more = more;
}

/* Is there enough, and are the blocks independent? They are merged on the way. */
static bool enough(struct blocks_view *v, const struct rule_quantile *q, struct rule_result *r)
{
	const double beyond = MIN(q->quantile, 1 - q->quantile) * (double)v->exchanges;

	/* the quotient is inexact: 0.01 of 2000 is 20 */
	if (beyond + 1e-6 < RULE_EXCEEDANCES) {
		undecided(r, RULE_FEW_EXCHANGES, rule_until(RULE_EXCEEDANCES / beyond, v->span));
		return false;
	}
	if (v->blocks < RULE_BLOCKS) {
		undecided(r, RULE_FEW_BLOCKS, (RULE_BLOCKS - v->blocks) * v->length);
		return false;
	}
	r->dependence = dependence(v, q);
	while (r->dependence > RULE_DEPENDENCE) {
		blocks_view_pair(v);
		r->blocks = v->blocks;
		r->length = v->length;
		if (v->blocks < RULE_BLOCKS) {
			const double blocks = (double)v->span / (double)v->length;

			undecided(r, RULE_DEPENDENT,
				  MAX(rule_until(RULE_BLOCKS / blocks, v->span), v->length));
			return false;
		}
		r->dependence = dependence(v, q);
	}
	return true;
}

static void decide(struct rule_result *r, const struct rule_quantile *q, uint64_t span)
{
	const struct rule_interval *a = &r->ratio, *d = &r->difference;
	const bool resolved =
		q->absolute || q->limit < 1; /* what has to be faster is not judged by the difference */
	const bool small = !resolved && d->high <= q->resolution;
	const bool large = resolved || d->low > q->resolution;

	r->reason = RULE_DECIDED;
	if (a->high <= q->limit || small) {
		r->verdict = VERDICT_PASS;
	} else if (a->low > q->limit && large) {
		r->verdict = VERDICT_FAIL;
	} else if (a->low > q->limit) {
		undecided(r, RULE_RESOLUTION,
			  until_narrow((d->high - d->low) / 2, fabs(d->value - q->resolution), r, span));
	} else {
		undecided(r, RULE_WIDE,
			  until_narrow(log(a->high / a->low) / 2, fabs(log(a->value / q->limit)), r, span));
	}
}

void rule_judge(struct rule_work *w, const struct rule_quantile *q, double confidence, struct rule_result *r)
{
	struct blocks_view *v = &w->view;
	struct weights weights;

	*r = (struct rule_result){ .blocks = v->blocks, .length = v->length };
	if (!v->blocks) {
		undecided(r, RULE_UNSEEN, RULE_NEVER);
		return;
	}
	all_blocks(&weights, v->blocks);
	r->online = quantile_of(v, BLOCKS_ONLINE, &weights, q->quantile);
	r->target = quantile_of(v, BLOCKS_TARGET, &weights, q->quantile);
	r->ratio.value = q->absolute ? r->target : r->target / r->online;
	r->difference.value = r->target - r->online;
	if (!enough(v, q, r))
		return;
	resample(w, q, confidence, r);
	decide(r, q, v->span);
}

double rule_confidence(double of_all, unsigned rules)
{
	return 1 - (1 - of_all) / MAX(rules, 1);
}

bool rule_look(uint64_t *next, uint64_t judged, uint64_t length)
{
	if (!*next)
		*next = RULE_BLOCKS * length;
	if (judged < *next)
		return false;
	*next = 2 * judged;
	return true;
}

#define NAME(id, name, text) #name,
#define TEXT(id, name, text) text,

const char *rule_verdict_name(enum verdict v)
{
	static const char *const names[VERDICT_COUNT] = { "PASS", "FAIL", "UNDECIDED" };

	return names[v];
}

const char *rule_reason_name(enum rule_reason r)
{
	static const char *const names[] = { RULE_REASONS(NAME) };

	return names[r];
}

const char *rule_reason_text(enum rule_reason r)
{
	static const char *const texts[] = { RULE_REASONS(TEXT) };

	return texts[r];
}
