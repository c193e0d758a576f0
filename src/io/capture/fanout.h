#ifndef IO_CAPTURE_FANOUT_H
#define IO_CAPTURE_FANOUT_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

#include "packet/addr.h"

/*
 * Which of several workers has a connection: the same function in C, for callers that have a tuple, and as a
 * program that the kernel runs for each packet of a PACKET_FANOUT_CBPF group.
 *
 *   x = A * (1 if the addresses count) ^ P * 0x10001 ^ seed
 *   h = upper 16 bits of (x * 0x9E3779B1 mod 2^32)
 *   worker = h * workers / 65536
 *
 * A is the exclusive or of all 32-bit words of both addresses, P that of both ports. So both directions of a
 * connection have the same worker, and an IPv4 address counts as in its form mapped to IPv6. The kernel's
 * program finds ports in TCP directly after an IPv4 header of any length, after the fixed IPv6 header, or
 * after that and the 8 bytes of a hop-by-hop header (a jumbogram, which the kernel makes of a super-packet of
 * more than 64 KiB); elsewhere P is 0.
 */
#define FANOUT_MAX_WORKERS 32

struct fanout {
	unsigned workers; /* 1 to FANOUT_MAX_WORKERS */
	uint32_t seed;
	/*
	 * Only the source port counts, and so only one direction. Then the code that chooses the source port
	 * of a connection knows its worker before the rest of the connection is known.
	 */
	bool source_port_only;
};

/*
 * Spread over @workers workers with a new random seed. Returns 0, or -1 if the kernel gives no random bytes.
 */
int fanout_init(struct fanout *f, unsigned workers, bool source_port_only);

/* The worker, from 0, of the connection *t. */
unsigned fanout_worker(const struct fanout *f, const struct tuple *t);

/* With source_port_only: the worker, from 0, of connections from @port (host byte order). */
unsigned fanout_port_worker(const struct fanout *f, uint16_t port);

/*
 * Which member of the group has each worker's packets: that of worker w is w * each + (bit w of turned), or
 * the same counted from the end.
 */
struct fanout_members {
	unsigned each;   /* sockets of a worker: 1 or 2 */
	uint32_t turned; /* with two: the workers whose packets go to the second */
	bool reversed;
	bool both_ways; /* packets that this host sends are captured as well ... */
	unsigned link;  /* ... with this many bytes before the IP header */
};

#define FANOUT_PROGRAM_MAX 256

/*
 * Write the classic BPF program that returns the member for a packet (PACKET_FANOUT_DATA, packet(7)) to
 * @code. Returns its number of instructions.
 */
unsigned fanout_program(struct sock_filter code[FANOUT_PROGRAM_MAX], const struct fanout *f,
			const struct fanout_members *m);

#endif
