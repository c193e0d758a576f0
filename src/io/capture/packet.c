/*
 * Live capture with a wake-up for each packet: an AF_PACKET socket read by recvmmsg().
 *
 * In: packets that the kernel's filter let through. Out: each of them to the caller's function as
 * a raw_packet, while its bytes lie in our buffers, which the next batch overwrites. It is the
 * quick way while packets are few; see auto.c for the other case.
 *
 * Segments of up to 64 KB, and with BIG TCP of several hundred, arrive whole: GRO put them
 * together on the way in, or TSO has not yet taken them apart. So each slot of the batch is large
 * enough for the largest packet there can be; it is address space only, because a page that no
 * packet was long enough to reach is never touched.
 *
 * Lengths: the filter's verdict cuts a packet to the wanted snaplen in the kernel, so the length
 * received is not the wire's. That one stands in PACKET_AUXDATA.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "io/capture/capture.h"

#define BATCH 32u
#define SLOT_BYTES (532u * 1024u) /* 8 * 64 KB, the kernel's largest GSO packet, and headers */
#define SLOT_SKEW 320u            /* or the headers of a batch would share a few cache sets */
#define IP_ALIGN 2u               /* puts the IP header behind 14 bytes of Ethernet on a multiple of four */
#define BUFFER_DEFAULT (16u << 20)

union control {
	char room[CMSG_SPACE(sizeof(struct timespec)) + CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	struct cmsghdr align;
};

struct packet_source {
	struct capture capture;
	uint8_t *area; /* all slots */
	size_t area_bytes, slot_bytes;
	struct mmsghdr msg[BATCH];
	struct iovec iov[BATCH][2];
	struct virtio_net_hdr vnet[BATCH];
	struct sockaddr_ll from[BATCH];
	union control control[BATCH];
};

/* What the kernel says beside the bytes. */
struct beside {
	struct timespec stamp;
	bool has_stamp;
	uint32_t wire_len; /* 0: not said */
	uint32_t status;   /* TP_STATUS_ */
};

static void arm_slots(struct packet_source *c, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct msghdr *h = &c->msg[i].msg_hdr;

		h->msg_name = &c->from[i];
		h->msg_namelen = sizeof(c->from[i]);
		h->msg_iov = c->iov[i];
		h->msg_iovlen = 2;
		h->msg_control = &c->control[i];
		h->msg_controllen = sizeof(c->control[i]);
		h->msg_flags = 0;
	}
}

static struct beside read_beside(struct msghdr *h)
{
	struct beside b = { .has_stamp = false };
	struct cmsghdr *m;

	for (m = CMSG_FIRSTHDR(h); m; m = CMSG_NXTHDR(h, m)) {
		if (m->cmsg_level == SOL_SOCKET && m->cmsg_type == SCM_TIMESTAMPNS) {
			memcpy(&b.stamp, CMSG_DATA(m), sizeof(b.stamp));
			b.has_stamp = true;
		} else if (m->cmsg_level == SOL_PACKET && m->cmsg_type == PACKET_AUXDATA) {
			struct tpacket_auxdata aux;

			memcpy(&aux, CMSG_DATA(m), sizeof(aux));
			b.wire_len = aux.tp_len;
			b.status = aux.tp_status;
		}
	}
	return b;
}

/* False when the packet is not delivered. */
static bool deliver(struct packet_source *c, unsigned i, const struct capture_clock *clock, source_fn fn,
		    void *arg)
{
	struct msghdr *h = &c->msg[i].msg_hdr;
	struct beside b = read_beside(h);
	struct source_counters *count = &c->capture.counters;
	struct raw_packet p = { .data = c->iov[i][1].iov_base };
	uint32_t got = c->msg[i].msg_len - (uint32_t)sizeof(c->vnet[i]);

	if (c->msg[i].msg_len < sizeof(c->vnet[i]))
		return false;
	p.captured = (uint32_t)MIN(got, c->iov[i][1].iov_len);
	p.len = MAX(got, b.wire_len);
	p.link = c->capture.link;
	p.checksum = capture_checksum(&c->vnet[i], b.status);
	p.gso_size = capture_gso_size(&c->vnet[i]);
	p.time = b.has_stamp ? capture_time(clock, clock_ns(&b.stamp)) : clock->now;
	p.pkttype = c->from[i].sll_pkttype;
	p.ifindex = c->from[i].sll_ifindex;
	if (capture_outdated(&c->capture, &p)) {
		count->outdated++;
		return false;
	}
	count->packets++;
	count->bytes += p.len;
	c->capture.held += p.captured;
	count->truncated += !!(h->msg_flags & MSG_TRUNC);
	capture_note_age(&c->capture, clock, &p);
	fn(&p, arg);
	return true;
}

static unsigned packet_poll(struct source *s, unsigned budget, source_fn fn, void *arg)
{
	struct packet_source *c = CONTAINER_OF(s, struct packet_source, capture.source);
	unsigned taken = 0, delivered = 0;

	c->capture.drained = false;
	while (taken < budget) {
		unsigned want = MIN(budget - taken, BATCH);
		struct capture_clock clock;
		int n;

		arm_slots(c, want);
		n = recvmmsg(s->fd, c->msg, want, MSG_DONTWAIT | MSG_TRUNC, NULL);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			if (errno != EAGAIN)
				capture_note_error(&c->capture, errno);
			c->capture.drained = true;
			break;
		}
		clock = capture_clock();
		for (unsigned i = 0; i < (unsigned)n; i++)
			delivered += deliver(c, i, &clock, fn, arg);
		taken += (unsigned)n;
		if ((unsigned)n < want) {
			c->capture.drained = true;
			break;
		}
	}
	return delivered;
}

static void packet_counters(struct source *s, struct source_counters *out)
{
	struct capture *c = capture_of(s);
	struct tpacket_stats st;
	socklen_t len = sizeof(st);

	/* Reading sets the kernel's own to zero. */
	if (!getsockopt(s->fd, SOL_PACKET, PACKET_STATISTICS, &st, &len)) {
		c->counters.kernel_drops += st.tp_drops;
		c->counters.let_in += st.tp_packets; /* with the dropped ones */
	}
	*out = c->counters;
}

static int packet_set_filter(struct source *s, const char *filter, char *err, size_t err_size)
{
	return capture_refilter((struct capture *[]){ capture_of(s) }, 1, filter, err, err_size);
}

static void packet_close(struct source *s)
{
	struct packet_source *c = CONTAINER_OF(s, struct packet_source, capture.source);

	capture_head_close(&c->capture);
	if (c->area)
		munmap(c->area, c->area_bytes);
	free(c);
}

static const struct source_ops packet_ops = {
	.poll = packet_poll,
	.counters = packet_counters,
	.set_filter = packet_set_filter,
	.close = packet_close,
};

static bool make_slots(struct packet_source *c)
{
	size_t stride;

	c->slot_bytes = c->capture.snaplen ? MIN(c->capture.snaplen, SLOT_BYTES) : SLOT_BYTES;
	stride = (c->slot_bytes + IP_ALIGN + 63) / 64 * 64 + SLOT_SKEW;
	c->area_bytes = stride * BATCH;
	c->area = mmap(NULL, c->area_bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (c->area == MAP_FAILED) {
		c->area = NULL;
		return false;
	}
	for (unsigned i = 0; i < BATCH; i++) {
		c->iov[i][0] = (struct iovec){ &c->vnet[i], sizeof(c->vnet[i]) };
		c->iov[i][1] = (struct iovec){ c->area + i * stride + IP_ALIGN, c->slot_bytes };
	}
	return true;
}

/* Room for bursts. Less than asked for is a warning in source.error, not a failure. */
static void size_buffer(struct capture *c, size_t bytes)
{
	int want = (int)MIN(bytes ? bytes : BUFFER_DEFAULT, (size_t)1 << 30), got = 0;
	socklen_t len = sizeof(got);

	c->buffer_bytes = (size_t)want;
	if (!setsockopt(c->source.fd, SOL_SOCKET, SO_RCVBUFFORCE, &want, sizeof(want)))
		return;
	setsockopt(c->source.fd, SOL_SOCKET, SO_RCVBUF, &want, sizeof(want));
	getsockopt(c->source.fd, SOL_SOCKET, SO_RCVBUF, &got, &len);
	got /= 2; /* the kernel reports twice what was set */
	c->buffer_bytes = (size_t)got;
	if (got < want)
		snprintf(c->source.error, sizeof(c->source.error),
			 "the receive buffer of %s is %d KiB instead of %d KiB: grant CAP_NET_ADMIN or raise "
			 "net.core.rmem_max",
			 c->interface, got >> 10, want >> 10);
}

static int set_up(struct packet_source *c, const struct capture_options *o, char *err, size_t err_size)
{
	static const int on = 1;
	struct capture *head = &c->capture;

	if (capture_socket(head, o, err, err_size) < 0)
		return -1;
	if (setsockopt(head->source.fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on)) < 0)
		return capture_fail(head, "PACKET_AUXDATA", err, err_size);
	if (setsockopt(head->source.fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) < 0)
		return capture_fail(head, "SO_TIMESTAMPNS", err, err_size);
	size_buffer(head, o->buffer_bytes);
	if (!make_slots(c))
		return capture_fail(head, "buffers", err, err_size);
	return capture_bind(head, err, err_size);
}

struct capture *capture_packet_new(const struct capture_options *o, char *err, size_t err_size)
{
	struct packet_source *c = calloc(1, sizeof(*c));

	if (!c) {
		snprintf(err, err_size, "capture on %s: out of memory", o->interface);
		return NULL;
	}
	c->capture.source.ops = &packet_ops;
	if (set_up(c, o, err, err_size) < 0) {
		packet_close(&c->capture.source);
		return NULL;
	}
	return &c->capture;
}
