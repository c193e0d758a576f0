/*
 * Reports of a running program - theory of operation
 *
 * In: a reason to report: an interval, a signal, the end, a question of --status. Out: the program counts
 * what it has, and its words go to the log, to the file, or back to who asked. The counts of the report
 * before are kept if they are old enough to make rates of. A report in memory comes first and is then written
 * whole; for want of memory it is left out.
 */
#include "program/reporter.h"

#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "program/clock.h"
#include "program/log.h"
#include "program/replace.h"
#include "build/config.h"

int reporter_open(struct reporter *r, const char *path, char *err, size_t err_size)
{
	r->started = r->since = r->at = clock_now();
	r->path = path;
	if (!*path)
		return 0;
	r->file = replace_open_report(path, err, err_size);
	return r->file ? 0 : -1;
}

void reporter_free(struct reporter *r)
{
	if (!r)
		return;
	replace_close(r->file);
	free(r);
}

char *reporter_time(const struct reporter *r, uint64_t at, char out[ACCOUNT_TIME_LEN])
{
	return account_time(r->at - MIN(at, r->at), out);
}

static void collect(struct reporter *r)
{
	const uint64_t now = clock_now();
	const bool keep = now - r->at >= REPORTER_LEAST;

	if (keep)
		r->since = r->at;
	r->at = now;
	r->ops->collect(r, keep);
}

static char *text(struct reporter *r, void (*print)(struct reporter *r, FILE *to))
{
	char *out = NULL;
	size_t size;
	FILE *to = open_memstream(&out, &size);

	if (!to)
		return NULL;
	print(r, to);
	return fclose(to) ? NULL : out;
}

/* jansson passes a failed allocation on as NULL, so the end is the one place to look. */
static char *json(struct reporter *r)
{
	char started[ACCOUNT_TIME_LEN], now[ACCOUNT_TIME_LEN], *out = NULL;
	json_t *all =
		json_pack("{s:s, s:s, s:i, s:s, s:s, s:f}", "program", r->ops->program, "version", VERSION,
			  "pid", (int)getpid(), "started", reporter_time(r, r->started, started), "time",
			  reporter_time(r, r->at, now), "uptime", (double)(r->at - r->started) / 1e9);

	if (all && !r->ops->json(r, all))
		out = json_dumps(all, JSON_INDENT(1));
	json_decref(all);
	return out;
}

static void write_file(struct reporter *r)
{
	if (r->file && !replace_report(r->file, r->path, json(r)))
		r->write_failures++;
}

void reporter_interval(struct reporter *r)
{
	collect(r);
	log_lines(text(r, r->ops->line));
	write_file(r);
}

void reporter_account(struct reporter *r)
{
	collect(r);
	write_file(r); /* first: who reads in the log that there is an account finds it in the file */
	log_lines(text(r, r->ops->account));
}

char *reporter_status(struct reporter *r, bool as_json)
{
	collect(r);
	return as_json ? json(r) : text(r, r->ops->screen);
}
