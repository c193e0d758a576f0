#ifndef PROGRAM_ARGS_H
#define PROGRAM_ARGS_H

#include <stddef.h>
#include "base/util.h"

/* A command line as a table of options. -h, --help, -v and --version are added by the parser. */

enum args_flag {
	ARGS_REPEAT = 1 << 0, /* may be given again; the setter is called for each. Without it,
				 again is an error */
	ARGS_GREEDY = 1 << 1, /* the value is all words up to the next that begins with '-', joined
				 by blanks */
	ARGS_DASH = 1 << 2,   /* the value may begin with '-' */
};

#define ARGS_MAX 64 /* options of one table */

struct args_option {
	char letter;          /* for -x; 0: none */
	const char *name;     /* for --name; NULL: none */
	const char *value;    /* what the usage calls the value; NULL: the option takes none */
	unsigned flags;       /* of args_flag */
	const char *help;     /* for the usage; wrapped, a '\n' begins a new line */
	const char *accepted; /* what is accepted, for the error message; NULL where @value says it
				 all */
	/*
	 * Takes the value as typed (NULL for an option without one) and keeps it in @into, which is
	 * the @into of args_parse() plus `at` bytes. The string lasts as long as argv, that of a greedy
	 * option until args_free(). Returns NULL, or what is wrong with the value, in words that fit
	 * between "option -x "value": " and "; accepted: ...".
	 */
	const char *(*set)(void *into, const char *value);
	size_t at; /* ARGS_AT(), or ARGS_WHOLE: all that args_parse() has */
};

#define ARGS_WHOLE 0
/* The offset of @field in a struct @type; the compiler sees that it is the @kind that the setter wants. */
#define ARGS_AT(type, kind, field) _Generic(&((type *)0)->field, kind * : offsetof(type, field))

const char *args_set_true(void *flag, const char *value); /* a setter, of a bool */

struct args_program {
	const char *name;
	const char *version;
	const char *summary; /* first lines of the usage, after "Usage: name OPTIONS" */
	const char *closing; /* last lines of the usage, e.g. examples; printed as they stand; may
				be NULL */
	const struct args_option *options;
	size_t count;
};

/*
 * Returns -1 when the program is to go on, else the status to exit with: 0 after -h or -v, which
 * print to stdout, 2 after an error, of which one line was printed to stderr:  name: option -x
 * "value": what is wrong; accepted: what
 */
int args_parse(const struct args_program *program, int argc, char **argv, void *into);

/* An error of the same form, found later (options that contradict each other, a name that does not
 * resolve). Returns 2. */
int args_error(const struct args_program *program, char letter, const char *value, const char *wrong);

/*
 * For setters that have to compose what is wrong. The words are in memory of this function's own, and hold
 * until it is called again; an argument may be what it returned before.
 */
const char *args_wrong(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Frees the joined values of greedy options. */
void args_free(void);

#endif
