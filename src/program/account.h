#ifndef PROGRAM_ACCOUNT_H
#define PROGRAM_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * An account is an array of counters and a table that says what each of them is. The table yields the text
 * of the report, the keys of its JSON form and the page in the manual. It also has the equations between the
 * rows, which anybody who has the report can check.
 */
struct account_row {
	const char *section, *key; /* together the name: "capture.packets" */
	const char *text;
};

/*
 * Both sides are sums of names, such as "capture.packets" or "parse.ok + parse.fragment"; "parse.*" is the
 * sum of a whole section.
 */
struct account_equation {
	const char *what;
	const char *left, *right;
};

struct account_section {
	const char *name, *text;
};

struct account_table {
	const struct account_row *rows; /* those of a section next to each other */
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

/*
 * The sum that @terms names, of the rows @value in the order of the table. *@unknown, if it is not NULL,
 * tells whether a name is not in the table.
 */
uint64_t account_sum(const struct account_table *t, const uint64_t *value, const char *terms, bool *unknown);

/* Does the equation *q hold for the rows @value? Sets *@left and *@right to its two sides. */
bool account_balanced(const struct account_table *t, const uint64_t *value, const struct account_equation *q,
		      uint64_t *left, uint64_t *right);

/* Print the rows that are not zero, by section, and every equation with both sides. */
void account_print(const struct account_table *t, const uint64_t *value, FILE *to);

struct json_t;

/*
 * The same as a JSON object with all rows: {"account": {section: {key: n}}, "equations": [...]}. The caller
 * releases it. NULL if out of memory.
 */
struct json_t *account_json(const struct account_table *t, const uint64_t *value);

#define ACCOUNT_TIME_LEN 40

/*
 * Write the time that was @ago ns ago into @out, as the reports have it: ISO 8601, local time. Returns @out.
 */
char *account_time(uint64_t ago, char out[ACCOUNT_TIME_LEN]);

/* Print the page of the manual: a Markdown table for each section, and one of the equations. */
void account_document(const struct account_table *t, FILE *to);

#endif
