#ifndef TCPCOPY_CHECK_LISTEN_H
#define TCPCOPY_CHECK_LISTEN_H

#include "packet/segment.h"
#include "program/check.h"
#include "protocol/protocol.h"
#include "tcpcopy/config/config.h"

/* What the clients speak, from what --check captures. See listen.c. */
#define LISTEN_FLOWS 32 /* connections of each rule that are followed */

struct listen_flow {
	struct endpoint client;
	bool begun;         /* its SYN or its first data was seen */
	uint32_t next, ack; /* of its last segment with data */
	struct protocol_state spoken;
};

struct listening {
	struct listen_flow flow[CONFIG_MAX_RULES][LISTEN_FLOWS];
	unsigned n[CONFIG_MAX_RULES];
	struct protocol_tally tally[CONFIG_MAX_RULES];
};

/*
 * A segment of a client for rule *r with the index @rule was captured. Returns true if it is known by now
 * what its client speaks.
 */
bool listen_segment(struct listening *l, const struct rule *r, unsigned rule, const struct segment *s);

/* Say what was heard of the rule. */
void listen_say(struct check_report *report, const struct listening *l, const struct rule *r, unsigned rule);

#endif
