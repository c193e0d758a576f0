#ifndef TCPCOPY_CHECK_PARTS_H
#define TCPCOPY_CHECK_PARTS_H

#include "base/check.h"
#include "channel/conn.h"
#include "tcpcopy/config.h"

/* The parts of check_main(); nobody else includes this. */

struct event_base;
struct probe;
struct sink;

/* One assistant as --check sees it. */
struct check_peer {
	struct checking *all;
	const struct peer_address *address;
	struct channel_conn *conn; /* NULL: no connection */
	bool up, decided;
	struct msg_hello hello;
	uint16_t version;
	char why[200]; /* not up: in words */
};

struct checking {
	const struct config *config;
	char *const *argv;
	struct event_base *base;
	char interfaces[CONFIG_MAX_INTERFACES][16]; /* that are captured on */
	unsigned n_interfaces;
	bool has_client;        /* a request was captured */
	struct endpoint client; /* its sender */
	struct check_peer peer[CONFIG_MAX_PEERS];
	struct sink *sink;   /* while a probe runs */
	struct probe *probe; /* it */
};

/* Checks, in the order of their table. check_host.c: this host. */
void check_permissions(struct check_report *r, void *arg);
void check_interfaces(struct check_report *r, void *arg);
void check_kernel(struct check_report *r, void *arg);
void check_limits(struct check_report *r, void *arg);
void check_netfilter(struct check_report *r, void *arg);
void check_offloads(struct check_report *r, void *arg);

/* check_requests.c: does what is to be replicated come by here? */
void check_requests(struct check_report *r, void *arg);
void check_pool(struct check_report *r, void *arg);

/* check_way.c: to the targets and assistants */
void check_route(struct check_report *r, void *arg);
void check_assistants(struct check_report *r, void *arg);

/* check_probe.c: does a connection come about? */
void check_probe(struct check_report *r, void *arg);

#endif
