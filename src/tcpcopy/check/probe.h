#ifndef TCPCOPY_CHECK_PROBE_H
#define TCPCOPY_CHECK_PROBE_H

#include "program/check.h"
#include "channel/message.h"
#include "io/host/reach.h"
#include "io/inject/sink.h"
#include "tcpcopy/config/config.h"

struct event_base;

/*
 * One synthetic connection to a target by the way that copies take, to see which hop of it is
 * broken. Never more than one SYN for each source, except that an answered one is confirmed by its
 * repetition; never data.
 */
struct probe;

/* What it needs. */
struct probe_way {
	struct event_base *base;
	struct sink *sink;
	const struct config *config;
	const struct endpoint *target;
	struct endpoint source; /* port 0: there is none, only the ordinary connection is tried */
	/* To every assistant that is connected. */
	void (*send)(void *arg, const struct message *m);
	/* It is over; the probe is free to go. */
	void (*done)(void *arg);
	void *arg;
};

/* What became of it. */
struct probe_result {
	struct endpoint target, source;
	bool sent;               /* the kernel took the SYN */
	enum sink_error refused; /* not sent: why */
	bool by_raw;             /* everything went by raw sockets */
	bool ack_refused;        /* so did an ACK, and it was refused */
	bool answered, reset;    /* a SYN-ACK, or a reset, came back over the channel */
	bool torn;               /* the connection was gone a moment after the SYN-ACK */
	uint64_t round_trip;     /* ns, of the SYN */
	struct msg_findings found[CONFIG_MAX_ASSISTANTS];
	bool has_found[CONFIG_MAX_ASSISTANTS]; /* this assistant has answered the PROBE */

	/* Only if nothing came back: */
	bool tried_plain;
	enum reach_state plain; /* an ordinary connection from this host */
	int plain_error;        /* REACH_FAILED: errno */
	struct addr plain_by;   /* REACH_REFUSED: whose ICMP */
	struct addr plain_source;
	bool plain_covered;    /* its answer came to an assistant */
	bool tried_near, near; /* with the assistant's own address as the source: was it answered? */
	bool near_same_link;   /* target and assistant are neighbours of this host on one link */
};

/* NULL: no memory. Nothing happens before the event loop runs. */
struct probe *probe_start(const struct probe_way *way);
void probe_free(struct probe *p);
const struct probe_result *probe_result(const struct probe *p);

/* A record came over the channel. False: it is not the probe's. */
bool probe_response(struct probe *p, const struct response *r);
/* The answer of assistant @assistant (index of -s) to a PROBE. */
void probe_findings(struct probe *p, unsigned assistant, const struct msg_findings *f);

/* Is this id one of a probe, never of a session? */
static inline bool probe_is_id(uint64_t id)
{
	return (uint32_t)id == UINT32_MAX;
}

/*
 * A source port for a probe that speaks for the client @a: from 5001 to 9999, below what operating
 * systems give to their clients, and not one for which @in_use says yes.
 */
uint16_t probe_port(bool (*in_use)(void *arg, uint16_t port), void *arg);

/* The verdict: which hop is broken, and what to type. Pure. */
void probe_diagnose(struct check_result *out, const struct probe_result *r, const struct config *c);

#endif
