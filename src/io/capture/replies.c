/*
 * What the online server says when a connection begins or is refused: its SYN-ACKs and resets; and a sample
 * of its answers.
 *
 * In: packets that leave this host by any interface, whatever -i says, for answers may take another way
 * than requests. Out: those with SYN or RST from the ports asked for, by the same interface as all sources;
 * one or two a connection, cut to their headers. On loopback, where each packet is seen going out and
 * coming in, the incoming copy is taken.
 *
 * It is one AF_PACKET socket bound to no interface, without a ring, since little comes. SOCK_DGRAM, so that
 * packets begin at the IP header whatever device they leave by. The kernel clones each outgoing packet once
 * for such a socket, before its filter runs; that is its price, and the reason why of packets with payload it
 * takes one in 64 at random, cut to what tells their class: each one costs as much as a SYN-ACK.
 *
 * Our copies leave this host, too, and there are as many of them as there are requests. What a socket sends
 * the kernel does not show to the members of its own fan-out group: so the socket that sends them joins ours.
 * In a group of this type without a program all packets are for the first member.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/capture/capture.h"
#include "io/host/host.h"
#include "program/sandbox.h"

#define SLOT_BYTES 128u /* IPv6, TCP with all options, 28 bytes of extension headers or payload */
#define BATCH 32u
#define SAMPLED 64u             /* a power of two */
#define BUFFER_BYTES (16 << 20) /* some 40,000 of them, while the worker is late; it is nobody's before */

struct replies {
	struct source source;
	struct source_counters counters;
	struct mmsghdr msg[BATCH];
	struct iovec iov[BATCH];
	char control[BATCH][CMSG_SPACE(sizeof(struct timespec))] __attribute__((aligned(8)));
	uint8_t slot[BATCH][SLOT_BYTES];
};

/* When it left. */
static uint64_t time_of(struct msghdr *h, const struct capture_clock *clock)
{
	const struct cmsghdr *m = CMSG_FIRSTHDR(h);
	struct timespec stamp;

	if (!m || m->cmsg_level != SOL_SOCKET || m->cmsg_type != SCM_TIMESTAMPNS)
		return clock->now;
	memcpy(&stamp, CMSG_DATA(m), sizeof(stamp));
	return capture_time(clock, clock_ns(&stamp));
}

static unsigned replies_poll(struct source *s, unsigned budget, source_fn fn, void *arg)
{
	struct replies *r = CONTAINER_OF(s, struct replies, source);
	unsigned want = MIN(budget, BATCH);
	struct capture_clock clock;
	int n;

	for (unsigned i = 0; i < want; i++) {
		r->iov[i] = (struct iovec){ r->slot[i], SLOT_BYTES };
		r->msg[i].msg_hdr = (struct msghdr){ .msg_iov = &r->iov[i],
						     .msg_iovlen = 1,
						     .msg_control = r->control[i],
						     .msg_controllen = sizeof(r->control[i]) };
	}
	do
		n = recvmmsg(s->fd, r->msg, want, MSG_DONTWAIT | MSG_TRUNC, NULL);
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		r->counters.errors += errno != EAGAIN;
		return 0;
	}
	clock = capture_clock();
	for (int i = 0; i < n; i++) {
		struct raw_packet p = {
			.data = r->slot[i],
			.captured = MIN(r->msg[i].msg_len, SLOT_BYTES),
			.len = r->msg[i].msg_len,
			.link = LINK_RAW,
			.checksum = CHECKSUM_TRUSTED, /* our kernel's own */
			.time = time_of(&r->msg[i].msg_hdr, &clock),
		};

		r->counters.packets++;
		r->counters.bytes += p.len;
		fn(&p, arg);
	}
	return (unsigned)n;
}

static void replies_counters(struct source *s, struct source_counters *out)
{
	struct replies *r = CONTAINER_OF(s, struct replies, source);
	struct tpacket_stats st;
	socklen_t len = sizeof(st);

	if (!getsockopt(s->fd, SOL_PACKET, PACKET_STATISTICS, &st, &len)) {
		r->counters.kernel_drops += st.tp_drops;
		r->counters.let_in += st.tp_packets;
	}
	*out = r->counters;
}

static void replies_close(struct source *s)
{
	if (s->fd >= 0)
		sandbox_close(s->fd);
	free(CONTAINER_OF(s, struct replies, source));
}

void capture_replies_without(struct source *s, int fd)
{
	const struct sockaddr_ll all = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	unsigned group = (0u | PACKET_FANOUT_CBPF | PACKET_FANOUT_FLAG_UNIQUEID) << 16;
	socklen_t len = sizeof(group);

	if (setsockopt(s->fd, SOL_PACKET, PACKET_FANOUT, &group, sizeof(group)) ||
	    getsockopt(s->fd, SOL_PACKET, PACKET_FANOUT, &group, &len))
		return;
	/* members have the protocol of the group */
	if (!bind(fd, (const struct sockaddr *)&all, sizeof(all)))
		setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &group, sizeof(group));
}

static const struct source_ops ops = {
	.poll = replies_poll,
	.counters = replies_counters,
	.close = replies_close,
};

/* In front of libpcap's program: outgoing, but by loopback coming in. */
static unsigned direction(struct sock_filter *code)
{
	const struct sock_filter head[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)(SKF_AD_OFF + SKF_AD_IFINDEX)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)host_interface_index("lo"), 0, 2),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_HOST, 2, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 0, 1),
		BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};

	memcpy(code, head, sizeof(head));
	return ARRAY_SIZE(head);
}

#define BEGINS_OR_ENDS                                                                                       \
	"(tcp[tcpflags] & (tcp-syn | tcp-rst) != 0) or (ip6 and ip6[6] = 6 and ip6[53] & 6 != 0)"
/* the length of an IPv6 packet is that of what follows its header */
#define HAS_PAYLOAD                                                                                          \
	"(ip and ip[2:2] - ((ip[0] & 0xf) << 2) - ((tcp[12] & 0xf0) >> 2) != 0) or "                         \
	"(ip6 and ip6[6] = 6 and ip6[4:2] - ((ip6[52] & 0xf0) >> 2) != 0)"

/* Append the program of the filter @text to @code, which has *@n instructions. */
static int append(struct sock_filter code[BPF_MAXINSNS], unsigned *n, const char *text, char *err,
		  size_t err_size)
{
	struct bpf_program program;
	unsigned len;

	if (capture_filter_compile(&program, text, LINK_RAW, 0, err, err_size) < 0)
		return -1;
	len = program.bf_len;
	for (unsigned i = 0; *n + len <= BPF_MAXINSNS && i < len; i++) {
		const struct bpf_insn *in = &program.bf_insns[i];

		code[*n + i] = (struct sock_filter){ in->code, in->jt, in->jf, in->k };
	}
	pcap_freecode(&program);
	if (*n + len > BPF_MAXINSNS) {
		snprintf(err, err_size, "the filter is too long: %u instructions", len);
		return -1;
	}
	*n += len;
	return 0;
}

/* Of most packets, those that begin or end a connection from @ports; of one in SAMPLED, also its @answers. */
static int attach(int fd, const char *ports, const char *answers, char *err, size_t err_size)
{
	struct sock_filter code[BPF_MAXINSNS];
	char text[4096];
	unsigned n = direction(code), sample = n;
	int rc;

	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						 (unsigned)(SKF_AD_OFF + SKF_AD_RANDOM));
	code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, SAMPLED - 1, 1, 0);
	code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JA, 0, 0, 0);
	snprintf(text, sizeof(text), "(%s) and (" BEGINS_OR_ENDS ")", ports);
	if (append(code, &n, text, err, err_size))
		return -1;
	code[sample + 2].k = n - sample - 3; /* the chosen ones, behind this program */
	snprintf(text, sizeof(text), "((%s) and (" BEGINS_OR_ENDS ")) or ((%s) and (" HAS_PAYLOAD "))", ports,
		 answers);
	if (append(code, &n, text, err, err_size))
		return -1;
	rc = setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER,
			&(struct sock_fprog){ .len = (unsigned short)n, .filter = code },
			sizeof(struct sock_fprog));
	if (rc)
		snprintf(err, err_size, "the kernel refuses the filter: %s", strerror(errno));
	return rc;
}

struct source *capture_replies_open(const char *ports, const char *answers, char *err, size_t err_size)
{
	struct replies *r = calloc(1, sizeof(*r));
	struct sockaddr_ll all = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };

	if (!r) {
		snprintf(err, err_size, "out of memory");
		return NULL;
	}
	r->source.ops = &ops;
	snprintf(r->source.name, sizeof(r->source.name), "replies");
	r->source.fd = capture_socket_new(SOCK_DGRAM, err, err_size);
	if (r->source.fd >= 0 && !attach(r->source.fd, ports, answers, err, err_size)) {
		setsockopt(r->source.fd, SOL_SOCKET, SO_TIMESTAMPNS, &(int){ 1 }, sizeof(int));
		setsockopt(r->source.fd, SOL_SOCKET, SO_RCVBUFFORCE, &(int){ BUFFER_BYTES }, sizeof(int));
		if (!bind(r->source.fd, (struct sockaddr *)&all, sizeof(all)) &&
		    !capture_filter_lock(r->source.fd))
			return &r->source;
		snprintf(err, err_size, "capture of replies: %s", strerror(errno));
	}
	replies_close(&r->source);
	return NULL;
}
