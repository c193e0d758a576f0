/*
 * Live capture: what its kinds have in common.
 *
 * In: options. Out: steps of making an AF_PACKET socket, for those whose packets come with a wake-up
 * for each (packet.c) or from a ring in blocks (ring.c).
 *
 * PACKET_VNET_HDR gives each packet a header that says what its bytes do not: gso_size of a
 * super-packet, and whether the checksum field holds a checksum at all.
 *
 * Times: the kernel stamps packets with the wall clock, everything here counts on CLOCK_MONOTONIC.
 * The difference is measured once a poll.
 *
 * Nothing unwanted gets in: a socket is made with protocol 0, which receives nothing, and bound
 * under a drop-all filter; the wanted filter comes last. When it is replaced later, what was
 * queued under the old one is tested against the new one here, by time stamp.
 *
 * An interface that goes down is a counted error; when it comes up again, so do the packets.
 */
#include "io/capture/capture.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/host/host.h"
#include "program/sandbox.h"

/* Reading packets and drop counters; filters that are changed; is the interface still there? */
SANDBOX_CALLS("recvmmsg", "recvfrom", "setsockopt", "getsockopt");

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

int capture_fail(const struct capture *c, const char *what, char *err, size_t err_size)
{
	snprintf(err, err_size, "capture on %s: %s: %s", c->interface, what, strerror(errno));
	return -1;
}

void capture_note_error(struct capture *c, int code)
{
	c->counters.errors++;
	if (code == ENETDOWN && !host_interface_index(c->interface) && errno == ENODEV)
		snprintf(c->source.error, sizeof(c->source.error), "interface %s was removed", c->interface);
	else
		snprintf(c->source.error, sizeof(c->source.error), "capture on %s: %s", c->interface,
			 strerror(code));
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

static int look_at_interface(struct capture *c, const struct capture_options *o, char *err, size_t err_size)
{
	struct ifreq ifr = { 0 };
	char names[200];

	memcpy(ifr.ifr_name, c->interface, sizeof(ifr.ifr_name));
	c->ifindex = host_interface_index(c->interface);
	if (!c->ifindex && errno != ENODEV)
		return capture_fail(c, "its index", err, err_size);
	if (!c->ifindex || ioctl(c->source.fd, SIOCGIFHWADDR, &ifr) < 0) {
		list_interfaces(names, sizeof(names));
		snprintf(err, err_size, "interface %s does not exist; available: %s", c->interface, names);
		return -1;
	}
	if (!capture_link_type(ifr.ifr_hwaddr.sa_family, &c->link)) {
		snprintf(err, err_size,
			 "interface %s has the unsupported hardware type %u (Ethernet, loopback and IP "
			 "tunnels "
			 "are supported)",
			 c->interface, ifr.ifr_hwaddr.sa_family);
		return -1;
	}
	if (o->incoming_only)
		c->direction = CAPTURE_TO_HOST;
	else if (ifr.ifr_hwaddr.sa_family == ARPHRD_LOOPBACK)
		c->direction = CAPTURE_NOT_OUTGOING;
	else if (o->outgoing_only)
		c->direction = CAPTURE_FROM_HOST;
	return 0;
}

int capture_socket_new(int type, char *err, size_t err_size)
{
	int fd = socket(AF_PACKET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 && (errno == EPERM || errno == EACCES))
		snprintf(err, err_size,
			 "capturing needs CAP_NET_RAW: run as root, or give the program this capability "
			 "(setcap cap_net_raw+ep)");
	else if (fd < 0)
		snprintf(err, err_size, "cannot open a capture socket: %s", strerror(errno));
	return fd;
}

/* One program of two filters, which cut what they let in to different lengths. */
static int add_cut(struct capture *c, const struct capture_options *o, char *err, size_t err_size)
{
	struct bpf_program cut;
	int rc;

	if (capture_filter_compile(&cut, o->cut_filter, c->link, o->cut_to, err, err_size) < 0)
		return -1;
	c->cut_to = o->cut_to;
	rc = capture_filter_prepend(&c->program, &cut);
	pcap_freecode(&cut);
	if (rc < 0)
		snprintf(err, err_size, "capture on %s: out of memory", c->interface);
	return rc;
}

int capture_socket(struct capture *c, const struct capture_options *o, char *err, size_t err_size)
{
	static const int on = 1;

	c->snaplen = o->snaplen;
	c->drained = true;
	snprintf(c->interface, sizeof(c->interface), "%s", o->interface);
	snprintf(c->source.name, sizeof(c->source.name), "%s", o->interface);
	c->source.fd = capture_socket_new(SOCK_RAW, err, err_size);
	if (c->source.fd < 0)
		return -1;
	if (look_at_interface(c, o, err, err_size) < 0)
		return -1;
	if (capture_filter_compile(&c->program, o->filter, c->link, o->snaplen, err, err_size) < 0)
		return -1;
	if (o->cut_filter && add_cut(c, o, err, err_size) < 0)
		return -1;
	if (setsockopt(c->source.fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) < 0)
		return capture_fail(c, "PACKET_VNET_HDR", err, err_size);
	/* Spares a clone of what is sent; the filter drops it where this is unknown. */
	if (c->direction != CAPTURE_BOTH && c->direction != CAPTURE_FROM_HOST)
		setsockopt(c->source.fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on));
	return 0;
}

int capture_bind(struct capture *c, char *err, size_t err_size)
{
	struct sockaddr_ll ll = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = c->ifindex };

	if (capture_filter_drop_all(c->source.fd) < 0)
		return capture_fail(c, "filter", err, err_size);
	if (bind(c->source.fd, (struct sockaddr *)&ll, sizeof(ll)) < 0)
		return capture_fail(c, "bind", err, err_size);
	return 0;
}

int capture_let_in(struct capture *c, char *err, size_t err_size)
{
	return capture_filter_attach(c->source.fd, &c->program, c->direction, err, err_size);
}

void capture_head_close(struct capture *c)
{
	if (c->source.fd >= 0)
		sandbox_close(c->source.fd);
	pcap_freecode(&c->program);
}

int capture_refilter(struct capture *list[], unsigned n, const char *text, char *err, size_t err_size)
{
	struct bpf_program program[2];
	unsigned i, compiled, attached;

	for (compiled = 0; compiled < n; compiled++)
		if (capture_filter_compile(&program[compiled], text, list[compiled]->link,
					   list[compiled]->snaplen, err, err_size) < 0)
			break;
	for (attached = 0; compiled == n && attached < n; attached++)
		if (capture_filter_attach(list[attached]->source.fd, &program[attached],
					  list[attached]->direction, err, err_size) < 0)
			break;
	if (attached < n) {
		char again[256];

		for (i = 0; i < attached; i++)
			capture_let_in(list[i], again, sizeof(again));
		for (i = 0; i < compiled; i++)
			pcap_freecode(&program[i]);
		return -1;
	}
	for (i = 0; i < n; i++) {
		list[i]->filter_since = clock_now();
		pcap_freecode(&list[i]->program);
		list[i]->program = program[i];
	}
	return 0;
}

int capture_set_filter(struct source *s, const char *filter, char *err, size_t err_size)
{
	return s->ops->set_filter(s, filter, err, err_size);
}

void source_counters_add(struct source_counters *to, const struct source_counters *n)
{
	to->packets += n->packets;
	to->bytes += n->bytes;
	to->truncated += n->truncated;
	to->kernel_drops += n->kernel_drops;
	to->let_in += n->let_in;
	to->outdated += n->outdated;
	to->errors += n->errors;
	to->ring_bytes += n->ring_bytes;
	to->ring_used += n->ring_used;
	to->ring_most += n->ring_most;
	to->ring_freezes += n->ring_freezes;
	to->ring_aside += n->ring_aside;
	to->turns += n->turns;
}
