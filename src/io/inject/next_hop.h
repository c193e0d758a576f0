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
	uint32_t mtu;  /* IP bytes: the smaller of the route's and the interface's; 0: not known */
	bool ethernet; /* the interface is up, takes Ethernet frames and resolves neighbours */
	bool usable;   /* ethernet, and the neighbour's address is known, so header is valid */
	bool local;    /* an address of this host: packets never leave it */
	bool stale;    /* usable, but the kernel has to see a packet to refresh the neighbour's address */
	uint8_t header[ETH_HLEN];

	struct addr via; /* the neighbour: a gateway, or @to itself */
	bool outdated;   /* routing has changed since resolved_at (ns) */
	uint64_t resolved_at;
};

/* The next hops of a few destinations, kept up to date as they change. They belong to one thread. */
struct next_hops {
	int fd; /* watch it for reading, then call next_hops_readable() */
	unsigned n;
	unsigned mtu_changes; /* grows when the mtu of any entry has changed */
	struct next_hop hop[NEXT_HOPS_MAX];
};

/* Begin with an empty table. Needs no privilege. Returns 0, or -1 with errno. */
int next_hops_open(struct next_hops *t);

/* Close the table's socket. Its entries are no longer kept up to date. */
void next_hops_close(struct next_hops *t);

/* Take in what has changed, without blocking. Call it when t->fd is readable. */
void next_hops_readable(struct next_hops *t);

/*
 * The entry for @to, which is looked up in the kernel if it is new or routing has changed, in the latter case
 * at most every 10 ms. @now: ns, of any monotonic clock. It is valid for as long as @t. NULL if the table is
 * full.
 */
struct next_hop *next_hops_find(struct next_hops *t, const struct addr *to, uint64_t now);

/*
 * Has the kernel asked for the link-layer address of the neighbour on the way to @to, without an answer? Asks
 * the kernel.
 */
bool next_hop_unresolved(const struct addr *to);

#endif
