#ifndef IO_CAPTURE_FANOUT_H
#define IO_CAPTURE_FANOUT_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

#include "packet/addr.h"

/*
 * Which of several workers has a connection: the same function in C, for those who have a tuple,
 * and as a program that the kernel runs for each packet of a PACKET_FANOUT_CBPF group.
 *
 *   x = A * (1 if the addresses count) ^ P * 0x10001 ^ seed
 *   h = upper 16 bits of (x * 0x9E3779B1 mod 2^32)
 *   worker = h * workers / 65536
 *
 * A is the exclusive or of all 32-bit words of both addresses, P that of both ports; so both
 * directions of a connection have the same worker, and an IPv4 address counts as it does when
 * mapped to IPv6. The kernel's program finds ports in TCP right behind an IPv4 header of any
 * length, the fixed IPv6 header, or that and the 8 bytes of a hop-by-hop header (a jumbogram,
 * which the kernel makes of a super-packet of more than 64 KB); elsewhere P is 0.
 */
#define FANOUT_MAX_WORKERS 32

struct fanout {
	unsigned workers; /* 1 to FANOUT_MAX_WORKERS */
	uint32_t seed;
	/*
	 * The source port alone counts, and not in both directions: whoever chooses that port of a
	 * connection knows the worker without the rest of it.
	 */
	bool source_port_only;
};

/* For @workers, with a new random seed. 0; -1: the kernel gives no random bytes. */
int fanout_init(struct fanout *f, unsigned workers, bool source_port_only);

unsigned fanout_worker(const struct fanout *f, const struct tuple *t);
/* With source_port_only. @port in host byte order, as all ports here. */
unsigned fanout_port_worker(const struct fanout *f, uint16_t port);

/*
 * Which member of the group has each worker's packets: worker w's is w * members + (bit w of
 * turned), or that counted from the end.
 */
struct fanout_members {
	unsigned each;   /* sockets of a worker: 1 or 2 */
	uint32_t turned; /* with two: the workers whose packets go to the second */
	bool reversed;
	bool both_ways; /* packets sent by this host come, too ... */
	unsigned link;  /* ... with so many bytes in front of the IP header */
};

#define FANOUT_PROGRAM_MAX 256

/* Returns the number of instructions. A classic BPF program; see PACKET_FANOUT_DATA, packet(7). */
unsigned fanout_program(struct sock_filter code[FANOUT_PROGRAM_MAX], const struct fanout *f,
			const struct fanout_members *m);

#endif
