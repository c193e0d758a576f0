#ifndef TCPCOPY_CHECK_PROBE_H
#define TCPCOPY_CHECK_PROBE_H

#include "program/check.h"
#include "channel/message.h"
#include "io/host/reach.h"
#include "io/inject/route.h"
#include "io/inject/sink.h"
#include "tcpcopy/config/config.h"

struct event_base;

/*
 * One synthetic connection to a target on the path that copies take, to see which hop of it is broken. There
 * is at most one SYN from each source, except that an answered one is repeated to confirm it, and never any
 * data that an application would see.
 */
struct probe;

/* What it needs. */
struct probe_way {
	struct event_base *base;
	struct sink *sink;
	const struct config *config;
	const struct endpoint *target;
	bool served; /* see struct probe_result */
	uint16_t online_port;
	struct endpoint source; /* port 0: there is none, only the ordinary connection is tried */
	/* Send *m to every assistant that is connected. */
	void (*send)(void *arg, const struct message *m);
	/* The probe is over, and may be freed. */
	void (*done)(void *arg);
	void *arg;
};

/* What a probe has seen. */
struct probe_result {
	struct endpoint target, source;
	bool served; /* requests come to this host, or something listens for them */
	uint16_t online_port;
	bool sent;               /* the kernel accepted the SYN */
	enum sink_error refused; /* not sent: why */
	bool tracking_full;      /* connection tracking of this host had no room then */
	bool by_raw;             /* everything went through raw sockets */
	bool ack_refused;        /* and so did an ACK, but the kernel refused it */
	bool answered, reset;    /* a SYN-ACK, or a reset, came back over the channel */
	bool torn;               /* the connection was gone a moment after the SYN-ACK */
	uint64_t round_trip;     /* ns, of the SYN */
	uint32_t large, takes;   /* bytes of the largest packet that was sent, and that arrived; 0: none */
	bool small_takes;        /* with none: does a packet without payload arrive? */
	struct route_info route; /* valid with large */
	struct msg_findings found[CONFIG_MAX_ASSISTANTS];
	bool has_found[CONFIG_MAX_ASSISTANTS]; /* this assistant has answered the PROBE */

	/* Only if nothing came back: */
	bool tried_plain;
	enum reach_state plain; /* an ordinary connection from this host */
	int plain_error;        /* REACH_FAILED: errno */
	struct addr plain_by;   /* REACH_REFUSED: whose ICMP */
	struct addr plain_source;
	bool plain_covered;    /* the answer to it arrived at an assistant */
	bool tried_near, near; /* a SYN from the assistant's own address: was it tried, and answered? */
	bool near_same_link;   /* target and assistant are neighbours of this host on the same link */
	bool has_gateway;      /* the way to the target leads over a router, ... */
	struct addr gateway;   /* ... this one first */
};

/*
 * Begin a probe. *way is copied; what it points to must outlive the probe. Nothing happens before the event
 * loop runs. NULL if out of memory.
 */
struct probe *probe_start(const struct probe_way *way);

/* End the probe, if it is not over, and free it. @p may be NULL. */
void probe_free(struct probe *p);

/* What the probe has seen so far. It is complete when done() is called, and lasts as long as @p. */
const struct probe_result *probe_result(const struct probe *p);

/* Take the record *r, which came over the channel. Returns false if it does not belong to the probe. */
bool probe_response(struct probe *p, const struct response *r);

/* Take the answer of the assistant with the index @assistant in -s to a PROBE. */
void probe_findings(struct probe *p, unsigned assistant, const struct msg_findings *f);

/* Is @id the id of a probe? No session ever has such an id. */
static inline bool probe_is_id(uint64_t id)
{
	return (uint32_t)id == UINT32_MAX;
}

/*
 * A source port (host byte order) for a probe: from 5001 to 9999, below those that operating systems give to
 * their clients, and one for which @in_use returns false, unless it returns true for all of them.
 */
uint16_t probe_port(bool (*in_use)(void *arg, uint16_t port), void *arg);

/* Conclude from *r which hop is broken and what to type, and put that into *out. Pure. */
void probe_diagnose(struct check_result *out, const struct probe_result *r, const struct config *c);

#endif
