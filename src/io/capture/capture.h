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

/* Inside of live capture: what its sources (capture_packet.c, capture_ring.c) have in common. */

/* The head of each. */
struct capture {
	struct source source; /* fd: the AF_PACKET socket */
	struct source_counters counters;
	char interface[IFNAMSIZ];
	int ifindex;
	enum link_type link;
	enum capture_direction direction;
	unsigned snaplen; /* 0: all of a packet */
	struct bpf_program program;
	uint64_t filter_since; /* packets stamped before this were let in by the filter before */
	bool drained;          /* the last poll left nothing in the kernel, not even unfinished */
	uint64_t oldest; /* ns, greatest age of a packet when it was delivered; whoever looks resets it */
};

static inline struct capture *capture_of(struct source *s)
{
	return CONTAINER_OF(s, struct capture, source);
}

/*
 * Open a source whose socket is bound to the interface under a drop-all filter. NULL with words in
 * @err. capture_let_in() begins the capture, after the socket joined its fan-out group.
 */
struct capture *capture_packet_new(const struct capture_options *o, char *err, size_t err_size);
struct capture *capture_ring_new(const struct capture_options *o, char *err, size_t err_size);
int capture_let_in(struct capture *c, char *err, size_t err_size);
/* Keep blocks of a ring free that is filling up; for one that is not polled just now. */
void capture_ring_relieve(struct capture *c);

/*
 * Steps of the two functions above. capture_socket() fills the head and makes a socket that
 * delivers a virtio_net_hdr with each packet, not bound yet; c->source.ops is set before.
 * capture_bind() binds it under a drop-all filter. Both -1 with words in @err.
 */
int capture_socket(struct capture *c, const struct capture_options *o, char *err, size_t err_size);
int capture_bind(struct capture *c, char *err, size_t err_size);
/* Words for the system call that failed; returns -1. */
int capture_fail(const struct capture *c, const char *what, char *err, size_t err_size);
void capture_note_error(struct capture *c, int code);
void capture_head_close(struct capture *c); /* the socket and the filter */

/* Give all of @list the filter @text, or none. */
int capture_refilter(struct capture *list[], unsigned n, const char *text, char *err, size_t err_size);

/*
 * The fan-out group of an interface: all sockets of all workers (capture_group.c). Member i is the
 * socket that joined as the i-th, from 0.
 */
struct capture_group;

/* A change of the group's program, asked for by one worker. */
struct capture_turn {
	bool busy;       /* some processor may still run the old program; see capture_turn_busy() */
	int error;       /* errno; then nothing has changed */
	unsigned before; /* the half that had the packets */
};

static inline bool capture_turn_busy(const struct capture_turn *t)
{
	return __atomic_load_n(&t->busy, __ATOMIC_ACQUIRE);
}

/*
 * Packets of @worker go to its socket @half (0, 1) from now on, or soon: @t, which stays the
 * caller's, tells when. Never blocks for longer than starting a thread takes. False when there is
 * no thread to do it.
 */
bool capture_group_turn(struct capture_group *g, unsigned worker, unsigned half, struct capture_turn *t);
/* The members are in the opposite order of what was thought when there were @seen reversals. */
void capture_group_reverse(struct capture_group *g, unsigned seen);
unsigned capture_group_reversals(const struct capture_group *g);
void capture_group_put(struct capture_group *g); /* one user less; after the last it is freed */

/*
 * Two sockets of worker @worker in @g as one source, which is then a user of it. NULL with words in
 * @err, and nothing taken. capture_auto.c
 */
struct source *capture_auto_new(struct capture *packet, struct capture *ring, const struct capture_options *o,
				struct capture_group *g, unsigned worker, char *err, size_t err_size);

/* How long the kernel keeps a block of a ring that does not fill (ns), measured once; never 0. */
uint64_t capture_ring_retire_time(void);

/* Time, once a poll. */
struct capture_clock {
	uint64_t now;    /* CLOCK_MONOTONIC, ns */
	uint64_t offset; /* wall clock minus that */
};

#define CAPTURE_OLDEST (60 * NS_PER_SEC) /* more than a packet may wait in the kernel */

static inline struct capture_clock capture_clock(void)
{
	uint64_t wall = clock_wall(), now = clock_now();

	return (struct capture_clock){ now, wall - now };
}

/*
 * A packet's time from the kernel's stamp, wall clock in ns. One in the future or far in the past,
 * because the wall clock was set meanwhile, is replaced by now.
 */
static inline uint64_t capture_time(const struct capture_clock *k, uint64_t stamp)
{
	uint64_t t = stamp - k->offset;

	return k->now - t < CAPTURE_OLDEST ? t : k->now;
}

static inline void capture_note_age(struct capture *c, const struct capture_clock *k,
				    const struct raw_packet *p)
{
	c->oldest = MAX(c->oldest, k->now - MIN(p->time, k->now));
}

/* A GRO super-packet without a pending checksum was verified when it was put together. */
static inline enum checksum_state capture_checksum(const struct virtio_net_hdr *v, uint32_t status)
{
	if ((v->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || (status & TP_STATUS_CSUMNOTREADY))
		return CHECKSUM_PARTIAL;
	if ((v->flags & VIRTIO_NET_HDR_F_DATA_VALID) || (status & TP_STATUS_CSUM_VALID) ||
	    v->gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return CHECKSUM_TRUSTED;
	return CHECKSUM_VERIFY;
}

static inline uint16_t capture_gso_size(const struct virtio_net_hdr *v)
{
	uint8_t type = v->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;

	return type == VIRTIO_NET_HDR_GSO_TCPV4 || type == VIRTIO_NET_HDR_GSO_TCPV6 ? v->gso_size : 0;
}

/* Queued under the filter before, and not wanted by the one now? */
static inline bool capture_outdated(const struct capture *c, const struct raw_packet *p)
{
	struct pcap_pkthdr h = { .caplen = p->captured, .len = p->len };

	return p->time < c->filter_since && !pcap_offline_filter(&c->program, &h, p->data);
}

#endif
