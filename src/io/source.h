#ifndef IO_SOURCE_H
#define IO_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "packet/parse.h"

/*
 * A source delivers packets. Behind this interface stand live capture (AF_PACKET) and pcap files; the pipelines know only this.
 */
struct source;

struct source_counters {
	uint64_t packets;      /* delivered to the caller */
	uint64_t bytes;
	uint64_t truncated;    /* delivered, but cut by the buffer */
	uint64_t kernel_drops; /* PACKET_STATISTICS tp_drops, accumulated: captured by the filter but not delivered */
	uint64_t errors;       /* receive errors other than would-block; the last one's text is source_error() */
};

typedef void (*source_fn)(const struct raw_packet *p, void *arg);

struct source_ops {
	/* Deliver at most @budget packets that are there now; never blocks. Returns how many. raw_packet bytes are valid during fn only. */
	unsigned (*poll)(struct source *s, unsigned budget, source_fn fn, void *arg);
	void (*counters)(struct source *s, struct source_counters *c); /* reads the kernel's too */
	void (*close)(struct source *s);
};

/* Common head of every source. */
struct source {
	const struct source_ops *ops;
	int fd;		  /* readable when poll() has something; -1: always ready (files) */
	bool at_end;	  /* files: nothing will come any more */
	char name[64];	  /* "eth0", "file x.pcap" for messages */
	char error[160];  /* text of the last error */
};

static inline unsigned source_poll(struct source *s, unsigned budget, source_fn fn, void *arg)
{
	return s->ops->poll(s, budget, fn, arg);
}

struct capture_options {
	const char *interface;	/* one interface by name */
	const char *filter;	/* pcap-filter(7) text; compiled by libpcap, run in the kernel. NULL or "": everything */
	bool incoming_only;	/* only PACKET_HOST (addressed to this host), no outgoing copies. On loopback outgoing copies are always ignored */
	unsigned snaplen;	/* bytes of a packet wanted; 0: all of it (super-packets whole) */
	size_t buffer_bytes;	/* receive buffer; 0: 16 MB (SO_RCVBUFFORCE, falling back to what rmem_max allows) */
};

/*
 * Open live capture. On failure NULL and a message in @err that says what, why and what to do ("interface eth7 does not exist; there are: lo, eth0",
 * "filter: ...", "capturing needs CAP_NET_RAW: run as root or ...").
 */
struct source *capture_open(const struct capture_options *o, char *err, size_t err_size);

/* Replace the filter (new one in force without a gap that lets unwanted packets in). 0, or -1 with @err. */
int capture_set_filter(struct source *s, const char *filter, char *err, size_t err_size);

/* Compile only: is @filter valid? For option checks, needs no privilege. 0, or -1 with libpcap's words in @err. */
int capture_check_filter(const char *filter, char *err, size_t err_size);

/*
 * Names of the interfaces that "any" stands for: up, not enslaved to a master and without being an upper device of one already listed, so that a packet is
 * seen once; loopback included when @loopback. Fills up to @max names; returns the number.
 */
unsigned capture_interfaces(char names[][16], unsigned max, bool loopback);

#endif
