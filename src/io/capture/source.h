#ifndef IO_CAPTURE_SOURCE_H
#define IO_CAPTURE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "packet/parse.h"

/*
 * A source delivers packets. Live capture (AF_PACKET) and pcap files implement this interface; the pipelines
 * know nothing else of them. A source belongs to one thread.
 */
struct source;

struct source_counters {
	uint64_t packets;      /* delivered to the caller */
	uint64_t bytes;        /* in them, as on the wire, with link-layer headers */
	uint64_t truncated;    /* delivered, but truncated by the buffer (not by the snaplen asked for) */
	uint64_t kernel_drops; /* passed by the filter, but dropped for lack of buffer (tp_drops) */
	uint64_t let_in;       /* live: passed by the filter; now delivered, dropped, outdated or unread */
	uint64_t outdated;     /* passed by a filter that was replaced before they were read */
	uint64_t errors;       /* receive errors other than would-block; source.error has the last */
	/* live capture by a ring; 0 without one */
	uint64_t ring_bytes;   /* its size */
	uint64_t ring_used;    /* gauge: bytes of it in blocks that wait to be read */
	uint64_t ring_most;    /* the most bytes that ever waited at once */
	uint64_t ring_freezes; /* times that the kernel found no free block */
	uint64_t ring_aside;   /* packets copied aside to keep blocks free */
	uint64_t turns;        /* from the ring to a wake-up for each packet, or back */
};

/* Add each counter of *n to that of *to. */
void source_counters_add(struct source_counters *to, const struct source_counters *n);

/* How many packets the filter passed that were neither read, dropped nor outdated. */
static inline uint64_t source_unread(const struct source_counters *n)
{
	const uint64_t seen = n->packets + n->kernel_drops + n->outdated;

	return n->let_in > seen ? n->let_in - seen : 0;
}

/* Takes a packet. How long its bytes stay valid depends on who asked for it. */
typedef void (*source_fn)(const struct raw_packet *p, void *arg);

struct source_ops {
	/* Deliver at most @budget of the packets that are there now, without blocking. Returns how many. */
	unsigned (*poll)(struct source *s, unsigned budget, source_fn fn, void *arg);
	void (*release)(struct source *s); /* see source_take(); NULL: nothing to do */
	void (*counters)(struct source *s, struct source_counters *c); /* includes the kernel's */
	/* live capture only; see capture_set_filter() */
	int (*set_filter)(struct source *s, const char *filter, char *err, size_t err_size);
	void (*close)(struct source *s);
};

/* Common head of every source. */
struct source {
	const struct source_ops *ops;
	int fd;          /* readable when poll() has packets; -1: always ready (files) */
	bool at_end;     /* files: there are no more packets */
	bool prompt;     /* live, set by the caller: few wait for each packet, so be quick, not cheap */
	char name[64];   /* for messages: "eth0", "file x.pcap" */
	char error[160]; /* words for the last error; after opening: a warning, or empty */
};

/* Return to the kernel what source_take() has delivered; its bytes are no longer valid. */
static inline void source_release(struct source *s)
{
	if (s->ops->release)
		s->ops->release(s);
}

/*
 * Deliver at most SOURCE_TAKE_MOST packets whose bytes stay valid until source_release(), so that several of
 * them can be processed together. Only for live capture. Returns how many were delivered.
 */
#define SOURCE_TAKE_MOST 32u /* 2 MiB of super-packets */
static inline unsigned source_take(struct source *s, source_fn fn, void *arg)
{
	return s->ops->poll(s, SOURCE_TAKE_MOST, fn, arg);
}

/* Deliver at most @budget packets whose bytes are valid only during @fn. Returns how many were delivered. */
static inline unsigned source_poll(struct source *s, unsigned budget, source_fn fn, void *arg)
{
	unsigned n = s->ops->poll(s, budget, fn, arg);

	source_release(s);
	return n;
}

/* Fill *c with the counters of the source since it was opened, including those of the kernel. */
static inline void source_counters(struct source *s, struct source_counters *c)
{
	s->ops->counters(s, c);
}

/* Close the source and free it. */
static inline void source_close(struct source *s)
{
	s->ops->close(s);
}

/* How live capture receives packets. One table: enum, name of the option's value, words for the log. */
#define CAPTURE_MODES(X)                                                                                     \
	X(AUTO, "auto", "auto (per packet, a ring at high rates)") /* by rate and age: see auto.c */         \
	X(RING, "ring", "ring")           /* whole blocks: cheap, but up to a few ms late */                 \
	X(PACKET, "packet", "per packet") /* quick, but uses more CPU */                                     \
	X(ALTERNATE, "alternate", "alternating, for tests") /* one and the other by turns */
enum capture_mode {
#define X(id, name, text) CAPTURE_##id,
	CAPTURE_MODES(X)
#undef X
		CAPTURE_MODE_COUNT
};

struct capture_options {
	const char *interface; /* one interface by name */
	const char *filter;    /* pcap-filter(7), run in the kernel; NULL or "": everything */
	/*
	 * Only packets that are addressed to this host (PACKET_HOST), and none that it sends. On loopback,
	 * outgoing packets are always ignored, because each would be seen twice.
	 */
	bool incoming_only;
	bool outgoing_only;  /* the contrary; on loopback every packet, once */
	bool filter_changes; /* capture_set_filter() will be called; else the filter is locked */
	unsigned snaplen;    /* bytes of a packet wanted; 0: all of it (super-packets whole) */
	/* Packets that match this one, whether or not they match the filter, are cut to cut_to bytes. */
	const char *cut_filter; /* NULL: none */
	unsigned cut_to;
	size_t buffer_bytes; /* receive buffer; 0: 16 MiB. Without CAP_NET_ADMIN at most rmem_max */
	enum capture_mode mode;
	/* of a ring: how late a packet may be read. A block of it is used up in this time; 0: 1 ms */
	unsigned retire_ms;
	size_t ring_bytes; /* locked in memory; 0: 32 MiB. At least four blocks, 1 MiB or more */
};

/*
 * Open live capture. The link-layer headers are those of raw_packet.link: Ethernet, or none on tunnels,
 * without the VLAN tags that the kernel has removed. Returns NULL on failure, with a message in @err that
 * says what, why and what to do ("interface eth7 does not exist; available: lo, eth0", "filter ...",
 * "capturing needs CAP_NET_RAW: run as root or ..."). An interface that is down, or goes down, is not a
 * failure: it counts as an error, and its packets come when it is up.
 */
struct source *capture_open(const struct capture_options *o, char *err, size_t err_size);

struct fanout;

/*
 * The same for several workers: fill @list with f->workers sources, each for a thread of its own. The source
 * of the worker that fanout_worker() names delivers the packet. Memory in *o applies to each of them.
 * Returns 0, or -1 with @err and none open. Close them all together, when none of them is polled any more.
 */
int capture_open_workers(const struct capture_options *o, const struct fanout *f, struct source *list[],
			 char *err, size_t err_size);

/*
 * Replace the filter of a source of live capture that was opened with filter_changes. Once this has
 * returned, all packets that match the new filter are delivered, and no others. Returns 0, or -1 with @err
 * and the old filter in force.
 */
int capture_set_filter(struct source *s, const char *filter, char *err, size_t err_size);

/*
 * Open a source of the SYN-ACKs and resets that leave this host by whatever interface, of packets that match
 * pcap-filter(7) expression @ports ("tcp src port 80 or ..."); and of those with payload that match @answers,
 * an expression of the same kind, one in 64 at random. Headers, and what an answer begins with;
 * raw_packet.link is LINK_RAW.
 * Returns NULL with a message in @err on failure.
 */
struct source *capture_replies_open(const char *ports, const char *answers, char *err, size_t err_size);

/*
 * What @fd sends, an AF_PACKET socket that is to receive nothing and has a filter that drops all, is not for
 * this source, and the kernel need not clone it. Without effect where the kernel does not know how.
 */
void capture_replies_without(struct source *s, int fd);

/*
 * Is @filter valid? It is only compiled, for the check of an option, which needs no privilege but may
 * resolve names. Returns 0, or -1 with libpcap's words in @err.
 */
int capture_check_filter(const char *filter, char *err, size_t err_size);

/*
 * The same for the setter of an option: returns NULL, or what is wrong, in the memory of args_wrong(). The
 * words do not repeat the filter, because the message about an option names it anyway.
 */
const char *capture_filter_wrong(const char *filter);

/*
 * Open a pcap or pcapng file, filtered by @filter as above; "-" is standard input. raw_packet.time is that
 * of the file, in ns since the epoch. No file says whether a checksum was still pending when the packet was
 * captured; it counts as pending if the field holds exactly the sum of the pseudo-header. Returns NULL with
 * words in @err.
 */
struct source *source_file_open(const char *path, const char *filter, char *err, size_t err_size);

/*
 * Fill @names with at most @max of the interfaces that "any" stands for: those that are up, have no master,
 * and are not a VLAN or the like of one already listed, so that each packet is seen once. Loopback is among
 * them if @loopback is set. Returns how many there are; if 0, errno is
 * 0 or says why they could not be read.
 */
unsigned capture_interfaces(char names[][16], unsigned max, bool loopback);

#endif
