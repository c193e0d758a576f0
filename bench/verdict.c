/*
 * How often is a verdict wrong? Simulated runs of two servers (test/unit/traffic_model.h), a thousand for
 * each row of the table below, judged by the rules as they are. In the first rows the servers are equal: FAIL
 * is a false alarm. In the others the target is slower: PASS is a miss. UNDECIDED stands beside both, for a
 * rule that never decides is never wrong.
 *
 *     build/bench/verdict [--runs 1000] [--long-runs 1000] [--from 1] [--jobs 1] [--out DIR]
 *
 * prints the table (rows of more than a minute have --long-runs; --from is the first row), and writes
 * verdict.md and verdict.json into DIR.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "base/util.h"
#include "traffic_model.h"

#define JOBS 16

struct row {
	struct traffic traffic;
	double seconds;
};

/* tau, sd, common, pauses/s, exchanges/s, slower, tail; seconds */
static const struct row table[] = {
	{ { 0.5, 0.2, 0.5, 0, 1000, 1, 1 }, 60 },    { { 0.5, 0.3, 0, 0.5, 2000, 1, 1 }, 60 },
	{ { 5, 0.3, 0, 0.05, 2000, 1, 1 }, 60 },     { { 5, 0.2, 0.5, 0.05, 1000, 1, 1 }, 60 },
	{ { 5, 0.2, 0.5, 0.05, 1000, 1, 1 }, 300 },  { { 5, 0.2, 0.5, 0.05, 1000, 1, 1 }, 900 },
	{ { 5, 0.3, 0, 0.05, 2000, 1, 1 }, 300 },    { { 5, 0.3, 0.8, 0, 2000, 1, 1 }, 300 },
	{ { 0.5, 0.1, 0.5, 0, 1000, 1.2, 1 }, 300 }, { { 0.5, 0.2, 0.5, 0, 1000, 1.3, 1 }, 60 },
	{ { 0.5, 0.2, 0.5, 0, 1000, 1.3, 1 }, 300 }, { { 5, 0.2, 0.5, 0, 1000, 1.3, 1 }, 60 },
	{ { 5, 0.2, 0.5, 0, 1000, 1.3, 1 }, 300 },   { { 5, 0.2, 0.5, 0, 1000, 1.3, 1 }, 900 },
	{ { 0.5, 0.1, 0.5, 0, 1000, 1, 2 }, 300 },   { { 5, 0.1, 0.5, 0, 1000, 1, 2 }, 300 },
};

struct tally {
	unsigned both[VERDICT_COUNT], p50[VERDICT_COUNT], p99[VERDICT_COUNT], looked[VERDICT_COUNT];
	unsigned why[RULE_REASON_COUNT]; /* of p99 */
	double seconds;                  /* that a run took which ends when it is decided */
};

struct job {
	pthread_t thread;
	const struct row *row;
	unsigned first, step, runs;
	void *memory;
	struct rule_work *work;
	struct tally tally;
};

static void *work_on(void *arg)
{
	struct job *j = arg;

	memset(&j->tally, 0, sizeof(j->tally));
	for (unsigned seed = 1 + j->first; seed <= j->runs; seed += j->step) {
		struct traffic_verdict end, decided = { .judged = 0 };

		traffic_run(&j->row->traffic, seed, j->row->seconds, j->memory, j->work, &end, &decided);
		j->tally.both[end.both]++;
		j->tally.p50[end.p50.verdict]++;
		j->tally.p99[end.p99.verdict]++;
		j->tally.why[end.p99.reason]++;
		j->tally.looked[decided.both]++;
		j->tally.seconds += (double)decided.judged / NS_PER_SEC;
	}
	return NULL;
}

static void run_row(struct job *jobs, unsigned count, const struct row *row, unsigned runs, struct tally *sum)
{
	memset(sum, 0, sizeof(*sum));
	for (unsigned i = 0; i < count; i++) {
		jobs[i].row = row;
		jobs[i].first = i;
		jobs[i].step = count;
		jobs[i].runs = runs;
		if (pthread_create(&jobs[i].thread, NULL, work_on, &jobs[i]) != 0) {
			fprintf(stderr, "verdict: cannot start a thread\n");
			exit(1);
		}
	}
	for (unsigned i = 0; i < count; i++) {
		const struct tally *t = &jobs[i].tally;

		pthread_join(jobs[i].thread, NULL);
		for (unsigned v = 0; v < VERDICT_COUNT; v++) {
			sum->both[v] += t->both[v];
			sum->p50[v] += t->p50[v];
			sum->p99[v] += t->p99[v];
			sum->looked[v] += t->looked[v];
		}
		for (unsigned r = 0; r < RULE_REASON_COUNT; r++)
			sum->why[r] += t->why[r];
		sum->seconds += t->seconds / runs;
	}
}

static void shares(FILE *f, const unsigned *v, unsigned runs)
{
	fprintf(f, " %.1f / %.1f / %.1f |", 100.0 * v[VERDICT_PASS] / runs, 100.0 * v[VERDICT_FAIL] / runs,
		100.0 * v[VERDICT_UNDECIDED] / runs);
}

static void head(FILE *f)
{
	fprintf(f,
		"# How often is a verdict wrong?\n\nSimulated runs; PASS / FAIL / UNDECIDED in %%. Load remembers itself for\n"
		"*tau* and spreads by *sd* (of the logarithm), *common* of its variance is that of both servers. Limit 1.10x, p50 and\n"
		"p99, intervals of 95 %% for all five rules together. *When decided*: at the first look that decides, with 99 %%, and\n"
		"how long that took on average.\n\n"
		"| target | tau, sd, common, pauses/s | exchanges/s | runs | verdict | p50 | p99 | when decided | after |\n"
		"|---|---|---|---|---|---|---|---|---|\n");
}

static void markdown(FILE *f, const struct row *row, const struct tally *t, unsigned runs)
{
	const struct traffic *m = &row->traffic;

	fprintf(f, "| ");
	if (m->slower > 1)
		fprintf(f, "%gx slower", m->slower);
	else if (m->tail > 1)
		fprintf(f, "slowest 1 %% %gx slower", m->tail);
	else
		fprintf(f, "equal");
	fprintf(f, " | %g s, %g, %g, %g | %g | %g s |", m->tau, m->sd, m->common, m->pauses, m->rate,
		row->seconds);
	shares(f, t->both, runs);
	shares(f, t->p50, runs);
	shares(f, t->p99, runs);
	shares(f, t->looked, runs);
	fprintf(f, " %.0f s |\n", t->seconds);
	fflush(f);
}

static void counts(FILE *f, const char *name, const unsigned *v)
{
	fprintf(f, ", \"%s\": {\"pass\": %u, \"fail\": %u, \"undecided\": %u}", name, v[VERDICT_PASS],
		v[VERDICT_FAIL], v[VERDICT_UNDECIDED]);
}

static void json(FILE *f, const struct row *row, const struct tally *t, bool first)
{
	const struct traffic *m = &row->traffic;

	fprintf(f,
		"%s  {\"slower\": %g, \"tail\": %g, \"tau\": %g, \"sd\": %g, \"common\": %g, \"pauses\": %g, \"rate\": %g, "
		"\"seconds\": %g",
		first ? "" : ",\n", m->slower, m->tail, m->tau, m->sd, m->common, m->pauses, m->rate,
		row->seconds);
	counts(f, "verdict", t->both);
	counts(f, "p50", t->p50);
	counts(f, "p99", t->p99);
	counts(f, "when_decided", t->looked);
	fprintf(f, ", \"decided_after\": %.1f, \"p99_reasons\": {", t->seconds);
	for (unsigned r = 0, any = 0; r < RULE_REASON_COUNT; r++) {
		if (t->why[r])
			fprintf(f, "%s\"%s\": %u", any++ ? ", " : "", rule_reason_name(r), t->why[r]);
	}
	fprintf(f, "}}");
	fflush(f);
}

static FILE *create(const char *directory, const char *name)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	f = fopen(path, "w");
	if (!f) {
		perror(path);
		exit(1);
	}
	return f;
}

static uint64_t number(const char *option, const char *value, uint64_t most)
{
	const char *why;
	uint64_t n;

	why = value ? number_parse(value, 1, most, &n) : "a number is missing";
	if (!why)
		return n;
	fprintf(stderr, "verdict: option %s \"%s\": %s\n", option, value ? value : "", why);
	exit(2);
}

int main(int argc, char **argv)
{
	static struct job jobs[JOBS];
	unsigned runs = 1000, long_runs = 0, from = 1, count = 1;
	const char *out = NULL;
	FILE *md = NULL, *js = NULL;

	for (int i = 1; i < argc; i += 2) {
		if (strcmp(argv[i], "--runs") == 0) {
			runs = (unsigned)number(argv[i], argv[i + 1], 1000000);
		} else if (strcmp(argv[i], "--long-runs") == 0) {
			long_runs = (unsigned)number(argv[i], argv[i + 1], 1000000);
		} else if (strcmp(argv[i], "--from") == 0) {
			from = (unsigned)number(argv[i], argv[i + 1], ARRAY_SIZE(table));
		} else if (strcmp(argv[i], "--jobs") == 0) {
			count = (unsigned)number(argv[i], argv[i + 1], JOBS);
		} else if (strcmp(argv[i], "--out") == 0 && argv[i + 1]) {
			out = argv[i + 1];
		} else {
			fprintf(stderr,
				"usage: verdict [--runs N] [--long-runs N] [--from N] [--jobs N] [--out DIR]\n");
			return 2;
		}
	}
	for (unsigned i = 0; i < count; i++) {
		jobs[i].memory = malloc(blocks_size(0));
		jobs[i].work = malloc(sizeof(*jobs[i].work));
		if (!jobs[i].memory || !jobs[i].work)
			return 1;
	}
	if (out) {
		md = create(out, "verdict.md");
		js = create(out, "verdict.json");
		head(md);
		fprintf(js, "{\"rows\": [\n");
	}
	head(stdout);
	for (size_t i = from - 1; i < ARRAY_SIZE(table); i++) {
		const unsigned n = table[i].seconds > 60 && long_runs ? long_runs : runs;
		struct tally t;

		run_row(jobs, count, &table[i], n, &t);
		markdown(stdout, &table[i], &t, n);
		if (out) {
			markdown(md, &table[i], &t, n);
			json(js, &table[i], &t, i == from - 1);
		}
	}
	if (out) {
		fprintf(js, "\n]}\n");
		fclose(md);
		fclose(js);
	}
	for (unsigned i = 0; i < count; i++) {
		free(jobs[i].memory);
		free(jobs[i].work);
	}
	return 0;
}
