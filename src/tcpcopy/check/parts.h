#ifndef TCPCOPY_CHECK_PARTS_H
#define TCPCOPY_CHECK_PARTS_H

#include "program/check.h"
#include "channel/conn.h"
#include "tcpcopy/config/config.h"

/* The parts of check_main(), for this folder alone. The self-diagnosis (diagnosis.c) uses some of them. */

struct check_own;
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
	/* live.c: */
	struct sink *sink;
	struct event *routing; /* routing has changed, for the sink */
	struct probe *probe;   /* the latest */
	struct check_own *own; /* own.c; NULL: there are assistants, or it does not work */
	bool last_port;        /* the probe goes from the last port of the plan */
	bool probed_all;       /* and each target's answer came back */
	bool probe_broken;     /* not each, and it is known why */
	void (*connected)(struct checking *k);
	void (*probed)(struct checking *k);
};

/*
 * The checks, as struct check.run, in the order of their table. Each prints its findings; @arg is a struct
 * checking.
 */

/* host.c: may this process capture and send? */
void check_permissions(struct check_report *r, void *arg);

/* host.c: are the interfaces up that are captured on? */
void check_interfaces(struct check_report *r, void *arg);

/* host.c: can the kernel capture and inject as configured? Opens the sockets, and closes them again. */
void check_kernel(struct check_report *r, void *arg);

/* host.c: are there enough descriptors, memory and buffer? */
void check_limits(struct check_report *r, void *arg);

/* host.c: do netfilter and conntrack let the copies pass? */
void check_netfilter(struct check_report *r, void *arg);

/* host.c: which offloads are enabled? They do not matter, and people have to be told so. */
void check_offloads(struct check_report *r, void *arg);

/* requests.c: do the requests arrive at this host? Captures for at most 2 s. Sets k->client. */
void check_requests(struct check_report *r, void *arg);

/* requests.c: do the addresses of -c fit the clients that are connected? */
void check_pool(struct check_report *r, void *arg);

/* requests.c: does the target look for the addresses of -c on its own link? The probe may have told. */
void check_pool_network(struct check_report *r, void *arg);

/* way.c: is there a route to each target? */
void check_route(struct check_report *r, void *arg);

/* way.c: does each assistant answer? Leaves the connections open for the probe. */
void check_assistants(struct check_report *r, void *arg);

/* own.c: can the answers come back to this host? Leaves k->own open for the probe. */
void check_own(struct check_report *r, void *arg);

/* run_probe.c: does a live probe of each target come back? */
void check_probe(struct check_report *r, void *arg);

/* ways.c: which ways back work, and with which command is each had? */
void check_ways(struct check_report *r, void *arg);

/* What a probe needs (live.c). */

/* Open the sink, which needs privilege. Returns 0, or -1 with words in @err. */
int check_live_open(struct checking *k, char *err, size_t err_size);

/*
 * Begin to connect to all assistants. @connected is called from the loop, once, when it is known of each
 * whether it could be reached; see k->assistant.
 */
void check_live_connect(struct checking *k, void (*connected)(struct checking *k));

/* Is any assistant connected? */
bool check_live_any_up(const struct checking *k);

/*
 * Begin to probe the target of rule @rule (its index). @probed is called from the loop when k->probe has its
 * result. Returns false if out of memory.
 */
bool check_live_probe(struct checking *k, unsigned rule, void (*probed)(struct checking *k));

/* Close the connections and the sink, and free the probe. Does nothing if nothing is open. */
void check_live_close(struct checking *k);

#endif
