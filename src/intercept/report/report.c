/*
 * Reports of intercept - theory of operation
 *
 * In: the accounts of all workers, collected when a report is due (program/reporter.c). Out: the text and the
 * JSON of the report. The numbers of the previous report are kept, and rates are computed from the
 * differences.
 */
#include "intercept/report/report.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "program/log.h"
#include "intercept/report/account.h"

typedef unsigned long long ull;

struct report {
	struct reporter reporter;
	struct workers *workers;
	uint64_t now[ACCOUNT_ROWS], since[ACCOUNT_ROWS];
};

static struct report *report_of(struct reporter *r)
{
	return CONTAINER_OF(r, struct report, reporter);
}

static void collect(struct reporter *reporter, bool keep)
{
	struct report *r = report_of(reporter);

	if (keep)
		memcpy(r->since, r->now, sizeof(r->since));
	memset(r->now, 0, sizeof(r->now));
	workers_collect(r->workers, account_collect, r->now);
	r->now[ROW_LOG_suppressed] = log_lines_suppressed();
	r->now[ROW_LOG_dropped] = log_lines_dropped();
}

/* ns that rates are counted over */
static uint64_t passed(const struct report *r)
{
	return r->reporter.at - r->reporter.since;
}

static double rate(const struct report *r, unsigned row)
{
	return passed(r) ? (double)(r->now[row] - r->since[row]) / ((double)passed(r) / 1e9) : 0;
}

static int add_json(struct reporter *reporter, json_t *all)
{
	const struct report *r = report_of(reporter);
	json_t *rates = json_pack("{s:f, s:f, s:f}", "seconds", (double)passed(r) / 1e9, "captured_packets",
				  rate(r, ROW_CAPTURE_packets), "records", rate(r, ROW_SEGMENTS_forwarded));

	return json_object_set_new(all, "rates", rates) ||
			       json_object_update_new(all, account_json(&account_table, r->now))
		       ? -1
		       : 0;
}

static void print_line(struct reporter *reporter, FILE *to)
{
	const struct report *r = report_of(reporter);
	const uint64_t *row = r->now;

	fprintf(to,
		"%llu watches of %llu connections, captured %.0f packets/s, sent %.0f records/s; "
		"merged %llu, dropped %llu, unowned %llu, kernel drops %llu\n",
		(ull)row[ROW_WAITING_watches], (ull)row[ROW_WAITING_peers], rate(r, ROW_CAPTURE_packets),
		rate(r, ROW_SEGMENTS_forwarded), (ull)row[ROW_SEGMENTS_merged],
		(ull)row[ROW_SEGMENTS_dropped], (ull)row[ROW_SEGMENTS_unowned],
		(ull)row[ROW_CAPTURE_kernel_drops]);
}

static void print_account(struct reporter *reporter, FILE *to)
{
	const uint64_t *row = report_of(reporter)->now;

	fprintf(to, "report: %llu packets captured, %llu dropped by the kernel, %llu live watches\n",
		(ull)row[ROW_CAPTURE_packets], (ull)row[ROW_CAPTURE_kernel_drops],
		(ull)row[ROW_WAITING_watches]);
	account_print(&account_table, row, to);
}

static void print_screen(struct reporter *reporter, FILE *to)
{
	fprintf(to, "intercept      pid %d, %llu s old\n", (int)getpid(),
		(ull)((reporter->at - reporter->started) / NS_PER_SEC));
	print_line(reporter, to);
	account_print(&account_table, report_of(reporter)->now, to);
}

static const struct reporter_ops ops = {
	.program = "intercept",
	.collect = collect,
	.line = print_line,
	.account = print_account,
	.screen = print_screen,
	.json = add_json,
};

struct reporter *report_new(struct workers *w)
{
	struct report *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->reporter.ops = &ops;
	r->workers = w;
	return &r->reporter;
}
