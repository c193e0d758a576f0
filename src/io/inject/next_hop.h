#ifndef IO_INJECT_NEXT_HOP_H
#define IO_INJECT_NEXT_HOP_H

#include <linux/if_ether.h>
#include <stdbool.h>
#include <stdint.h>

#include "packet/addr.h"

#define NEXT_HOPS_MAX 64u

/* How to reach a destination at the link layer. */
struct next_hop {
	struct addr to;
	int ifindex;   /* interface it leaves by; 0: no route */
	uint32_t mtu;  /* IP bytes: the smaller of route's and interface's; 0: not known */
	bool ethernet; /* that interface is up, takes Ethernet frames and asks for neighbours */
	bool usable;   /* ethernet, and the neighbour's address is known: @header is valid */
	bool stale;    /* usable, but the kernel wants to see it used, to ask the neighbour again */
	uint8_t header[ETH_HLEN];

	struct addr via; /* the neighbour: a gateway, or @to itself */
	bool outdated;   /* routing has changed since resolved_at (ns) */
	uint64_t resolved_at;
};

/* The next hops of few destinations, followed as they change. One thread's. */
struct next_hops {
	int fd; /* to be watched for reading */
	unsigned n;
	unsigned mtu_changes; /* grows when the mtu of any entry has changed */
	struct next_hop hop[NEXT_HOPS_MAX];
};

/* -1 with errno. Needs no privilege. */
int next_hops_open(struct next_hops *t);
void next_hops_close(struct next_hops *t);

/* fd is readable: take in what has changed. */
void next_hops_readable(struct next_hops *t);

/*
 * The entry of @to, asked from the kernel when it is new or routing has changed (then at most every
 * 10 ms of @now, ns of any monotonic clock). Valid as long as @t. NULL: the table is full.
 */
struct next_hop *next_hops_find(struct next_hops *t, const struct addr *to, uint64_t now);

/* Does the neighbour on the way to @to not say its link-layer address (as far as the kernel has
 * asked)? Asks the kernel. */
bool next_hop_unresolved(const struct addr *to);

#endif
