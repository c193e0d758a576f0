#ifndef TCPCOPY_CHECK_PARTS_H
#define TCPCOPY_CHECK_PARTS_H

#include "program/check.h"
#include "channel/conn.h"
#include "tcpcopy/config/config.h"

/* The parts of check_main(), of which the self-diagnosis (diagnosis.c) has some; for this folder alone. */

struct event;
struct event_base;
struct probe;
struct sink;

/* One assistant as --check sees it. */
struct check_assistant {
	struct checking *all;
	const struct assistant_address *address;
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
	struct check_assistant assistant[CONFIG_MAX_ASSISTANTS];
	/* check_live.c: */
	struct sink *sink;
	struct event *routing; /* the sink hears of changes */
	struct probe *probe;   /* the latest */
	void (*connected)(struct checking *k);
	void (*probed)(struct checking *k);
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

/*
 * check_live.c: what a probe stands on. Open the sink, which needs privilege; 0, or -1 with @err.
 * Connect the assistants: @connected is called when each is, or is not (k->assistant). Probe the target
 * of a rule: @probed is called when k->probe has its result; false: no memory. Close it all.
 */
int check_live_open(struct checking *k, char *err, size_t err_size);
void check_live_connect(struct checking *k, void (*connected)(struct checking *k));
bool check_live_any_up(const struct checking *k);
bool check_live_probe(struct checking *k, unsigned rule, void (*probed)(struct checking *k));
void check_live_close(struct checking *k);

/* check_probe.c: does a connection come about? */
void check_probe(struct check_report *r, void *arg);

#endif
