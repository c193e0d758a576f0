#ifndef PROGRAM_CHECK_H
#define PROGRAM_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/util.h"

/* --check: a list of checks, each of which says in a line what is so and, where it is not right,
 * what to type. */

enum check_state { CHECK_OK, CHECK_WARNING, CHECK_BROKEN };

/* One line. Empty text: nothing to say. */
struct check_result {
	enum check_state state;
	char text[640];
	const char *where; /* the host to type @cure on, "this host"; NULL: there is no cure to type */
	char cure[1024];
};

void check_text(struct check_result *r, enum check_state state, const char *fmt, ...) PRINTF_LIKE(3, 4);
void check_cure(struct check_result *r, const char *where, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* "text: on the target type: command" into @buf, which is returned. */
char *check_format(char *buf, size_t size, const struct check_result *r);

/* What was said so far. */
struct check_report {
	const char *topic; /* of the check that runs */
	unsigned warnings, broken;
};

/* Print the line to stdout. */
void check_say(struct check_report *report, const struct check_result *r);
/* A line without a cure. */
void check_note(struct check_report *report, enum check_state state, const char *fmt, ...) PRINTF_LIKE(3, 4);

struct check {
	const char *topic;
	void (*run)(struct check_report *report, void *arg);
};

/* Run them in order; returns the status to exit with: 1 when something is broken, else 0. */
int check_run(struct check_report *report, const struct check *checks, size_t n, void *arg);

/*
 * The command line @argv as one can type it, without the words of @leave_out (NULL-terminated; may
 * be NULL), with
 * @more (may be NULL) behind the program's name.
 */
char *check_command(char *buf, size_t size, char *const *argv, const char *const *leave_out,
		    const char *more);

#endif
