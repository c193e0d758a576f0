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
	X(avoided, "times that a port was not taken because a socket of this host has it")

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
 * that still has the previous one in TIME-WAIT takes the SYN at once (RFC 6191).
 */
void own_stamp(struct own *o, struct tx_segment *t);

/* Log it, once, when an own address is none of this host any more. Asks the kernel. */
void own_say(struct own *o);

/* What was counted. Lasts as long as @o. */
const struct own_counters *own_counters(const struct own *o);

/* How many ports are in use, and how many there are, over all own addresses and targets. */
void own_ports(const struct own *o, uint64_t *used, uint64_t *all);

#endif
