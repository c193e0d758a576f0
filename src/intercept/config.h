#ifndef INTERCEPT_CONFIG_H
#define INTERCEPT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "program/options.h"
#include "channel/secret.h"
#include "packet/addr.h"

#define CONFIG_MAX_INTERFACES 32
#define CONFIG_MAX_BINDS 16
#define CONFIG_MAX_ALLOW 256
#define CONFIG_MAX_ON_TARGET 16

struct config {
	struct run_config run; /* the options that both programs share */
	char interfaces[CONFIG_MAX_INTERFACES][16];
	unsigned n_interfaces;
	const char *filter;                  /* -F; NULL: the targets that the tcpcopys announce */
	struct addr binds[CONFIG_MAX_BINDS]; /* none: all addresses, IPv4 and IPv6 */
	unsigned n_binds;
	uint16_t port;
	struct prefix allow[CONFIG_MAX_ALLOW]; /* who may connect; none: everybody */
	unsigned n_allow;
	struct channel_secret *secret; /* NULL: plain */
	bool guard;                    /* --guard */
	struct addr on_target[CONFIG_MAX_ON_TARGET];
	unsigned n_on_target;
	bool clean;          /* --clean */
	run_path state_path; /* --state; "" none */
};

/*
 * Fills *@c from the command line. Returns -1 if the program is to go on, else its exit status: 0 after -h
 * and -v, 2 after an error, which has been printed.
 */
int config_parse(struct config *c, int argc, char **argv);

#endif
