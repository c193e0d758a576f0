/*
 * Live capture: an AF_PACKET socket on one interface.
 *
 * In: packets that the kernel's filter let through, received in batches by recvmmsg(). Out: each
 * of them to the caller's function as a raw_packet, while its bytes lie in our buffers. The caller
 * owns nothing; the buffers are written again by the next batch.
 *
 * Segments of up to 64 KB, and with BIG TCP of several hundred, arrive whole: GRO put them
 * together on the way in, or TSO has not yet taken them apart. PACKET_VNET_HDR gives each packet a
 * header that says so: gso_size, and whether the checksum field holds a checksum at all. So each
 * slot of the batch is large enough for the largest packet there can be; it is address space only,
 * because a page that no packet was long enough to reach is never touched.
 *
 * Lengths: the filter's verdict cuts a packet to the wanted snaplen in the kernel, so the length
 * received is not the wire's. That one stands in PACKET_AUXDATA.
 *
 * Times: the kernel stamps packets with the wall clock, everything here counts on CLOCK_MONOTONIC.
 * The difference is measured once a poll; a stamp that lies in the future or far in the past,
 * because the wall clock was set between stamp and poll, is replaced by the time of the poll.
 *
 * Nothing unwanted gets in: the socket is made with protocol 0, which receives nothing, and bound
 * under a drop-all filter; the wanted filter comes last. When it is replaced later, what was
 * queued under the old one is tested against the new one here, by time stamp.
 *
 * IPv4 fragments are reassembled by the kernel before the filter looks at them, or a filter on
 * ports would drop all but the first. The means is a fan-out group of one with
 * PACKET_FANOUT_FLAG_DEFRAG.
 *
 * An interface that goes down is a counted error; when it comes up again, so do the packets.
 */
#include "io/source.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"
#include "io/capture_filter.h"

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif
#ifndef PACKET_FANOUT_FLAG_IGNORE_OUTGOING
#define PACKET_FANOUT_FLAG_IGNORE_OUTGOING 0x4000u
#endif
#define BATCH 32u
#define SLOT_BYTES                                                                                 \
	(532u * 1024u) /* 8 * 64 KB, the kernel's largest GSO packet, and its headers              \
			*/
#define SLOT_SKEW 320u /* or the headers of a batch would share a few cache sets */
#define IP_ALIGN 2u    /* puts the IP header behind 14 bytes of Ethernet on a multiple of four */
#define BUFFER_DEFAULT (16u << 20)
#define OLDEST_STAMP (60 * NS_PER_SEC) /* more than a packet may wait in the socket */

union control {
	char room[CMSG_SPACE(sizeof(struct timespec)) + CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	struct cmsghdr align;
};

struct capture {
	struct source source;
	struct source_counters counters;
	char interface[IFNAMSIZ];
	enum link_type link;
	enum capture_direction direction;
	unsigned snaplen;
	struct bpf_program program;
	uint64_t filter_since; /* packets stamped before this were let in by the filter before */

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

static uint64_t timespec_ns(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * NS_PER_SEC + (uint64_t)t->tv_nsec;
}

static uint64_t clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return timespec_ns(&t);
}

static void arm_slots(struct capture *c, unsigned n)
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

/* A GRO super-packet without a pending checksum was verified when it was put together. */
static enum checksum_state checksum_state(const struct virtio_net_hdr *v, uint32_t status)
{
	if ((v->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || (status & TP_STATUS_CSUMNOTREADY))
		return CHECKSUM_PARTIAL;
	if ((v->flags & VIRTIO_NET_HDR_F_DATA_VALID) || (status & TP_STATUS_CSUM_VALID) ||
	    v->gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return CHECKSUM_TRUSTED;
	return CHECKSUM_VERIFY;
}

static uint16_t gso_size(const struct virtio_net_hdr *v)
{
	uint8_t type = v->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;

	return type == VIRTIO_NET_HDR_GSO_TCPV4 || type == VIRTIO_NET_HDR_GSO_TCPV6 ? v->gso_size
										    : 0;
}

/* Queued under the filter before, and not wanted by the one now? */
static bool outdated(const struct capture *c, const struct raw_packet *p)
{
	struct pcap_pkthdr h = { .caplen = p->captured, .len = p->len };

	return p->time < c->filter_since && !pcap_offline_filter(&c->program, &h, p->data);
}

/* False when the packet is not delivered. @offset: wall clock minus monotonic clock, ns. */
static bool deliver(struct capture *c, unsigned i, uint64_t now, uint64_t offset, source_fn fn,
		    void *arg)
{
	struct msghdr *h = &c->msg[i].msg_hdr;
	struct beside b = read_beside(h);
	struct raw_packet p = { .data = c->iov[i][1].iov_base };
	uint32_t got = c->msg[i].msg_len - (uint32_t)sizeof(c->vnet[i]);

	if (c->msg[i].msg_len < sizeof(c->vnet[i]))
		return false;
	p.captured = (uint32_t)MIN(got, c->iov[i][1].iov_len);
	p.len = MAX(got, b.wire_len);
	p.link = c->link;
	p.checksum = checksum_state(&c->vnet[i], b.status);
	p.gso_size = gso_size(&c->vnet[i]);
	p.time = now;
	if (b.has_stamp) {
		uint64_t t = timespec_ns(&b.stamp) - offset;

		if (now - t < OLDEST_STAMP)
			p.time = t;
	}
	p.pkttype = c->from[i].sll_pkttype;
	p.ifindex = c->from[i].sll_ifindex;
	if (outdated(c, &p))
		return false;
	c->counters.packets++;
	c->counters.bytes += p.len;
	c->counters.truncated += !!(h->msg_flags & MSG_TRUNC);
	fn(&p, arg);
	return true;
}

static void note_error(struct capture *c, int code)
{
	c->counters.errors++;
	if (code == ENETDOWN && !if_nametoindex(c->interface))
		snprintf(c->source.error, sizeof(c->source.error), "interface %s was removed",
			 c->interface);
	else
		snprintf(c->source.error, sizeof(c->source.error), "capture on %s: %s",
			 c->interface, strerror(code));
}

static unsigned capture_poll(struct source *s, unsigned budget, source_fn fn, void *arg)
{
	struct capture *c = CONTAINER_OF(s, struct capture, source);
	unsigned taken = 0, delivered = 0;

	while (taken < budget) {
		unsigned want = MIN(budget - taken, BATCH);
		uint64_t now, offset;
		int n;

		arm_slots(c, want);
		n = recvmmsg(s->fd, c->msg, want, MSG_DONTWAIT | MSG_TRUNC, NULL);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			if (errno != EAGAIN)
				note_error(c, errno);
			break;
		}
		offset = clock_ns(CLOCK_REALTIME);
		now = clock_ns(CLOCK_MONOTONIC);
		offset -= now;
		for (unsigned i = 0; i < (unsigned)n; i++)
			delivered += deliver(c, i, now, offset, fn, arg);
		taken += (unsigned)n;
		if ((unsigned)n < want)
			break;
	}
	return delivered;
}

static void capture_counters(struct source *s, struct source_counters *out)
{
	struct capture *c = CONTAINER_OF(s, struct capture, source);
	struct tpacket_stats st;
	socklen_t len = sizeof(st);

	/* Reading sets the kernel's own to zero. */
	if (!getsockopt(s->fd, SOL_PACKET, PACKET_STATISTICS, &st, &len))
		c->counters.kernel_drops += st.tp_drops;
	*out = c->counters;
}

static void capture_close(struct source *s)
{
	struct capture *c = CONTAINER_OF(s, struct capture, source);

	if (s->fd >= 0)
		close(s->fd);
	if (c->area)
		munmap(c->area, c->area_bytes);
	pcap_freecode(&c->program);
	free(c);
}

static const struct source_ops capture_ops = {
	.poll = capture_poll,
	.counters = capture_counters,
	.close = capture_close,
};

static bool make_slots(struct capture *c)
{
	size_t stride;

	c->slot_bytes = c->snaplen ? MIN(c->snaplen, SLOT_BYTES) : SLOT_BYTES;
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

static int fail(char *err, size_t err_size, const struct capture *c, const char *what)
{
	snprintf(err, err_size, "capture on %s: %s: %s", c->interface, what, strerror(errno));
	return -1;
}

static void list_interfaces(char *out, size_t size)
{
	struct if_nameindex *list = if_nameindex(), *i;
	size_t n = 0;

	out[0] = '\0';
	for (i = list; i && i->if_index && n < size; i++)
		n += (size_t)snprintf(out + n, size - n, "%s%s", n ? ", " : "", i->if_name);
	if (list)
		if_freenameindex(list);
}

static int look_at_interface(struct capture *c, bool incoming_only, unsigned *ifindex, char *err,
			     size_t err_size)
{
	struct ifreq ifr = { 0 };
	char names[200];

	memcpy(ifr.ifr_name, c->interface, sizeof(ifr.ifr_name));
	*ifindex = if_nametoindex(c->interface);
	if (!*ifindex || ioctl(c->source.fd, SIOCGIFHWADDR, &ifr) < 0) {
		list_interfaces(names, sizeof(names));
		snprintf(err, err_size, "interface %s does not exist; there are: %s", c->interface,
			 names);
		return -1;
	}
	if (!capture_link_type(ifr.ifr_hwaddr.sa_family, &c->link)) {
		snprintf(err, err_size,
			 "interface %s has hardware type %u, which is not supported "
			 "(Ethernet, loopback and IP tunnels are)",
			 c->interface, ifr.ifr_hwaddr.sa_family);
		return -1;
	}
	if (incoming_only)
		c->direction = CAPTURE_TO_HOST;
	else if (ifr.ifr_hwaddr.sa_family == ARPHRD_LOOPBACK)
		c->direction = CAPTURE_NOT_OUTGOING;
	return 0;
}

/* Room for bursts. Less than asked for is a warning in source.error, not a failure. */
static void size_buffer(struct capture *c, size_t bytes)
{
	int want = (int)MIN(bytes ? bytes : BUFFER_DEFAULT, (size_t)1 << 30), got = 0;
	socklen_t len = sizeof(got);

	if (!setsockopt(c->source.fd, SOL_SOCKET, SO_RCVBUFFORCE, &want, sizeof(want)))
		return;
	setsockopt(c->source.fd, SOL_SOCKET, SO_RCVBUF, &want, sizeof(want));
	getsockopt(c->source.fd, SOL_SOCKET, SO_RCVBUF, &got, &len);
	got /= 2; /* the kernel reports twice what was set */
	if (got < want)
		snprintf(c->source.error, sizeof(c->source.error),
			 "the receive buffer of %s is %d "
			 "KB instead of %d KB: give CAP_NET_ADMIN or raise net.core.rmem_max",
			 c->interface, got >> 10, want >> 10);
}

static int set_up(struct capture *c, const struct capture_options *o, char *err, size_t err_size)
{
	static const int on = 1;
	struct sockaddr_ll ll = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	unsigned ifindex;
	/* Upper half: type and flags. Lower half: the number, chosen by the kernel. */
	unsigned group =
		(0u | PACKET_FANOUT_CPU | PACKET_FANOUT_FLAG_UNIQUEID | PACKET_FANOUT_FLAG_DEFRAG)
		<< 16;
	int fd;

	fd = c->source.fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		if (errno == EPERM || errno == EACCES)
			snprintf(err, err_size,
				 "capturing needs CAP_NET_RAW: run as root, or give "
				 "the program this capability (setcap cap_net_raw+ep)");
		else
			snprintf(err, err_size, "capture socket: %s", strerror(errno));
		return -1;
	}
	if (look_at_interface(c, o->incoming_only, &ifindex, err, err_size) < 0)
		return -1;
	if (capture_filter_compile(&c->program, o->filter, c->link, o->snaplen, err, err_size) < 0)
		return -1;
	if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) < 0)
		return fail(err, err_size, c, "PACKET_VNET_HDR");
	if (setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on)) < 0)
		return fail(err, err_size, c, "PACKET_AUXDATA");
	if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) < 0)
		return fail(err, err_size, c, "SO_TIMESTAMPNS");
	if (c->direction != CAPTURE_BOTH) {
		/* Spares a clone of what is sent; the filter drops it where this is unknown. */
		setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on));
		group |= PACKET_FANOUT_FLAG_IGNORE_OUTGOING << 16;
	}
	size_buffer(c, o->buffer_bytes);
	if (!make_slots(c))
		return fail(err, err_size, c, "buffers");

	ll.sll_ifindex = (int)ifindex;
	if (capture_filter_drop_all(fd) < 0)
		return fail(err, err_size, c, "filter");
	if (bind(fd, (struct sockaddr *)&ll, sizeof(ll)) < 0)
		return fail(err, err_size, c, "bind");
	/* Older kernels know fewer flags; without the group only fragments are missed. */
	if (setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &group, sizeof(group)) < 0) {
		group &= ~(PACKET_FANOUT_FLAG_IGNORE_OUTGOING << 16);
		setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &group, sizeof(group));
	}
	return capture_filter_attach(fd, &c->program, c->direction, err, err_size);
}

struct source *capture_open(const struct capture_options *o, char *err, size_t err_size)
{
	struct capture *c;

	if (!o->interface[0] || strlen(o->interface) >= IFNAMSIZ) {
		snprintf(err, err_size, "interface \"%s\": a name has 1 to %d characters",
			 o->interface, IFNAMSIZ - 1);
		return NULL;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		snprintf(err, err_size, "capture on %s: out of memory", o->interface);
		return NULL;
	}
	c->source.ops = &capture_ops;
	c->source.fd = -1;
	c->snaplen = o->snaplen;
	snprintf(c->interface, sizeof(c->interface), "%s", o->interface);
	snprintf(c->source.name, sizeof(c->source.name), "%s", o->interface);
	if (set_up(c, o, err, err_size) < 0) {
		capture_close(&c->source);
		return NULL;
	}
	return &c->source;
}

int capture_set_filter(struct source *s, const char *filter, char *err, size_t err_size)
{
	struct capture *c = CONTAINER_OF(s, struct capture, source);
	struct bpf_program program;

	if (capture_filter_compile(&program, filter, c->link, c->snaplen, err, err_size) < 0)
		return -1;
	if (capture_filter_attach(s->fd, &program, c->direction, err, err_size) < 0) {
		pcap_freecode(&program);
		return -1;
	}
	c->filter_since = clock_ns(CLOCK_MONOTONIC);
	pcap_freecode(&c->program);
	c->program = program;
	return 0;
}
