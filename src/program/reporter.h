#ifndef PROGRAM_REPORTER_H
#define PROGRAM_REPORTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "program/account.h"
#include "base/util.h"

/*
 * A running program's reports of itself: the line of --stats, the account in the log, the file of --report,
 * the screen of --status. When they are made and where they go is the same for every program; what they say
 * is the program's, in a
 * struct from the heap whose first member is a struct reporter. All of it belongs to the main thread.
 */
struct reporter;
struct replace;
struct json_t;

struct reporter_ops {
	const char *program;
	/* Count anew, as of r->at. @keep: what was counted before is what rates are counted from now. */
	void (*collect)(struct reporter *r, bool keep);
	/* Of what was collected: the line of --stats; the whole account; one screen. */
	void (*line)(struct reporter *r, FILE *to);
	void (*account)(struct reporter *r, FILE *to);
	void (*screen)(struct reporter *r, FILE *to);
	/* Add to @all, which has the name of the program, its age and such. 0, or -1: out of memory. */
	int (*json)(struct reporter *r, struct json_t *all);
};

#define REPORTER_LEAST (NS_PER_SEC / 2) /* between the counts that a rate is made of */

struct reporter {
	const struct reporter_ops *ops;
	const char *path; /* of --report */
	struct replace *file;
	uint64_t started, at,
		since; /* ns: of the start, of what was collected last, of what rates are counted from */
	uint64_t write_failures; /* of the file */
};

/*
 * Begin to report: the times, and the file at @path ("": none). 0, or -1 with words in @err. The @path must
 * outlive it. Whatever happens, reporter_free() ends it.
 */
int reporter_open(struct reporter *r, const char *path, char *err, size_t err_size);
void reporter_free(struct reporter *r); /* may be NULL */

/* Each counts anew first. The line of --stats into the log, and the file. */
void reporter_interval(struct reporter *r);
/* The account into the log, and the file. */
void reporter_account(struct reporter *r);
/* One screen of text, or the JSON of the file; to be freed. NULL: out of memory. */
char *reporter_status(struct reporter *r, bool json);

/* The wall clock's time of @at (ns of clock_now()), as account_time() has it. Returns @out. */
char *reporter_time(const struct reporter *r, uint64_t at, char out[ACCOUNT_TIME_LEN]);

#endif
