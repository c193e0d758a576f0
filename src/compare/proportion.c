/*
 * Shares - theory of operation
 *
 * In: how many exchanges there were, how many of them differed, and on how many connections. Out: an interval
 * for the share, and what a rule makes of it.
 *
 * The bounds are those of Clopper and Pearson: the lower one is the probability with which so many hits or
 * more come in half of the error only, the upper one that with which so many or fewer do. Tails of the
 * binomial distribution are the incomplete beta function, here as its continued fraction; the bounds are
 * found by bisection.
 *
 * A pool of a few connections carries millions of exchanges, and if one answer differs because of the state
 * of its connection, those behind it will, too. So exchanges alone would claim too much, and connections
 * alone, of which there are 50, could not say anything about 0.1 %. Both are asked and the wider interval is
 * taken. Without a hit both say the same: 0 of N is below 3.7/N with 95 % on both sides.
 */
#include "compare/proportion.h"

#include <math.h>

#include "base/util.h"

#define HALVINGS 200
#define TERMS 10000

/* For who asks after every hit: each time is a chance to be wrong. */
#define PASSED_CONFIDENCE 0.9995

/* The continued fraction of the incomplete beta function, by Lentz's method. */
static double fraction(double a, double b, double x)
{
	const double tiny = 1e-300;
	double c = 1, d = 1 - (a + b) * x / (a + 1), f;

	d = 1 / (fabs(d) < tiny ? tiny : d);
	f = d;
	for (unsigned m = 1; m < TERMS; m++) {
		const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
		const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
		double step;

		d = 1 + even * d;
		c = 1 + even / c;
		d = 1 / (fabs(d) < tiny ? tiny : d);
		c = fabs(c) < tiny ? tiny : c;
		f *= d * c;
		d = 1 + odd * d;
		c = 1 + odd / c;
		d = 1 / (fabs(d) < tiny ? tiny : d);
		c = fabs(c) < tiny ? tiny : c;
		step = d * c;
		f *= step;
		if (fabs(step - 1) < 1e-13)
			break;
	}
	return f;
}

static double log_gamma(double x)
{
	int sign;

	return lgamma_r(x, &sign); /* lgamma() writes a global */
}

/* The incomplete beta function, regularised: of @a + @b - 1 trials at @x each, @a or more succeed. */
static double beta(double a, double b, double x)
{
	double front;

	if (x <= 0 || x >= 1)
		return x >= 1;
	front = exp(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * log(x) + b * log1p(-x));
	if (x < (a + 1) / (a + b + 2))
		return front * fraction(a, b, x) / a;
	return 1 - front * fraction(b, a, 1 - x) / b;
}

/* The x for which beta() is @p. */
static double inverse(double a, double b, double p)
{
	double low = 0, high = 1;

	for (unsigned i = 0; i < HALVINGS && high - low > 1e-12 * high; i++) {
		const double middle = (low + high) / 2;

		if (beta(a, b, middle) < p)
			low = middle;
		else
			high = middle;
	}
	return (low + high) / 2;
}

struct rule_interval proportion_exact(uint64_t hits, uint64_t all, double confidence)
{
	const double k = (double)hits, n = (double)all, error = (1 - confidence) / 2;
	struct rule_interval i = { .value = all ? k / n : 0, .low = 0, .high = 1 };

	if (hits)
		i.low = inverse(k, n - k + 1, error);
	if (hits < all)
		i.high = inverse(k + 1, n - k, 1 - error);
	return i;
}

struct rule_interval proportion_interval(const struct proportion *p, double confidence)
{
	const struct rule_interval each = proportion_exact(p->hits, p->exchanges, confidence);
	struct rule_interval by = proportion_exact(p->hit, p->connections, confidence);
	double scale; /* exchanges that differ on a connection that has some, of those on any connection */

	if (!p->exchanges || !p->connections)
		return each;
	scale = (double)p->connections / (double)p->exchanges;
	if (p->hit)
		scale *= (double)p->hits / (double)p->hit;
	by.low *= scale;
	by.high *= scale;
	return (struct rule_interval){ .value = each.value,
				       .low = MIN(each.low, by.low),
				       .high = MIN(MAX(each.high, by.high), 1) };
}

void proportion_judge(const struct proportion *p, double limit, double confidence, uint64_t span,
		      struct rule_result *r)
{
	double times;

	*r = (struct rule_result){ .reason = RULE_DECIDED };
	r->ratio = proportion_interval(p, confidence);
	if (p->exchanges && r->ratio.low > limit) {
		r->verdict = VERDICT_FAIL;
	} else if (p->exchanges && r->ratio.high <= limit) {
		r->verdict = VERDICT_PASS;
	} else {
		/* without a hit the bound falls with the time, else with its root */
		times = p->hits ? (r->ratio.high - r->ratio.low) / 2 / fabs(r->ratio.value - limit)
				: r->ratio.high / limit;
		r->verdict = VERDICT_UNDECIDED;
		r->reason = p->exchanges ? RULE_WIDE : RULE_UNSEEN;
		r->more = p->exchanges ? rule_until(p->hits ? times * times : times, span) : RULE_NEVER;
	}
}

bool proportion_passed(const struct proportion *p, double limit)
{
	return p->hits && proportion_interval(p, PASSED_CONFIDENCE).low > limit;
}
