#ifndef PROGRAM_OPTIONS_H
#define PROGRAM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "program/args.h"
#include "program/sandbox.h"

/*
 * The options that say how a program runs, whatever it does. Each program has their values in its `struct
 * config`, as the member `run`, and their rows in its table, wherever they belong there.
 */
#define RUN_MAX_WORKERS 32
#define RUN_MAX_CPUS 256
#define RUN_PATH_SIZE 4096
#define RUN_MAX_IGNORED 24
#define RUN_IGNORED_LEN 200
typedef char run_path[RUN_PATH_SIZE]; /* absolute, because a daemon works in "/"; "": none */

struct run_config {
	bool daemon;                 /* -d */
	run_path log_path, pid_path; /* -l, -P */
	bool log_journal;            /* -l journal */
	run_path report_path;        /* --report */
	run_path control_path;       /* --control; "" the default */
	bool status, status_json;    /* --status, --json: ask a running program, and do nothing else */
	bool check;                  /* --check: check the set-up, and do nothing else */
	bool verbose;                /* --verbose */
	uint64_t stats_interval;     /* --stats, ns; 0: none */
	struct sandbox_user user;    /* --user */
	bool no_sandbox;             /* --no-sandbox */
	unsigned workers;            /* --workers; 1 to RUN_MAX_WORKERS */
	unsigned cpus[RUN_MAX_CPUS]; /* --cpus: worker i is bound to the (i mod n_cpus)-th */
	unsigned n_cpus;             /* 0: no pinning */
	bool busy_poll;              /* --busy-poll: workers never sleep */
	/* what was typed for another program and means nothing here: lines for the log */
	char ignored[RUN_MAX_IGNORED][RUN_IGNORED_LEN];
	unsigned n_ignored;
};

/*
 * Does @run contradict itself by naming one file for two things? Returns -1 if not; else prints a line for
 * @program on stderr and returns 2, the status to exit with.
 */
int options_check(const struct args_program *program, const struct run_config *run);

/*
 * Remember for the log that @what means nothing here, such as "-R is", and what there is @instead; once,
 * however often it was typed.
 */
void options_ignore(struct run_config *run, const char *what, const char *instead);
/* As args_program.ignored: the same of an option. @config begins with its struct run_config. */
void options_ignored(void *config, char letter, const char *instead);

/* Setters, as args_option.set; @into is what the row's `at` says. */
const char *options_set_path(void *path, const char *value);         /* run_path */
const char *options_set_log(void *run, const char *value);           /* struct run_config */
const char *options_set_json(void *run, const char *value);          /* struct run_config */
const char *options_set_workers(void *n, const char *value);         /* unsigned */
const char *options_set_cpus(void *run, const char *value);          /* struct run_config */
const char *options_set_interval(void *interval, const char *value); /* uint64_t */
const char *options_set_user(void *user, const char *value);         /* struct sandbox_user */
const char *options_set_port(void *port, const char *value);         /* uint16_t */
/* Of ignored options: a number, or anything. Nothing is set. */
const char *options_unused_number(void *none, const char *value);
const char *options_unused(void *none, const char *value);

/* The rows. @shared is what the workers share, @interval the default in words, @program a name. */
#define OPTION_AT(kind, field) ARGS_AT(struct config, kind, run.field)
#define OPTION_RUN ARGS_AT(struct config, struct run_config, run)

/*
 * An option that command lines for the original tool have, and that means nothing here. @unused: what its
 * value has to be; @instead: what there is instead of it, for --help and for the log.
 */
#define OPTION_IGNORED(letter, value, unused, instead)                                                       \
	{                                                                                                    \
		letter, NULL, value, ARGS_IGNORED, instead, NULL, unused, ARGS_WHOLE                         \
	}
#define OPTION_WORKERS(shared)                                                                               \
	{                                                                                                    \
		0, "workers", "NUMBER", 0, "threads that share the " shared ", or auto for one per CPU [1]", \
			"1 to 32, or auto", options_set_workers, OPTION_AT(unsigned, workers)                \
	}
#define OPTION_CPUS                                                                                          \
	{                                                                                                    \
		0, "cpus", "LIST", 0, "CPUs to bind the workers to, in turn [any]",                          \
			"CPU numbers and ranges that this process may use, such as 0,2-3", options_set_cpus, \
			OPTION_RUN                                                                           \
	}
#define OPTION_BUSY_POLL                                                                                     \
	{                                                                                                    \
		0, "busy-poll", NULL, 0, "never sleep: lowest latency, but each worker uses a whole CPU",    \
			NULL, args_set_true, OPTION_AT(bool, busy_poll)                                      \
	}
#define OPTION_STATS(interval)                                                                               \
	{                                                                                                    \
		0, "stats", "DURATION", 0, "log a line of counters this often; 0 for never [" interval "]",  \
			"0, or 100ms to 24h", options_set_interval, OPTION_AT(uint64_t, stats_interval)      \
	}
#define OPTION_CHECK(nothing)                                                                                \
	{                                                                                                    \
		0, "check", NULL, ARGS_FIRST,                                                                \
			"check what this command line needs, and " nothing                                   \
			"; print what is wrong and what to type; exit status 1 if anything is broken",       \
			NULL, args_set_true, OPTION_AT(bool, check)                                          \
	}
#define OPTION_USER                                                                                          \
	{                                                                                                    \
		0, "user", "NAME[:GROUP]", 0,                                                                \
			"switch to this user once everything is open [the current user]",                    \
			"a user of this host, and a group, by name or number", options_set_user,             \
			OPTION_AT(struct sandbox_user, user)                                                 \
	}
#define OPTION_NO_SANDBOX                                                                                    \
	{                                                                                                    \
		0, "no-sandbox", NULL, 0,                                                                    \
			"keep the capabilities, system calls and files that only the start needs", NULL,     \
			args_set_true, OPTION_AT(bool, no_sandbox)                                           \
	}
#define OPTION_DAEMON                                                                                        \
	{                                                                                                    \
		'd', "daemon", NULL, ARGS_FIRST, "run as a daemon; return when it is ready", NULL,           \
			args_set_true, OPTION_AT(bool, daemon)                                               \
	}
#define OPTION_LOG                                                                                           \
	{                                                                                                    \
		'l', "log", "FILE", ARGS_FIRST,                                                              \
			"append the log to FILE, or send it to systemd's journal if FILE is journal "        \
			"[standard error; "                                                                  \
			"with -d: syslog]",                                                                  \
			"the path of a file, or journal", options_set_log, OPTION_RUN                        \
	}
#define OPTION_REPORT                                                                                        \
	{                                                                                                    \
		0, "report", "FILE", 0,                                                                      \
			"write the account as JSON to FILE: with every line of counters, on SIGUSR1, at "    \
			"the end",                                                                           \
			"the path of a file", options_set_path, OPTION_AT(run_path, report_path)             \
	}
#define OPTION_PID                                                                                           \
	{                                                                                                    \
		'P', "pid", "FILE", 0, "write the process ID to FILE and lock it", "the path of a file",     \
			options_set_path, OPTION_AT(run_path, pid_path)                                      \
	}
#define OPTION_STATUS(program)                                                                               \
	{                                                                                                    \
		0, "status", NULL, ARGS_FIRST, "print the status of a running " program " and exit", NULL,   \
			args_set_true, OPTION_AT(bool, status)                                               \
	}
#define OPTION_JSON                                                                                          \
	{                                                                                                    \
		0, "json", NULL, 0, "the same as --status, in JSON", NULL, options_set_json, OPTION_RUN      \
	}
#define OPTION_CONTROL(program)                                                                              \
	{                                                                                                    \
		0, "control", "PATH", 0,                                                                     \
			"socket for --status [" RUNSTATEDIR "/tcpcopy/" program "-PID.sock]",                \
			"the path of a socket", options_set_path, OPTION_AT(run_path, control_path)          \
	}
#define OPTION_VERBOSE                                                                                       \
	{                                                                                                    \
		0, "verbose", NULL, 0, "log more", NULL, args_set_true, OPTION_AT(bool, verbose)             \
	}

#endif
