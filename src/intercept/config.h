#ifndef INTERCEPT_CONFIG_H
#define INTERCEPT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "program/sandbox.h"
#include "channel/secret.h"
#include "packet/addr.h"

#define CONFIG_MAX_INTERFACES 32
#define CONFIG_MAX_BINDS 16
#define CONFIG_MAX_ALLOW 256
#define CONFIG_MAX_CPUS 256

struct config {
	char interfaces[CONFIG_MAX_INTERFACES][16];
	unsigned n_interfaces;
	const char *filter;                  /* of -F; NULL: what tcpcopy announces */
	struct addr binds[CONFIG_MAX_BINDS]; /* none: all addresses, IPv4 and IPv6 */
	unsigned n_binds;
	uint16_t port;
	struct prefix allow[CONFIG_MAX_ALLOW]; /* who may connect; none: everybody */
	unsigned n_allow;
	struct channel_secret *secret;  /* NULL: plain */
	struct sandbox_user user;       /* --user */
	bool no_sandbox;                /* --no-sandbox */
	unsigned workers;               /* 1 to FANOUT_MAX_WORKERS */
	unsigned cpus[CONFIG_MAX_CPUS]; /* worker i has the i-th, and so round; n_cpus 0: any */
	unsigned n_cpus;
	bool busy_poll;
	bool daemon, guard, check;
	const char *log_file, *pid_file; /* NULL: none */
	bool log_journal;                /* -l journal */
	const char *report_file;         /* --report; NULL: none */
	const char *state_file;          /* --state; NULL: none */
	const char *control_path;        /* --control; "": the default */
	uint64_t stats_interval;         /* --stats, ns; 0: none */
	bool status, status_json;        /* ask a running intercept, nothing else */
};

/*
 * Fill *c from the command line. Returns -1 when the program is to go on, else its exit status (0
 * after -h and -v, 2 after an error, which has been printed).
 */
int config_parse(struct config *c, int argc, char **argv);

#endif
