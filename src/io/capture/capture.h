#ifndef IO_CAPTURE_CAPTURE_H
#define IO_CAPTURE_CAPTURE_H

#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>

#include "base/util.h"
#include "program/clock.h"
#include "io/capture/filter.h"
#include "io/capture/fanout.h"
#include "io/capture/source.h"

/* The inside of live capture: what its sources (packet.c, ring.c, auto.c) have in common. */

/* The head of each source of one socket. */
struct capture {
	struct source source; /* fd: the AF_PACKET socket */
	struct source_counters counters;
	char interface[IFNAMSIZ];
	int ifindex;
	enum link_type link;
	enum capture_direction direction;
	unsigned snaplen; /* 0: all of a packet */
	unsigned cut_to;  /* bytes of what cut_filter matches; 0: there is none */
	struct bpf_program program;
	uint64_t filter_since; /* ns; packets stamped before this passed the previous filter */
	uint64_t held;         /* bytes of the delivered packets as they were captured */
	size_t buffer_bytes;   /* that packets may wait in, used only while they do; of a ring: its size */
	bool drained;          /* the last poll left nothing in the kernel, not even an unfinished block */
	uint64_t oldest;       /* ns, greatest age of a packet when delivered; the reader resets it */
};

/* The capture that has the source @s as its head. */
static inline struct capture *capture_of(struct source *s)
{
	return CONTAINER_OF(s, struct capture, source);
}

/*
 * Open a source that wakes up for each packet. Its socket is bound to the interface, but a filter drops
 * everything until capture_let_in(). Returns NULL with words in @err on failure.
 */
struct capture *capture_packet_new(const struct capture_options *o, char *err, size_t err_size);

/* The same for a source that reads a ring (TPACKET_V3). */
struct capture *capture_ring_new(const struct capture_options *o, char *err, size_t err_size);

/*
 * Begin the capture: replace the filter that drops everything with the one of the options. Call it after the
 * socket has joined its fan-out group. Returns 0, or -1 with words in @err.
 */
int capture_let_in(struct capture *c, char *err, size_t err_size);

/* Copy packets of a ring aside if it is filling up. For a ring that is not polled at the moment. */
void capture_ring_relieve(struct capture *c);

/*
 * A non-blocking AF_PACKET socket of this @type, SOCK_RAW or SOCK_DGRAM, that receives nothing before it is
 * bound. Returns its descriptor, or -1 with words in @err, which name the capability if that is what lacks.
 */
int capture_socket_new(int type, char *err, size_t err_size);

/*
 * The first step of capture_packet_new() and capture_ring_new(): fill the head and make a socket, not bound
 * yet, that delivers a virtio_net_hdr with each packet. c->source.ops has to be set before. Returns 0, or -1
 * with words in @err.
 */
int capture_socket(struct capture *c, const struct capture_options *o, char *err, size_t err_size);

/*
 * Their last step: bind the socket under a filter that drops everything. Returns 0, or -1 with words in @err.
 */
int capture_bind(struct capture *c, char *err, size_t err_size);

/* Write into @err that @what, a system call, failed for the reason errno on this interface. Returns -1. */
int capture_fail(const struct capture *c, const char *what, char *err, size_t err_size);

/* Count a receive error with the errno value @code, and keep its words in c->source.error. */
void capture_note_error(struct capture *c, int code);

/* Close the socket and free the filter; for the close() of the sources. */
void capture_head_close(struct capture *c);

/*
 * Give the @n captures of @list the filter @text (pcap-filter(7)): all of them or, with -1 and words in @err,
 * none. Returns 0 on success.
 */
int capture_refilter(struct capture *list[], unsigned n, const char *text, char *err, size_t err_size);

/*
 * The fan-out group of an interface: all sockets of all workers (group.c). Member i is the socket that joined
 * as the i-th, from 0.
 */
struct capture_group;

/* A change of the group's program that one worker has asked for. */
struct capture_turn {
	bool busy;       /* read it with capture_turn_busy() */
	int error;       /* errno, if nothing has changed; else 0 */
	unsigned before; /* the half that had the packets before */
};

/* May some CPU still run the old program? Any thread may ask. */
static inline bool capture_turn_busy(const struct capture_turn *t)
{
	return __atomic_load_n(&t->busy, __ATOMIC_ACQUIRE);
}

/*
 * Let the packets of @worker go to its socket @half (0 or 1), from now on or soon: *t, which stays the
 * caller's, tells when. Blocks no longer than it takes to start a thread. Returns false if no thread can be
 * started.
 */
bool capture_group_turn(struct capture_group *g, unsigned worker, unsigned half, struct capture_turn *t);

/*
 * Report that the members joined in the opposite order of what was assumed when capture_group_reversals() was
 * @seen. If another worker has reported it since, this does nothing.
 */
void capture_group_reverse(struct capture_group *g, unsigned seen);

/* How often the order of the members was found to be reversed. */
unsigned capture_group_reversals(const struct capture_group *g);

/* Give up one use of the group. The last one frees it. */
void capture_group_put(struct capture_group *g);

/*
 * Make one source (auto.c) of the two sockets of worker @worker in @g. It owns both sockets and one use of
 * the group. Returns NULL with words in @err on failure, and then owns nothing.
 */
struct source *capture_auto_new(struct capture *packet, struct capture *ring, const struct capture_options *o,
				struct capture_group *g, unsigned worker, char *err, size_t err_size);

/* How long (ns) the kernel keeps a block of a ring that does not fill; measured once, and never 0. */
uint64_t capture_ring_retire_time(void);

/* The time, read once per poll. */
struct capture_clock {
	uint64_t now;    /* CLOCK_MONOTONIC, ns */
	uint64_t offset; /* wall clock minus that */
};

#define CAPTURE_OLDEST (60 * NS_PER_SEC) /* more than a packet may wait in the kernel */

/* Read both clocks. */
static inline struct capture_clock capture_clock(void)
{
	uint64_t wall = clock_wall(), now = clock_now();

	return (struct capture_clock){ now, wall - now };
}

/*
 * The time of a packet (ns, CLOCK_MONOTONIC) from the kernel's stamp (ns, wall clock). If the wall clock was
 * set in the meantime, so that the time lies in the future or far in the past, the result is now.
 */
static inline uint64_t capture_time(const struct capture_clock *k, uint64_t stamp)
{
	uint64_t t = stamp - k->offset;

	return k->now - t < CAPTURE_OLDEST ? t : k->now;
}

/* Keep the age of the packet *p if it is the greatest so far. */
static inline void capture_note_age(struct capture *c, const struct capture_clock *k,
				    const struct raw_packet *p)
{
	c->oldest = MAX(c->oldest, k->now - MIN(p->time, k->now));
}

/*
 * How far the checksum of a packet with this virtio_net_hdr and TP_STATUS_ bits can be trusted. The kernel
 * verified a GRO super-packet without a pending checksum when it put it together.
 */
static inline enum checksum_state capture_checksum(const struct virtio_net_hdr *v, uint32_t status)
{
	if ((v->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || (status & TP_STATUS_CSUMNOTREADY))
		return CHECKSUM_PARTIAL;
	if ((v->flags & VIRTIO_NET_HDR_F_DATA_VALID) || (status & TP_STATUS_CSUM_VALID) ||
	    v->gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return CHECKSUM_TRUSTED;
	return CHECKSUM_VERIFY;
}

/* The payload bytes of each segment of a super-packet of TCP; 0 for any other packet. */
static inline uint16_t capture_gso_size(const struct virtio_net_hdr *v)
{
	uint8_t type = v->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;

	return type == VIRTIO_NET_HDR_GSO_TCPV4 || type == VIRTIO_NET_HDR_GSO_TCPV6 ? v->gso_size : 0;
}

/* Was the packet *p queued under the previous filter, and does the present one not match it? */
static inline bool capture_outdated(const struct capture *c, const struct raw_packet *p)
{
	struct pcap_pkthdr h = { .caplen = p->captured, .len = p->len };

	return p->time < c->filter_since && !pcap_offline_filter(&c->program, &h, p->data);
}

#endif
