#ifndef IO_CAPTURE_FILTER_H
#define IO_CAPTURE_FILTER_H

#include <pcap/pcap.h>
#include <stdbool.h>
#include <stddef.h>

#include "packet/parse.h"

/* Which kinds of packets (by the kernel's packet type, see packet(7)) a capture wants. */
enum capture_direction {
	CAPTURE_BOTH,         /* whatever the interface carries */
	CAPTURE_NOT_OUTGOING, /* what is sent is not wanted (on loopback it is seen again coming in)
			       */
	CAPTURE_TO_HOST,      /* only what is addressed to this host: PACKET_HOST */
};

/*
 * What the packets of an interface begin with, by its hardware type (ARPHRD_, net/if_arp.h). False
 * when this type is not supported.
 */
bool capture_link_type(unsigned short arphrd, enum link_type *link);

/* Bytes wanted of a packet when all are wanted: more than any packet has. */
#define CAPTURE_FILTER_ALL 0x100000u

/*
 * Compile @text (pcap-filter(7); NULL or "" accepts everything) for @link. @snaplen: bytes that
 * the filter lets through of a packet, or 0 for all. 0, and pcap_freecode(@program) is due; or -1
 * with words in @err.
 */
int capture_filter_compile(struct bpf_program *program, const char *text, enum link_type link,
			   unsigned snaplen, char *err, size_t err_size);

/* Put @program, with the test of the packet type in front, into socket @fd. 0, or -1 with words in
 * @err. */
int capture_filter_attach(int fd, const struct bpf_program *program, enum capture_direction direction,
			  char *err, size_t err_size);

/* Let nothing into socket @fd. 0, or -1 with errno. */
int capture_filter_drop_all(int fd);

#endif
