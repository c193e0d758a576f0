#ifndef PROGRAM_ACCOUNT_H
#define PROGRAM_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * An account is an array of counters and a table that says what each of them is. From the table come the
 * text of the report, the keys of its JSON form and the page in the manual; and the equations between its
 * rows, which anybody may check who has either.
 */
struct account_row {
	const char *section, *key; /* together the name: "capture.packets" */
	const char *text;
};

/*
 * Both sides are sums of names: "capture.packets", "parse.ok + parse.fragment"; "parse.*" is the sum of a
 * section.
 */
struct account_equation {
	const char *what;
	const char *left, *right;
};

struct account_section {
	const char *name, *text;
};

struct account_table {
	const struct account_row *rows; /* of a section together */
	size_t n_rows;
	const struct account_section *sections; /* in the order of the rows */
	size_t n_sections;
	const struct account_equation *equations;
	size_t n_equations;
};

/* The rows of the log, which is the process's and not a worker's: see log_lines_suppressed(). */
#define ACCOUNT_LOG(X)                                                                                       \
	X(suppressed, "log lines suppressed because too many were alike")                                    \
	X(dropped, "log lines that could not be written")

/* The sum that @terms names; *@unknown, if not NULL, says whether a name was not in the table. */
uint64_t account_sum(const struct account_table *t, const uint64_t *value, const char *terms, bool *unknown);

/* Does @q hold? Its sides in *@left and *@right. */
bool account_balanced(const struct account_table *t, const uint64_t *value, const struct account_equation *q,
		      uint64_t *left, uint64_t *right);

/* Rows that are not zero, by section, and every equation with both sides. */
void account_print(const struct account_table *t, const uint64_t *value, FILE *to);

/*
 * The same as a JSON object, all rows: {"account": {section: {key: n}}, "equations": [...]}. NULL: out of
 * memory.
 */
struct json_t;
struct json_t *account_json(const struct account_table *t, const uint64_t *value);

/* When something was that is @ago ns ago, as the reports write it: ISO 8601, local time. Returns @out. */
#define ACCOUNT_TIME_LEN 40
char *account_time(uint64_t ago, char out[ACCOUNT_TIME_LEN]);

/* The page of the manual: a table in Markdown for each section, and the equations. */
void account_document(const struct account_table *t, FILE *to);

#endif
