/*
 * Reports of intercept - theory of operation
 *
 * In: the accounts of the workers, collected whenever a report is due. Out: log lines, the screen of
 * --status and the file of --report. The numbers of the previous report are kept, and rates are the
 * difference.
 */
#include "intercept/report/report.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "program/clock.h"
#include "program/log.h"
#include "program/replace.h"
#include "build/config.h"
#include "intercept/report/account.h"

typedef unsigned long long ull;

struct report {
	const struct config *config;
	struct workers *workers;
	struct replace *file;       /* of --report; NULL: none */
	uint64_t started, at, then; /* ns */
	uint64_t now_row[ACCOUNT_ROWS], then_row[ACCOUNT_ROWS];
};

struct report *report_open(const struct config *c, struct workers *w, char *err, size_t err_size)
{
	struct report *r = calloc(1, sizeof(*r));

	snprintf(err, err_size, "out of memory");
	if (!r)
		return NULL;
	r->config = c;
	r->workers = w;
	r->started = r->at = r->then = clock_now();
	if (!c->run.report_path[0])
		return r;
	r->file = replace_open_report(c->run.report_path, err, err_size);
	if (r->file)
		return r;
	free(r);
	return NULL;
}

void report_close(struct report *r)
{
	if (!r)
		return;
	replace_close(r->file);
	free(r);
}

static void collect(struct report *r)
{
	const uint64_t now = clock_now();

	if (now - r->at >= NS_PER_SEC / 2) {
		memcpy(r->then_row, r->now_row, sizeof(r->then_row));
		r->then = r->at;
	}
	r->at = now;
	memset(r->now_row, 0, sizeof(r->now_row));
	workers_collect(r->workers, account_collect, r->now_row);
	account_collect_process(r->now_row);
}

static double rate(const struct report *r, unsigned row)
{
	return r->at > r->then
		       ? (double)(r->now_row[row] - r->then_row[row]) / ((double)(r->at - r->then) / 1e9)
		       : 0;
}

static char *json_text(const struct report *r)
{
	char now[ACCOUNT_TIME_LEN], started[ACCOUNT_TIME_LEN], *text = NULL;
	json_t *all = account_json(&account_table, r->now_row);
	json_t *head = json_pack("{s:s, s:s, s:i, s:s, s:s, s:f, s:{s:f, s:f, s:f}}", "program", "intercept",
				 "version", VERSION, "pid", (int)getpid(), "started",
				 account_time(r->at - r->started, started), "time", account_time(0, now),
				 "uptime", (double)(r->at - r->started) / 1e9, "rates", "seconds",
				 (double)(r->at - r->then) / 1e9, "captured_packets",
				 rate(r, ROW_CAPTURE_packets), "records", rate(r, ROW_SEGMENTS_forwarded));

	if (all && head && !json_object_update(head, all))
		text = json_dumps(head, JSON_INDENT(1));
	json_decref(all);
	json_decref(head);
	return text;
}

static void write_file(const struct report *r)
{
	if (r->file)
		replace_report(r->file, r->config->run.report_path, json_text(r));
}

static void print_status(const struct report *r, FILE *to)
{
	const uint64_t *row = r->now_row;

	fprintf(to,
		"%llu watches of %llu connections, captured %.0f packets/s, sent %.0f records/s; "
		"merged %llu, dropped %llu, unowned %llu, kernel drops %llu\n",
		(ull)row[ROW_WAITING_watches], (ull)row[ROW_WAITING_peers], rate(r, ROW_CAPTURE_packets),
		rate(r, ROW_SEGMENTS_forwarded), (ull)row[ROW_SEGMENTS_merged],
		(ull)row[ROW_SEGMENTS_dropped], (ull)row[ROW_SEGMENTS_unowned],
		(ull)row[ROW_CAPTURE_kernel_drops]);
}

static char *text_of(const struct report *r, bool whole)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	if (!to)
		return NULL;
	if (whole)
		fprintf(to, "report: %llu packets captured, %llu dropped by the kernel, %llu live watches\n",
			(ull)r->now_row[ROW_CAPTURE_packets], (ull)r->now_row[ROW_CAPTURE_kernel_drops],
			(ull)r->now_row[ROW_WAITING_watches]);
	else
		print_status(r, to);
	if (whole)
		account_print(&account_table, r->now_row, to);
	return fclose(to) ? NULL : text;
}

void report_interval(struct report *r)
{
	collect(r);
	log_lines(text_of(r, false));
	write_file(r);
}

void report_account(struct report *r)
{
	collect(r);
	write_file(r); /* first: a reader who sees the account in the log finds it in the file as well */
	log_lines(text_of(r, true));
}

char *report_status(struct report *r, bool json)
{
	char *text = NULL;
	size_t size;
	FILE *to;

	collect(r);
	if (json)
		return json_text(r);
	to = open_memstream(&text, &size);
	if (!to)
		return NULL;
	fprintf(to, "intercept      pid %d, up %llu s\n", (int)getpid(),
		(ull)((r->at - r->started) / NS_PER_SEC));
	print_status(r, to);
	account_print(&account_table, r->now_row, to);
	return fclose(to) ? NULL : text;
}
