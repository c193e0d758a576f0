#ifndef PROGRAM_CHECK_H
#define PROGRAM_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/util.h"

/*
 * --check: a list of checks. Each prints lines that say what was found and, where something is wrong, what
 * to type.
 */

enum check_state { CHECK_OK, CHECK_WARNING, CHECK_BROKEN };

/* One line. Empty text: nothing to say. */
struct check_result {
	enum check_state state;
	char text[640];
	const char *where; /* the host to type @cure on, "this host"; NULL: there is no cure to type */
	char cure[1024];
	char then[1024]; /* further steps, in words; "": none */
};

/* Set the state and the words of the finding *r. Words that do not fit are truncated. */
void check_text(struct check_result *r, enum check_state state, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Set the cure of the finding *r: the command, and the host @where to type it on, a string that must stay. */
void check_cure(struct check_result *r, const char *where, const char *fmt, ...) PRINTF_LIKE(3, 4);

/*
 * Add a step to the cure of the finding *r: what to type on the same host if those before do not help,
 * because another cause is possible.
 */
void check_then(struct check_result *r, const char *fmt, ...) PRINTF_LIKE(2, 3);

/*
 * Write the finding into @buf as "text: on the target type: command; if that does not help, type
 * there: another". sizeof(*r) bytes fit all. Returns @buf.
 */
char *check_format(char *buf, size_t size, const struct check_result *r);

/* What was said so far. */
struct check_report {
	const char *topic; /* of the check that runs */
	bool quiet;        /* count what is said, but print nothing */
	unsigned warnings, broken;
};

/* Print the finding *r to stdout under the present topic, and count it in *report. */
void check_say(struct check_report *report, const struct check_result *r);

/* The same for a finding without a cure. */
void check_note(struct check_report *report, enum check_state state, const char *fmt, ...) PRINTF_LIKE(3, 4);

struct check {
	const char *topic;
	void (*run)(struct check_report *report, void *arg);
};

/*
 * Run the @n checks in order, each with @arg, and print a line with the totals. Returns the status to exit
 * with: 1 if something is broken, else 0.
 */
int check_run(struct check_report *report, const struct check *checks, size_t n, void *arg);

/*
 * Write the command line @argv into @buf as it can be typed, quoted for the shell. The words of @leave_out
 * (ended by NULL; may be NULL) are left out, and @more (may be NULL) follows the program's name. Returns
 * @buf.
 */
char *check_command(char *buf, size_t size, char *const *argv, const char *const *leave_out,
		    const char *more);

#endif
