#ifndef IO_CAPTURE_FILTER_H
#define IO_CAPTURE_FILTER_H

#include <pcap/pcap.h>
#include <stdbool.h>
#include <stddef.h>

#include "packet/parse.h"

/* Which kinds of packets (by the kernel's packet type, see packet(7)) a capture wants. */
enum capture_direction {
	CAPTURE_BOTH,         /* everything that the interface carries */
	CAPTURE_NOT_OUTGOING, /* nothing that is sent, because on loopback it is seen again as incoming */
	CAPTURE_TO_HOST,      /* only what is addressed to this host: PACKET_HOST */
	CAPTURE_FROM_HOST,    /* only what is sent: PACKET_OUTGOING */
};

/*
 * Set *link to what the packets of an interface of the hardware type @arphrd (ARPHRD_, net/if_arp.h) begin
 * with. Returns false if this type is not supported.
 */
bool capture_link_type(unsigned short arphrd, enum link_type *link);

/* The snap length that means all of a packet: more bytes than any packet has. */
#define CAPTURE_FILTER_ALL 0x100000u

/*
 * Compile the filter @text (pcap-filter(7); NULL or "" matches everything) for packets that begin with @link.
 * Of a packet that matches, @snaplen bytes pass; 0 means all. Returns 0, and the caller has to
 * pcap_freecode() *program; or -1 with words in @err.
 */
int capture_filter_compile(struct bpf_program *program, const char *text, enum link_type link,
			   unsigned snaplen, char *err, size_t err_size);

/*
 * Put *first in front of *program: what *first lets pass, passes as it says; *program decides about the rest.
 * Returns 0, or -1 if out of memory. The caller still has to free both.
 */
int capture_filter_prepend(struct bpf_program *program, const struct bpf_program *first);

/*
 * Attach *program to the socket @fd, preceded by a test of the packet type. Returns 0, or -1 with words in
 * @err.
 */
int capture_filter_attach(int fd, const struct bpf_program *program, enum capture_direction direction,
			  char *err, size_t err_size);

/* Attach a filter that drops everything to the socket @fd. Returns 0, or -1 with errno. */
int capture_filter_drop_all(int fd);

/*
 * Lock the filter of the socket @fd: nobody can replace or remove it any more. Nor can the program of the
 * fan-out group be replaced by this socket. Returns 0, or -1 with errno.
 */
int capture_filter_lock(int fd);

#endif
