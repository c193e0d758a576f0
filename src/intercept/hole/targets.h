#ifndef INTERCEPT_HOLE_TARGETS_H
#define INTERCEPT_HOLE_TARGETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "packet/addr.h"

/* Endpoints that the connected tcpcopys have announced as targets. */
#define TARGETS_MAX 4096u
/* The filter names address and port of so many targets; with more of them it names only their ports. */
#define TARGETS_FILTER_PAIRS 64u
/* An endpoint without users is kept for so long, because the target may still retransmit. */
#define TARGETS_LINGER_NS (60 * NS_PER_SEC)

struct target {
	struct endpoint endpoint;
	unsigned users;   /* watches, and connections that announced it by TARGET */
	uint64_t idle_at; /* ns, CLOCK_MONOTONIC: when users became 0 */
	bool guarded;     /* guard_add() has taken it */
};

struct targets {
	struct target list[TARGETS_MAX]; /* sorted by endpoint */
	unsigned count;
	unsigned refused; /* announcements beyond TARGETS_MAX */
};

/*
 * Adds a user of @e. True: @e is a new target. False: it was one already, or there are TARGETS_MAX of them,
 * which counts in @refused.
 */
bool targets_use(struct targets *t, const struct endpoint *e);
/* Removes a user of @e, at @now (ns, CLOCK_MONOTONIC). Does nothing if @e is unknown. */
void targets_release(struct targets *t, const struct endpoint *e, uint64_t now);
/* Is @e a target? True as well for TARGETS_LINGER_NS after its last user has ended. */
bool targets_has(const struct targets *t, const struct endpoint *e);
/*
 * Removes the targets that have had no users for TARGETS_LINGER_NS, after a call of @gone, which may be NULL,
 * for each. Returns whether there were any.
 */
bool targets_expire(struct targets *t, uint64_t now, void (*gone)(const struct target *t, void *arg),
		    void *arg);

/*
 * Writes into @buf a pcap filter that matches what the targets send, as narrowly as its length allows.
 * Without targets it matches nothing. Returns @buf.
 */
#define TARGETS_FILTER_SIZE 8192
char *targets_filter(const struct targets *t, char buf[TARGETS_FILTER_SIZE]);

#endif
