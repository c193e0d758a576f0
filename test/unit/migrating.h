#ifndef TEST_MIGRATING_H
#define TEST_MIGRATING_H

#include <stddef.h>

/* A row of a table of doc/MIGRATING.md. */
struct migrating_row {
	char option[16]; /* "-x @MAC" */
	char here[300];
	char typed[300]; /* as it is typed, for the words below */
	char *argv[40];  /* NULL-terminated, into typed */
	int argc;
};

#define MIGRATING_MAX 64

/* Read the rows of the section @program. Fails the test if there is none. Returns their number. */
size_t migrating_rows(const char *program, struct migrating_row rows[MIGRATING_MAX]);

/* Fail unless the rows are of @options, each once and in this order; NULL-terminated. */
void migrating_complete(const struct migrating_row *rows, size_t n, const char *const *options);

/*
 * Judge what became of the command line of @row: the status of config_parse(), what it wrote to standard
 * error, and how many lines it has noted for the log as ignored.
 */
void migrating_judge(const struct migrating_row *row, int status, const char *said, unsigned ignored);

#endif
