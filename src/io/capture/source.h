#ifndef IO_CAPTURE_SOURCE_H
#define IO_CAPTURE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "packet/parse.h"

/*
 * A source delivers packets. Behind this interface stand live capture (AF_PACKET) and pcap files;
 * the pipelines know only this.
 */
struct source;

struct source_counters {
	uint64_t packets;      /* delivered to the caller */
	uint64_t bytes;        /* of those, as long as they were on the wire, with link-layer headers */
	uint64_t truncated;    /* delivered, but cut by the buffer (not: by the snaplen asked for) */
	uint64_t kernel_drops; /* let in by the filter, but lost for want of buffer (tp_drops) */
	uint64_t let_in;       /* live capture: by the filter; delivered, dropped, outdated or unread */
	uint64_t outdated;     /* let in by a filter that was replaced before they were read */
	uint64_t errors;       /* receive errors other than would-block; source.error has the last */
	/* live capture by a ring; 0 without one */
	uint64_t ring_bytes;   /* its size */
	uint64_t ring_used;    /* gauge: of these, in blocks that wait to be read now */
	uint64_t ring_most;    /* the most that ever waited at once */
	uint64_t ring_freezes; /* times that the kernel found no free block */
	uint64_t ring_aside;   /* packets copied aside to keep blocks free */
	uint64_t turns;        /* from the ring to a wake-up for each packet, or back */
};

/* Add each of @n's counters to @to's. */
void source_counters_add(struct source_counters *to, const struct source_counters *n);

/* Let in by the filter, and not yet read or left behind. */
static inline uint64_t source_unread(const struct source_counters *n)
{
	const uint64_t seen = n->packets + n->kernel_drops + n->outdated;

	return n->let_in > seen ? n->let_in - seen : 0;
}

typedef void (*source_fn)(const struct raw_packet *p, void *arg);

struct source_ops {
	/*
	 * Deliver at most @budget packets that are there now; never blocks. Returns how many.
	 */
	unsigned (*poll)(struct source *s, unsigned budget, source_fn fn, void *arg);
	void (*release)(struct source *s); /* see source_take(); NULL: nothing to do */
	void (*counters)(struct source *s, struct source_counters *c); /* reads the kernel's too */
	/* live capture only; see capture_set_filter() */
	int (*set_filter)(struct source *s, const char *filter, char *err, size_t err_size);
	void (*close)(struct source *s);
};

/* Common head of every source. */
struct source {
	const struct source_ops *ops;
	int fd;          /* readable when poll() has something; -1: always ready (files) */
	bool at_end;     /* files: nothing will come any more */
	char name[64];   /* "eth0", "file x.pcap" for messages */
	char error[160]; /* text of the last error; after opening: a warning, or empty */
};

/* What source_take() delivered goes back to the kernel. */
static inline void source_release(struct source *s)
{
	if (s->ops->release)
		s->ops->release(s);
}

/*
 * Deliver packets whose bytes stay valid until source_release(), so that several of them can be
 * looked at together. Live capture only; at most SOURCE_TAKE_MOST. Returns how many.
 */
#define SOURCE_TAKE_MOST 32u /* of super-packets this is 2 MB */
static inline unsigned source_take(struct source *s, source_fn fn, void *arg)
{
	return s->ops->poll(s, SOURCE_TAKE_MOST, fn, arg);
}

/* Deliver packets whose bytes are valid during fn only. */
static inline unsigned source_poll(struct source *s, unsigned budget, source_fn fn, void *arg)
{
	unsigned n = s->ops->poll(s, budget, fn, arg);

	source_release(s);
	return n;
}

static inline void source_counters(struct source *s, struct source_counters *c)
{
	s->ops->counters(s, c);
}

static inline void source_close(struct source *s)
{
	s->ops->close(s);
}

/* How live packets come to us. */
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
	 * Only what is addressed to this host (PACKET_HOST), no outgoing copies. On loopback
	 * outgoing copies are always ignored, or each packet would be seen twice.
	 */
	bool incoming_only;
	unsigned snaplen;    /* bytes of a packet wanted; 0: all of it (super-packets whole) */
	size_t buffer_bytes; /* receive buffer; 0: 16 MB. Without CAP_NET_ADMIN at most rmem_max */
	enum capture_mode mode;
	size_t ring_bytes; /* locked in memory; 0: 32 MB. At least four blocks, 1 MB or more */
};

/*
 * Open live capture. Link-layer headers are those of raw_packet.link: Ethernet, or none on tunnels.
 * VLAN tags taken off by the kernel are not there. On failure NULL and a message in @err that says
 * what, why and what to do ("interface eth7 does not exist; available: lo, eth0", "filter ...",
 * "capturing needs CAP_NET_RAW: run as root or ..."). An interface that is down, or goes down, is
 * an error counted later; its packets come when it is up.
 */
struct source *capture_open(const struct capture_options *o, char *err, size_t err_size);

/*
 * The same for several workers: f->workers sources, each for a thread of its own, and a packet comes
 * by the source of the worker that fanout_worker() names. Memory in @o is for each of them. 0; or
 * -1 with @err, and none is open. They are closed together, once none is polled any more.
 */
struct fanout;
int capture_open_workers(const struct capture_options *o, const struct fanout *f, struct source *list[],
			 char *err, size_t err_size);

/*
 * Replace the filter of a source from capture_open(). From the return on, only packets that pass
 * the new one are delivered, and none of these was missed since. 0, or -1 with @err and the old
 * filter in force.
 */
int capture_set_filter(struct source *s, const char *filter, char *err, size_t err_size);

/*
 * Compile only: is @filter valid? For option checks, needs no privilege, but may resolve names. 0,
 * or -1 with libpcap's words in @err.
 */
int capture_check_filter(const char *filter, char *err, size_t err_size);
/*
 * The same for the setter of an option: returns NULL, or what is wrong, in the memory of args_wrong(). The
 * words do not repeat the filter, because the message about an option names it anyway.
 */
const char *capture_filter_wrong(const char *filter);

/*
 * A pcap or pcapng file, filtered by @filter (as above). raw_packet.time is the file's own: ns
 * since the epoch. Whether a checksum was still pending when the packet was captured stands in no
 * file; it is taken for pending where the field holds exactly the pseudo-header's sum. @path "-" is
 * the standard input. NULL with words in @err.
 */
struct source *source_file_open(const char *path, const char *filter, char *err, size_t err_size);

/*
 * Names of the interfaces that "any" stands for: up, without a master, and not a VLAN or the like
 * of one already listed, so that a packet is seen once; loopback included when @loopback. Fills up
 * to @max names; returns the number.
 */
unsigned capture_interfaces(char names[][16], unsigned max, bool loopback);

#endif
