#ifndef TCPCOPY_RETURNS_OWN_H
#define TCPCOPY_RETURNS_OWN_H

#include "packet/segment.h"
#include "session/session.h"
#include "tcpcopy/returns/plan.h"
#include "tcpcopy/returns/returns.h"

struct event_base;
struct online;

/*
 * The way back by addresses of this host: copies go from an own address and a port of ours, and the answers
 * are captured here. One for each worker, which has a share of the ports. Only the worker's thread may call
 * these functions.
 */
struct own;

/* What was captured of answers. One table: field, text. */
#define OWN_COUNTERS(X)                                                                                      \
	X(answers, "answers of targets, captured")                                                           \
	X(given, "of these, given to the session engine")                                                    \
	X(unknown, "of these, to ports that no session has any more")                                        \
	X(host, "of these, to sockets of this host, which have a port of the range")                         \
	X(avoided, "times that a port was not taken because a socket of this host has it")                   \
	X(withdrawn, "ports withdrawn: this host's TCP has reset what a target sent to their session")       \
	X(heard, "of the answers given, with a TTL of 255, which listening sockets do not stop: refused")

struct own_counters {
#define X(field, text) uint64_t field;
	OWN_COUNTERS(X)
#undef X
};

/*
 * NULL if out of memory. *plan and @sockets (NULL: this host cannot be asked) must outlive it. @p is told
 * that it is up as soon as the loop runs.
 */
struct own *own_open(struct event_base *base, const struct plan *plan, struct online *sockets,
		     struct pipeline *p);

/* The head of @o, for the pipeline. */
struct returns *own_returns(struct own *o);

/*
 * Claim an own address and port towards the target of *k. Returns true and sets *@source, or returns false if
 * all are in use. The one that has been free for the longest time is taken, unless a socket of this host has
 * it.
 */
bool own_take(struct own *o, const struct flow_key *k, struct endpoint *source);

/* Give back what own_take() has returned for *k. */
void own_give(struct own *o, const struct flow_key *k, const struct endpoint *source);

/* What a captured segment is. */
enum own_answer {
	OWN_NO_ANSWER, /* nothing that a target sent to a port of ours */
	OWN_UNKNOWN,   /* an answer, but no session has this port now */
	OWN_HOST,      /* the same, but a socket of this host has it */
	OWN_SESSION,
};
/* Whose is the segment with the tuple *t? OWN_SESSION sets *@session to its number. Counts it. */
enum own_answer own_answer(struct own *o, const struct tuple *t, uint64_t *session);

/*
 * The segment *t is about to be sent, from a source that own_take() has returned. Its timestamp, if it has
 * one, is shifted so that a new connection's is newer than all that have left its port before: then a target
 * that still has the previous one in TIME-WAIT takes the SYN at once (RFC 6191). Resets are counted, see
 * own_was_reset().
 */
void own_sends(struct own *o, struct tx_segment *t);

/*
 * A reset has left this host against the tuple *t, that of an answer. Returns true if a session has it and we
 * have not sent that reset: then the port is withdrawn, and *@session, which is set to the session's number,
 * is over.
 */
bool own_was_reset(struct own *o, const struct tuple *t, uint64_t *session);

/* An answer of @target is one that listening sockets hear: no session begins towards it any more. */
void own_heard(struct own *o, const struct endpoint *target);

typedef void (*own_lost)(struct pipeline *p, uint64_t session);
/*
 * Look, by asking the kernel, which own addresses are none of this host any more: nothing begins from these,
 * and @lost is called with the number of each session that has one. @say: log what has changed.
 */
void own_look(struct own *o, bool say, own_lost lost);

/* What was counted. Lasts as long as @o. */
const struct own_counters *own_counters(const struct own *o);

/* How many ports are in use, and how many there are, over all own addresses and targets. */
void own_ports(const struct own *o, uint64_t *used, uint64_t *all);

#endif
