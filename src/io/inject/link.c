/*
 * Injection at the link layer.
 *
 * In: segments. Out: Ethernet frames by one AF_PACKET socket, with headers of our own, to the next
 * hop that next_hop.c knows. Against a raw IP socket this saves the routing of each packet and
 * netfilter, and PACKET_VNET_HDR lets the kernel do what it does for its own TCP:
 *
 *   - a super-packet leaves as one GSO packet, which the device segments, or at the last moment the
 *     kernel; each piece has an IP id one higher, PSH and FIN stay on the last (tcp_gso_segment()).
 *     Its checksum field holds the pseudo-header's sum only (NEEDS_CSUM): the device completes it,
 *     or the kernel, or nobody where both ends are in one machine.
 *   - a packet alone has its whole checksum: leaving that to others saves nothing that can be
 *     measured, and what a capture at the target shows would look wrong between virtual machines.
 *
 * What GSO cannot say (SYN with data, urgent data) is cut to wire segments here. So is what exceeds
 * the MTU of the moment, whatever the sender believed it was.
 *
 * The socket receives nothing: it has protocol 0, and a filter which drops all and sees to it that nobody can
 * make it listen. It is not bound: each message names its
 * interface, which outlives interfaces that come and go. PACKET_QDISC_BYPASS is not used: it saves
 * little, fails for super-packets where the device cannot segment, hides what is sent from tcpdump
 * and from the operator's traffic control, and drops where a queue would hold.
 *
 * What the link layer cannot reach goes by a raw socket (raw.c): this host itself, a next hop that is not
 * Ethernet (tun, ppp), has no route, or is a neighbour whose address is not known yet,
 * which makes the kernel ask for it. Frames of AF_PACKET do not count as use of a neighbour, so
 * the kernel would let its address grow stale for ever, even where the neighbour has moved. So, as
 * long as the entry is stale, one segment every few seconds takes the raw socket and the kernel
 * asks the neighbour again. When netfilter refuses that segment, it leaves as a frame all the same.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "program/clock.h"
#include "program/sandbox.h"
#include "io/capture/filter.h"
#include "io/inject/next_hop.h"
#include "io/inject/batch.h"
#include "packet/build.h"

/* A frame of 64 KB would exceed most devices' gso_max_size, and be segmented in software. */
#define FRAME_MAX 65535u
#define IP_MOST 65535u /* bytes of a packet */
#define TCP_CHECK_OFFSET 16u
#define REFRESH_INTERVAL (3 * NS_PER_SEC)

struct sink_link {
	struct sink sink;
	struct sink *raw;
	struct next_hops hops;
	struct sink_batch batch;
	uint64_t now; /* ns, of the batch in hand; 0: not read yet */
	uint64_t refreshed_at[NEXT_HOPS_MAX];
};

static struct sink_link *link_of(struct sink *s)
{
	return CONTAINER_OF(s, struct sink_link, sink);
}

/* What the raw socket counted becomes ours. */
static void take_counters(struct sink_link *l)
{
	struct sink_counters *to = &l->sink.counters, *from = &l->raw->counters;

	if (!from->segments)
		return;
	to->offered += from->offered;
	to->packets += from->packets;
	to->bytes += from->bytes;
	to->fallback += from->packets;
	for (int i = 0; i < SINK_ERROR_COUNT; i++)
		to->errors[i] += from->errors[i];
	if (from->last_errno)
		to->last_errno = from->last_errno;
	memset(from, 0, sizeof(*from));
}

/* One frame: @t, as pieces of at most @size payload bytes, which the kernel makes of it. */
static void add_frame(struct sink_link *l, const struct next_hop *hop, const struct tx_segment *t,
		      uint32_t size)
{
	struct sink_batch *b = &l->batch;
	struct sockaddr_ll *to = (void *)&b->to[b->n];
	uint8_t *frame = b->headers[b->n] + sizeof(struct virtio_net_hdr);
	bool v4 = addr_is_v4(&t->tuple.dst.addr);
	uint32_t packets = build_piece_count(t, size);
	bool gso = packets > 1;
	uint32_t header_len = (uint32_t)build_headers(frame + ETH_HLEN, t,
						      gso ? BUILD_CHECKSUM_PARTIAL : BUILD_CHECKSUM_FULL);
	struct virtio_net_hdr v = { .gso_type = VIRTIO_NET_HDR_GSO_NONE };

	if (gso) {
		v.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		v.csum_start = (uint16_t)(ETH_HLEN + (v4 ? 20 : 40));
		v.csum_offset = TCP_CHECK_OFFSET;
		v.gso_type = v4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
		if (t->flags & TCPF_CWR)
			v.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
		v.gso_size = (uint16_t)size;
		v.hdr_len = (uint16_t)(ETH_HLEN + header_len);
	}
	l->sink.counters.offered += packets;
	memcpy(b->headers[b->n], &v, sizeof(v));
	memcpy(frame, hop->header, ETH_HLEN);
	*to = (struct sockaddr_ll){
		.sll_family = AF_PACKET,
		.sll_protocol = htons(v4 ? ETH_P_IP : ETH_P_IPV6),
		.sll_ifindex = hop->ifindex,
	};
	sink_batch_push(&l->sink, b, sizeof(*to), sizeof(v) + ETH_HLEN + header_len, t->payload, t->len,
			packets * header_len + t->len, packets);
}

static void send_frames(struct sink_link *l, const struct next_hop *hop, const struct tx_segment *t)
{
	uint32_t header_len = (uint32_t)build_headers_len(t);
	uint32_t size = hop->mtu - header_len, at_once; /* payload bytes of a packet, of a frame */
	struct tx_segment piece;

	if (t->gso_size && t->gso_size < size)
		size = t->gso_size;
	size = MIN(size, FRAME_MAX - ETH_HLEN - header_len);
	if (t->len <= size) {
		add_frame(l, hop, t, size);
		return;
	}
	at_once = (FRAME_MAX - ETH_HLEN - header_len) / size * size;
	if (t->flags & (TCPF_SYN | TCPF_URG))
		at_once = size;
	for (uint32_t i = 0; build_piece(&piece, t, at_once, i); i++) {
		piece.ip_id = (uint16_t)(t->ip_id + i * (at_once / size));
		add_frame(l, hop, &piece, size);
	}
}

/* Show the kernel that a neighbour is used. False when it did not let @t out that way. */
static bool refreshed(struct sink_link *l, const struct tx_segment *t)
{
	sink_flush(&l->sink); /* what was taken before leaves before */
	sink_send(l->raw, t);
	sink_flush(l->raw);
	if (l->raw->counters.packets) {
		take_counters(l);
		return true;
	}
	memset(&l->raw->counters, 0, sizeof(l->raw->counters));
	return false;
}

/*
 * To this host itself. A frame on loopback would have no route with it and be dropped as a martian, so the
 * raw socket sends it; but there a packet may be as long as IP allows, and need not be cut to the pieces that
 * the client's was made of. The target's MSS is of the same MTU.
 */
static void send_local(struct sink_link *l, const struct next_hop *hop, const struct tx_segment *t)
{
	const uint32_t header_len = (uint32_t)build_headers_len(t), most = MIN(hop->mtu, IP_MOST);
	struct tx_segment whole = *t;

	if (t->gso_size && t->gso_size + header_len < most && !(t->flags & (TCPF_SYN | TCPF_URG)))
		whole.gso_size = (uint16_t)(most - header_len);
	sink_send(l->raw, &whole);
}

static void sink_link_send(struct sink *s, const struct tx_segment *t)
{
	struct sink_link *l = link_of(s);
	struct next_hop *hop;

	if (!l->now)
		l->now = clock_coarse();
	hop = next_hops_find(&l->hops, &t->tuple.dst.addr, l->now);
	s->mtu_changes = l->hops.mtu_changes;
	s->counters.segments++;
	if (hop && hop->local) {
		send_local(l, hop, t);
		return;
	}
	if (!hop || !hop->usable || hop->mtu <= build_headers_len(t)) {
		sink_send(l->raw, t);
		return;
	}
	if (hop->stale) {
		uint64_t *last = &l->refreshed_at[hop - l->hops.hop];

		if (l->now - *last >= REFRESH_INTERVAL) {
			*last = l->now;
			if (refreshed(l, t))
				return;
		}
	}
	send_frames(l, hop, t);
}

static void sink_link_flush(struct sink *s)
{
	struct sink_link *l = link_of(s);

	sink_batch_flush(s, &l->batch);
	sink_flush(l->raw);
	take_counters(l);
	l->now = 0;
}

static int sink_link_fd(struct sink *s)
{
	return link_of(s)->hops.fd;
}

static void sink_link_readable(struct sink *s)
{
	next_hops_readable(&link_of(s)->hops);
}

static uint32_t sink_link_mtu(struct sink *s, const struct addr *to)
{
	struct next_hop *hop = next_hops_find(&link_of(s)->hops, to, clock_coarse());

	return hop ? hop->mtu : 0;
}

static void sink_link_close(struct sink *s)
{
	struct sink_link *l = link_of(s);

	if (l->raw)
		sink_close(l->raw);
	if (l->hops.fd >= 0)
		next_hops_close(&l->hops);
	if (l->batch.fd >= 0)
		sandbox_close(l->batch.fd);
	free(l);
}

static const struct sink_ops sink_link_ops = {
	.send = sink_link_send,
	.flush = sink_link_flush,
	.fd = sink_link_fd,
	.readable = sink_link_readable,
	.mtu = sink_link_mtu,
	.close = sink_link_close,
};

static int open_packet_socket(void)
{
	static const int on = 1;
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), saved;

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) < 0 ||
	    capture_filter_drop_all(fd) < 0 || capture_filter_lock(fd) < 0) {
		saved = errno;
		close(fd);
		errno = saved;
		return -1;
	}
	sink_batch_enlarge_buffer(fd);
	return fd;
}

struct sink *sink_link_open(char *err, size_t err_size)
{
	struct sink_link *l = calloc(1, sizeof(*l));

	if (!l) {
		snprintf(err, err_size, "injection: out of memory");
		return NULL;
	}
	l->sink.ops = &sink_link_ops;
	l->batch.fd = l->hops.fd = -1;
	l->raw = sink_raw_open(err, err_size);
	if (!l->raw)
		goto fail;
	sink_batch_init(&l->batch, open_packet_socket());
	if (l->batch.fd < 0 || next_hops_open(&l->hops) < 0) {
		snprintf(err, err_size, "cannot set up injection at the link layer: %s", strerror(errno));
		goto fail;
	}
	return &l->sink;
fail:
	sink_link_close(&l->sink);
	return NULL;
}

bool sink_link_reaches(struct sink *s, const struct addr *to)
{
	struct next_hop *hop = next_hops_find(&link_of(s)->hops, to, clock_coarse());

	return hop && hop->ethernet;
}

int sink_link_socket(const struct sink *s)
{
	return ((const struct sink_link *)(const void *)s)->batch.fd;
}
