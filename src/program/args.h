#ifndef PROGRAM_ARGS_H
#define PROGRAM_ARGS_H

#include <stddef.h>
#include "base/util.h"

/*
 * A command line as a table of options. The parser adds -h, --help, -v and --version, which are of the last
 * topic: --help prints a few options, --help TOPIC those of a topic, and --help all prints all.
 */

enum args_flag {
	/*
	 * may be given several times, and the setter is called for each; without this flag, that is an error
	 */
	ARGS_REPEAT = 1 << 0,
	/* the value is all words up to the next that begins with '-', joined by blanks */
	ARGS_GREEDY = 1 << 1,
	ARGS_DASH = 1 << 2, /* the value may begin with '-' */
	ARGS_EACH = 1 << 3, /* the same for each further word up to the next that begins with '-' */
	/* the value may be left out, at the end or before an option; the setter then gets NULL */
	ARGS_OPTIONAL = 1 << 4,
	ARGS_FIRST = 1 << 5, /* among the few that -h shows */
	/*
	 * taken for the sake of old command lines; `help` says what there is instead, and
	 * args_program.ignored is called with that
	 */
	ARGS_IGNORED = 1 << 6,
	/* no option: the rows that follow are of the topic `name`, which `help` describes in a few words */
	ARGS_TOPIC = 1 << 7,
};

#define ARGS_MAX 128 /* rows of one table */
#define ARGS_TOPIC_ROW(name, about)                                                                          \
	{                                                                                                    \
		0, name, NULL, ARGS_TOPIC, about, NULL, NULL, 0                                              \
	}

struct args_option {
	char letter;          /* for -x; 0: none */
	const char *name;     /* for --name; NULL: none */
	const char *value;    /* what the usage calls the value; NULL: the option takes none */
	unsigned flags;       /* of args_flag */
	const char *help;     /* for the usage, which wraps it; '\n' begins a new line */
	const char *accepted; /* what is accepted, for the error message; NULL if @value says everything */
	/*
	 * Takes the value as typed (NULL for an option without one) and keeps it in @into, which is the
	 * @into of args_parse() plus `at` bytes. The string lasts as long as argv, that of a greedy option
	 * until args_free(). Returns NULL, or what is wrong with the value, in words that fit between
	 * "option -x "value": " and "; accepted: ...".
	 */
	const char *(*set)(void *into, const char *value);
	size_t at; /* ARGS_AT(), or ARGS_WHOLE for a setter that takes all of @into */
};

#define ARGS_WHOLE 0
/*
 * The offset of @field in a struct @type. The compiler checks that it has the @kind that the setter expects.
 */
#define ARGS_AT(type, kind, field) _Generic(&((type *)0)->field, kind * : offsetof(type, field))

/* A setter for an option without a value: makes the bool at @flag true. */
const char *args_set_true(void *flag, const char *value);

struct args_program {
	const char *name;
	const char *version;
	const char *summary; /* after "Usage: name OPTIONS"; -h prints its first sentence */
	const char *closing; /* last lines of the usage, such as examples, printed as they are; may be NULL */
	/* An option that has no meaning was given, with a right value. @into: of args_parse(). May be NULL */
	void (*ignored)(void *into, char letter, const char *instead);
	const struct args_option *options;
	size_t count;
};

/*
 * Parse the command line and call the setters, in the order of the options. Returns -1 if the program has to
 * go on, else the status to exit with: 0 after -h or -v, which print to stdout, and 2 after an error, which
 * prints one line to stderr: name: option -x "value": what is wrong; accepted: what. A topic of --help that
 * does not exist is an error.
 */
int args_parse(const struct args_program *program, int argc, char **argv, void *into);

/*
 * Print an error of the same form that was found later, such as options that contradict each other. @value:
 * as typed, or NULL. Returns 2, the status to exit with.
 */
int args_error(const struct args_program *program, char letter, const char *value, const char *wrong);
/* The same of an option without a letter; @name: without dashes. */
int args_error_named(const struct args_program *program, const char *name, const char *value,
		     const char *wrong);

/*
 * Compose what is wrong, for setters. The words are in memory of this function and hold until it is called
 * again; an argument may be what it returned before.
 */
const char *args_wrong(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Free the joined values of greedy options. Values that setters have kept are gone with them. */
void args_free(void);

#endif
