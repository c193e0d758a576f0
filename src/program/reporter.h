#ifndef PROGRAM_REPORTER_H
#define PROGRAM_REPORTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "program/account.h"
#include "base/util.h"

/*
 * A running program's reports on itself: the line of --stats, the account in the log, the file of --report,
 * the screen of --status. When they are made and where they go is the same for every program. What they say
 * is the program's own business, in a struct from the heap whose first member is a struct reporter. All of
 * it belongs to the main thread.
 */
struct reporter;
struct replace;
struct json_t;

struct reporter_ops {
	const char *program;
	/*
	 * Collect the counters, as of r->at. @keep: rates are from now on measured from the previous
	 * collection.
	 */
	void (*collect)(struct reporter *r, bool keep);
	/* Print what was collected: the line of --stats; the whole account; one screen. */
	void (*line)(struct reporter *r, FILE *to);
	void (*account)(struct reporter *r, FILE *to);
	void (*screen)(struct reporter *r, FILE *to);
	/*
	 * Add it to @all, which already has the program's name, its age and so on. Returns 0, or -1: out of
	 * memory.
	 */
	int (*json)(struct reporter *r, struct json_t *all);
};

#define REPORTER_LEAST (NS_PER_SEC / 2) /* the shortest time over which a rate is measured */

struct reporter {
	const struct reporter_ops *ops;
	const char *path; /* of --report */
	struct replace *file;
	uint64_t started;        /* ns */
	uint64_t at;             /* ns, of the last collection */
	uint64_t since;          /* ns, of the collection from which rates are measured */
	uint64_t write_failures; /* of the file */
};

/*
 * Begin to report, with the file at @path ("": none), which must outlive it. Returns 0, or -1 with words in
 * @err. In either case reporter_free() has to end it.
 */
int reporter_open(struct reporter *r, const char *path, char *err, size_t err_size);

/* End reporting and free @r, which may be NULL. The file of --report stays. */
void reporter_free(struct reporter *r);

/* Collect the counters, log the line of --stats, and write the file. */
void reporter_interval(struct reporter *r);

/* Collect the counters, log the whole account, and write the file. */
void reporter_account(struct reporter *r);

/*
 * Collect the counters. Returns one screen of text, or the JSON of the file, which the caller frees; NULL if
 * out of memory.
 */
char *reporter_status(struct reporter *r, bool json);

/* Write the wall clock's time of @at (ns, clock_now()) into @out, as account_time() does. Returns @out. */
char *reporter_time(const struct reporter *r, uint64_t at, char out[ACCOUNT_TIME_LEN]);

#endif
