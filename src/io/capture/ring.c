/*
 * Live capture at a high rate: an AF_PACKET ring (TPACKET_V3) in memory shared with the kernel.
 *
 * In: packets that the kernel's filter let through. The kernel writes them one behind the other into a
 * block, and hands the block over when the next packet does not fit, or when the timer says so: then it is
 * "retired", and our socket readable. Out: each packet to the caller's function as a raw_packet that points
 * into the block, so nothing is copied here and no system call is made. Blocks are given back when the
 * caller is done with what was delivered of them; when the budget of a poll ends inside a block, the next
 * poll goes on there.
 *
 * Frames have the length of their packets, and a block holds the largest packet there can be: a
 * super-packet of 64 KB, or what the device's limits for BIG TCP say. With a snaplen frames are
 * small and so are the blocks, because a block that the timer retires counts as full, whatever is
 * in it: the number of blocks is the time in milliseconds that we may be kept from reading.
 *
 * A block that the timer retires counts as full, whatever is in it, so a ring that we are kept from
 * reading for some hundred milliseconds is full of nearly empty blocks. Hence, when the blocks that
 * wait are more than a part of all and nearly empty, their packets are copied aside (aside.c), close
 * together, and the blocks given back at once. Small packets cost a fraction to copy of what is done with
 * them afterwards. Blocks that are full of large ones stay: a copy would save no room, and cost as much as
 * the rest of the work. The newest block stays, or the socket would not be readable while there are
 * packets aside.
 *
 * Memory: header, sockaddr_ll, virtio_net_hdr, packet. The status of a block says whose it is; it
 * is read before everything else in it (acquire), and written last (release).
 */
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/capture/aside.h"
#include "io/capture/capture.h"
#include "io/host/host.h"
#include "io/host/netlink.h"

#define RETIRE_MS 1
#define RING_DEFAULT (32u << 20)
#define BLOCK_WHOLE (256u << 10) /* for packets of any size */
#define BLOCK_CUT (64u << 10)    /* for packets cut to at most CUT_MOST bytes */
#define CUT_MOST 2048u
#define BLOCKS_LEAST 4u
#define FILLING(blocks) ((blocks) / 4) /* so many wait: their packets are copied aside if they are few */
#define SPARSE 4u                      /* less than one in so many bytes of a block: nearly empty */
#define SAMPLES 8u                     /* blocks that are looked at for that */
#define ASIDE_AT_ONCE 4096u            /* packets that one poll copies */
#define ASIDE_SHARE 4u                 /* of the ring's bytes, room for them */
#define FRAME_EXTRA 256u               /* more than what the kernel puts before a packet, and block header */
/* The kernel puts the IP header behind 16 bytes of room for a link layer, aligned, and then moves
 * it by the virtio_net_hdr; so much more, and it is aligned again. */
#define RESERVE (16u - (unsigned)sizeof(struct virtio_net_hdr))

struct ring {
	struct capture capture;
	uint8_t *map;
	size_t block_bytes;
	unsigned blocks;
	unsigned at;         /* the block to be read next */
	unsigned kept;       /* blocks before it that are read and not yet given back */
	const uint8_t *next; /* in it, the packet to be delivered next */
	uint32_t left;       /* packets in it that are not delivered; 0: it is not begun */
	unsigned most;       /* blocks that ever waited at once */
	struct aside *aside; /* what was in blocks before r->at, and is to be delivered first */
};

static struct tpacket_block_desc *block(const struct ring *r, unsigned i)
{
	/* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): a ring has BLOCKS_LEAST blocks or more */
	return (void *)(r->map + (size_t)(i % r->blocks) * r->block_bytes);
}

static bool ours(const struct ring *r, unsigned i)
{
	return __atomic_load_n(&block(r, i)->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER;
}

/* Ours are the blocks from r->at on, up to some. */
static unsigned waiting(const struct ring *r)
{
	unsigned low = 0, high = r->blocks;

	if (!ours(r, r->at))
		return 0;
	if (!ours(r, r->at + 1))
		return 1;
	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (ours(r, r->at + middle))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void block_is_read(struct ring *r)
{
	r->at = (r->at + 1) % r->blocks;
	r->kept++;
}

/* The block at r->at has a packet to be delivered; or none, then it is done with. */
static bool has_packet(struct ring *r)
{
	const struct tpacket_block_desc *b = block(r, r->at);

	if (r->left)
		return true;
	r->left = b->hdr.bh1.num_pkts;
	r->next = (const uint8_t *)b + b->hdr.bh1.offset_to_first_pkt;
	if (r->left)
		return true;
	block_is_read(r);
	return false;
}

/* The blocks before r->at that were read. */
static void give_back(struct ring *r)
{
	for (; r->kept; r->kept--) {
		struct tpacket_block_desc *b = block(r, r->at + r->blocks - r->kept);

		b->hdr.bh1.num_pkts = 0; /* for is_drained() */
		__atomic_store_n(&b->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
	}
}

/* The caller does not look any more at what was delivered. */
static void ring_release(struct source *s)
{
	struct ring *r = CONTAINER_OF(s, struct ring, capture.source);

	give_back(r);
	aside_release(r->aside);
}

/* Nothing to be read, and nothing in the block that the kernel writes to. */
static bool is_drained(const struct ring *r)
{
	return aside_empty(r->aside) && !ours(r, r->at) &&
	       !__atomic_load_n(&block(r, r->at)->hdr.bh1.num_pkts, __ATOMIC_ACQUIRE);
}

/* The next packet of the block in hand. */
static struct raw_packet packet_at(const struct ring *r, const struct capture_clock *clock)
{
	const struct tpacket3_hdr *h = (const void *)r->next;
	const struct sockaddr_ll *from = (const void *)(r->next + TPACKET_ALIGN(sizeof(*h)));
	const struct virtio_net_hdr *vnet = (const void *)(r->next + h->tp_mac - sizeof(*vnet));

	return (struct raw_packet){
		.data = r->next + h->tp_mac,
		.captured = h->tp_snaplen,
		.len = h->tp_len,
		.link = r->capture.link,
		.checksum = capture_checksum(vnet, h->tp_status),
		.gso_size = capture_gso_size(vnet),
		.time = capture_time(clock, (uint64_t)h->tp_sec * NS_PER_SEC + h->tp_nsec),
		.pkttype = from->sll_pkttype,
		.ifindex = from->sll_ifindex,
	};
}

/* On to the one behind it. */
static void step(struct ring *r)
{
	r->next += ((const struct tpacket3_hdr *)(const void *)r->next)->tp_next_offset;
	if (!--r->left) {
		block_is_read(r);
		return;
	}
	__builtin_prefetch(r->next);
	__builtin_prefetch(r->next + 128); /* where the headers of the packet end */
}

/* False when the packet is not delivered. */
static bool deliver(struct ring *r, const struct capture_clock *clock, const struct raw_packet *p,
		    source_fn fn, void *arg)
{
	struct source_counters *count = &r->capture.counters;

	if (capture_outdated(&r->capture, p)) {
		count->outdated++;
		return false;
	}
	count->packets++;
	count->bytes += p->len;
	r->capture.held += p->captured;
	count->truncated += p->captured < p->len && p->captured != r->capture.cut_to &&
			    (!r->capture.snaplen || p->captured < r->capture.snaplen);
	capture_note_age(&r->capture, clock, p);
	fn(p, arg);
	return true;
}

/* Of @n blocks that wait, some that lie apart: are they nearly empty? */
static bool is_sparse(const struct ring *r, unsigned n)
{
	size_t used = 0;

	for (unsigned i = 0; i < SAMPLES; i++)
		used += block(r, r->at + n * i / SAMPLES)->hdr.bh1.blk_len;
	return used < SAMPLES * r->block_bytes / SPARSE;
}

/* Of @n blocks that wait, the packets of how many are to be copied aside? Never those of the newest. */
static unsigned to_copy(const struct ring *r, unsigned n)
{
	return n > FILLING(r->blocks) && is_sparse(r, n) ? n - 1 : 0;
}

/*
 * Copy packets aside, of the first @n blocks that wait, as far as there is room. The caller has given back
 * what it was delivered.
 */
static void copy_aside(struct ring *r, unsigned n, const struct capture_clock *clock)
{
	const unsigned last = (r->at + n) % r->blocks;

	for (unsigned copied = 0; r->at != last && copied < ASIDE_AT_ONCE; copied++) {
		struct raw_packet p;

		if (!has_packet(r))
			continue;
		p = packet_at(r, clock);
		if (!aside_put(r->aside, &p))
			break;
		step(r);
		r->capture.counters.ring_aside++;
	}
	give_back(r);
}

void capture_ring_relieve(struct capture *c)
{
	struct ring *r = CONTAINER_OF(c, struct ring, capture);
	const unsigned n = to_copy(r, waiting(r));
	struct capture_clock clock;

	if (!n)
		return;
	clock = capture_clock();
	copy_aside(r, n, &clock);
}

/* An error makes the socket readable until it is taken. */
static void take_error(struct capture *c)
{
	int code = 0;
	socklen_t len = sizeof(code);

	if (!getsockopt(c->source.fd, SOL_SOCKET, SO_ERROR, &code, &len) && code)
		capture_note_error(c, code);
}

static unsigned ring_poll(struct source *s, unsigned budget, source_fn fn, void *arg)
{
	struct ring *r = CONTAINER_OF(s, struct ring, capture.source);
	unsigned taken = 0, delivered = 0, n, copy;
	struct capture_clock clock;
	struct raw_packet p;

	ring_release(s);
	n = waiting(r);
	if (!n) {
		r->capture.drained = is_drained(r);
		take_error(&r->capture);
		return 0;
	}
	r->most = MAX(r->most, n);
	clock = capture_clock();
	copy = to_copy(r, n);
	if (copy)
		copy_aside(r, copy, &clock);
	for (; taken < budget && aside_take(r->aside, &p); taken++)
		delivered += deliver(r, &clock, &p, fn, arg);
	for (; taken < budget && r->kept < r->blocks && ours(r, r->at); taken++) {
		if (!has_packet(r))
			continue;
		p = packet_at(r, &clock);
		step(r);
		delivered += deliver(r, &clock, &p, fn, arg);
	}
	r->capture.drained = is_drained(r);
	return delivered;
}

static void ring_counters(struct source *s, struct source_counters *out)
{
	struct ring *r = CONTAINER_OF(s, struct ring, capture.source);
	struct source_counters *c = &r->capture.counters;
	struct tpacket_stats_v3 st;
	socklen_t len = sizeof(st);

	/* Reading sets the kernel's own to zero. */
	if (!getsockopt(s->fd, SOL_PACKET, PACKET_STATISTICS, &st, &len)) {
		c->kernel_drops += st.tp_drops;
		c->let_in += st.tp_packets; /* with the dropped ones */
		c->ring_freezes += st.tp_freeze_q_cnt;
	}
	c->ring_bytes = r->blocks * r->block_bytes;
	c->ring_used = waiting(r) * r->block_bytes;
	c->ring_most = r->most * r->block_bytes;
	*out = *c;
}

static int ring_set_filter(struct source *s, const char *filter, char *err, size_t err_size)
{
	return capture_refilter((struct capture *[]){ capture_of(s) }, 1, filter, err, err_size);
}

static void ring_close(struct source *s)
{
	struct ring *r = CONTAINER_OF(s, struct ring, capture.source);

	if (r->map)
		munmap(r->map, r->blocks * r->block_bytes);
	aside_free(r->aside);
	capture_head_close(&r->capture);
	free(r);
}

static const struct source_ops ring_ops = {
	.poll = ring_poll,
	.release = ring_release,
	.counters = ring_counters,
	.set_filter = ring_set_filter,
	.close = ring_close,
};

static int read_limits(const struct nlmsghdr *h, void *arg)
{
	const struct nlattr *a[IFLA_GRO_MAX_SIZE + 1];

	if (h->nlmsg_type != RTM_NEWLINK || h->nlmsg_len < NLMSG_LENGTH(sizeof(struct ifinfomsg)))
		return 0;
	netlink_attributes(a, IFLA_GRO_MAX_SIZE, h, sizeof(struct ifinfomsg));
	*(unsigned *)arg = MAX(netlink_u32(a[IFLA_GSO_MAX_SIZE]), netlink_u32(a[IFLA_GRO_MAX_SIZE]));
	return 0;
}

/* The largest packet that the device may put together; 0 where the kernel does not say. */
static unsigned largest_packet(int ifindex)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg m;
	} q = {
		.h = { .nlmsg_len = sizeof(q),
		       .nlmsg_type = RTM_GETLINK,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
		.m = { .ifi_index = ifindex },
	};
	unsigned most = 0;

	if (netlink_ask(&q.h, read_limits, &most) < 0)
		return 0;
	return most;
}

static size_t block_size(const struct capture *c)
{
	size_t bytes = BLOCK_WHOLE, largest;

	if (c->snaplen && c->snaplen <= CUT_MOST)
		return BLOCK_CUT;
	largest = largest_packet(c->ifindex);
	while (bytes < largest + FRAME_EXTRA && bytes < (1u << 20))
		bytes *= 2;
	return bytes;
}

static int make_ring(struct ring *r, const struct capture_options *o)
{
	const size_t wanted = o->ring_bytes ? o->ring_bytes : RING_DEFAULT;
	struct tpacket_req3 req = { .tp_retire_blk_tov = o->retire_ms ? o->retire_ms : RETIRE_MS };
	unsigned n;

	r->block_bytes = block_size(&r->capture);
	n = (unsigned)MIN(wanted / r->block_bytes, 1u << 15);
	req.tp_block_size = req.tp_frame_size = (unsigned)r->block_bytes; /* frames: any length */
	/* The memory of a block is one piece; there may be less of it than asked for. */
	for (n = MAX(n, BLOCKS_LEAST);; n /= 2) {
		req.tp_block_nr = req.tp_frame_nr = n;
		if (!setsockopt(r->capture.source.fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)))
			break;
		if (errno != ENOMEM || n < 2 * BLOCKS_LEAST)
			return -1;
	}
	r->map = mmap(NULL, n * r->block_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r->capture.source.fd, 0);
	if (r->map == MAP_FAILED) {
		r->map = NULL;
		return -1;
	}
	r->blocks = n;
	r->capture.buffer_bytes = n * r->block_bytes;
	if (n * r->block_bytes + r->block_bytes <= wanted)
		snprintf(r->capture.source.error, sizeof(r->capture.source.error),
			 "the ring of %s has %zu MiB instead of %zu MiB: out of memory", r->capture.interface,
			 (n * r->block_bytes) >> 20, wanted >> 20);
	return 0;
}

static int set_up(struct ring *r, const struct capture_options *o, char *err, size_t err_size)
{
	static const int version = TPACKET_V3;
	static const unsigned reserve = RESERVE;
	struct capture *head = &r->capture;

	if (capture_socket(head, o, err, err_size) < 0)
		return -1;
	if (setsockopt(head->source.fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) < 0)
		return capture_fail(head, "TPACKET_V3", err, err_size);
	if (setsockopt(head->source.fd, SOL_PACKET, PACKET_RESERVE, &reserve, sizeof(reserve)) < 0)
		return capture_fail(head, "PACKET_RESERVE", err, err_size);
	if (make_ring(r, o) < 0)
		return capture_fail(head, "PACKET_RX_RING", err, err_size);
	r->aside = aside_new(r->blocks * r->block_bytes / ASIDE_SHARE);
	if (!r->aside)
		return capture_fail(head, "memory for packets", err, err_size);
	return capture_bind(head, err, err_size);
}

struct capture *capture_ring_new(const struct capture_options *o, char *err, size_t err_size)
{
	struct ring *r = calloc(1, sizeof(*r));

	if (!r) {
		snprintf(err, err_size, "capture on %s: out of memory", o->interface);
		return NULL;
	}
	r->capture.source.ops = &ring_ops;
	if (set_up(r, o, err, err_size) < 0) {
		ring_close(&r->capture.source);
		return NULL;
	}
	return &r->capture;
}

#define PROBE_BLOCK 4096u
#define PROBES 5
#define PROBE_PROTOCOL 0x88b5 /* IEEE 802, for local experiments */

/* One frame from loopback to loopback: ns until its block is ours, or 0. */
static uint64_t probe(int fd, struct tpacket_block_desc *b, const struct sockaddr_ll *to)
{
	static const uint8_t frame[ETH_ZLEN] = { [12] = PROBE_PROTOCOL >> 8, [13] = PROBE_PROTOCOL & 255 };
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t start = clock_now();

	if (sendto(fd, frame, sizeof(frame), 0, (const void *)to, sizeof(*to)) < 0 || poll(&p, 1, 50) != 1)
		return 0;
	__atomic_store_n(&b->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
	return clock_now() - start;
}

static int by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

uint64_t capture_ring_retire_time(void)
{
	static uint64_t known;
	static const int version = TPACKET_V3;
	const struct tpacket_req3 req = { .tp_block_size = PROBE_BLOCK,
					  .tp_frame_size = PROBE_BLOCK,
					  .tp_block_nr = 1,
					  .tp_frame_nr = 1,
					  .tp_retire_blk_tov = RETIRE_MS };
	struct sockaddr_ll lo = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(PROBE_PROTOCOL),
				  .sll_ifindex = host_interface_index("lo"),
				  .sll_halen = ETH_ALEN };
	uint8_t *map = MAP_FAILED;
	int fd;

	if (known)
		return known;
	known = RETIRE_MS * NS_PER_MS;
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return known;
	if (!setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) &&
	    !setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)))
		map = mmap(NULL, PROBE_BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map != MAP_FAILED && !bind(fd, (struct sockaddr *)&lo, sizeof(lo))) {
		uint64_t t[PROBES];

		/* All but the first begin where the timer does. */
		for (int i = 0; i < PROBES; i++)
			t[i] = probe(fd, (void *)map, &lo);
		qsort(t, PROBES, sizeof(t[0]), by_size);
		known = MAX(t[PROBES / 2], known);
	}
	if (map != MAP_FAILED)
		munmap(map, PROBE_BLOCK);
	close(fd);
	return known;
}
