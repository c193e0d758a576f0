/*
 * Tap - theory of operation
 *
 * tap INTERFACE PORT
 *	The bare consumer of a TPACKET_V3 ring: walks each block, touches each packet, gives the
 *	block back.
 * tap INTERFACE PORT FILE
 *	Also writes a stamp for every TCP segment with payload.
 *
 * In both cases of packets that arrive on the interface, IPv4, TCP, to PORT; what the host sends
 * itself is left out. The first is what a capture costs the host when nothing is done with the
 * packets, the floor that tcpcopy is compared with. The second measures delays from outside: one
 * tap where requests arrive at the online host, one on the other end of its cable, where the copies
 * come out. The kernel stamps both by the same clock (CLOCK_REALTIME, as network namespaces have no
 * clock of their own), and sequence numbers and client endpoints are the same in a request and its
 * copy. Stamps are struct stamp in host byte order.
 *
 * Says "ready" on standard output; ends by SIGTERM or SIGINT, printing packets, kernel drops and
 * stamps.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define BLOCK_BYTES (256U << 10)
#define BLOCKS 256U
#define RETIRE_MS 1
#define RETIRE_STAMPS_MS 50 /* the stamps are the kernel's, so nobody waits for these blocks */
#define STAMP_SNAPLEN 128

struct stamp {
	uint64_t ns;      /* since the epoch */
	uint32_t address; /* the client's; this and what follows in host byte order */
	uint32_t seq;
	uint32_t len; /* of the payload */
	uint16_t port;
	uint16_t unused;
};

static volatile sig_atomic_t ended;
static uint64_t packets, stamps, touched;

static void end(int signo)
{
	(void)signo;
	ended = 1;
}

static void die(const char *what)
{
	fprintf(stderr, "tap: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void set_option(int fd, int name, const void *value, socklen_t len, const char *text)
{
	if (setsockopt(fd, SOL_PACKET, name, value, len))
		die(text);
}

/* Accept IPv4 TCP to @port, @snaplen bytes of it. */
static void attach_filter(int fd, uint16_t port, uint32_t snaplen)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 0, 6),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ETH_HLEN + 9),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 0, 4),
		BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, ETH_HLEN),
		BPF_STMT(BPF_LD | BPF_H | BPF_IND, ETH_HLEN + 2),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, snaplen),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)))
		die("filter");
}

static uint8_t *open_ring(const char *interface, uint16_t port, int with_stamps, int *out)
{
	int one = 1, version = TPACKET_V3;
	struct tpacket_req3 request = {
		.tp_block_size = BLOCK_BYTES,
		.tp_block_nr = BLOCKS,
		.tp_frame_size = 2048,
		.tp_frame_nr = BLOCK_BYTES / 2048 * BLOCKS,
		.tp_retire_blk_tov = with_stamps ? RETIRE_STAMPS_MS : RETIRE_MS,
	};
	/* not ETH_P_IP: a port of a bridge has handed its packets over before that is looked at */
	struct sockaddr_ll where = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	void *ring;

	if (fd < 0)
		die("AF_PACKET socket");
	attach_filter(fd, port, with_stamps ? STAMP_SNAPLEN : 1U << 20);
	set_option(fd, PACKET_VERSION, &version, sizeof(version), "TPACKET_V3");
	set_option(fd, PACKET_IGNORE_OUTGOING, &one, sizeof(one), "ignore outgoing packets");
	set_option(fd, PACKET_RX_RING, &request, sizeof(request), "ring");
	ring = mmap(NULL, (size_t)BLOCK_BYTES * BLOCKS, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (ring == MAP_FAILED)
		die("ring");
	where.sll_ifindex = (int)if_nametoindex(interface);
	if (!where.sll_ifindex)
		die(interface);
	if (bind(fd, (struct sockaddr *)&where, sizeof(where)))
		die("bind");
	*out = fd;
	return ring;
}

static void write_stamp(FILE *file, const struct tpacket3_hdr *frame)
{
	const uint8_t *packet = (const uint8_t *)frame + frame->tp_mac + ETH_HLEN;
	struct iphdr ip;
	struct tcphdr tcp;
	struct stamp stamp = { .ns = frame->tp_sec * 1000000000ULL + frame->tp_nsec };
	uint32_t headers;

	memcpy(&ip, packet, sizeof(ip));
	memcpy(&tcp, packet + ip.ihl * 4U, sizeof(tcp));
	headers = ETH_HLEN + ip.ihl * 4U + tcp.doff * 4U;
	if (frame->tp_len <= headers || ntohs(ip.tot_len) + (uint32_t)ETH_HLEN <= headers)
		return;
	stamp.address = ntohl(ip.saddr);
	stamp.port = ntohs(tcp.source);
	stamp.seq = ntohl(tcp.seq);
	stamp.len = frame->tp_len - headers;
	stamps += fwrite(&stamp, sizeof(stamp), 1, file);
}

static void read_block(struct tpacket_block_desc *block, FILE *file)
{
	uint8_t *first = (uint8_t *)block + block->hdr.bh1.offset_to_first_pkt;
	struct tpacket3_hdr *frame = (void *)first;

	for (uint32_t i = 0; i < block->hdr.bh1.num_pkts; i++) {
		packets++;
		touched += ((const uint8_t *)frame)[frame->tp_net];
		if (file)
			write_stamp(file, frame);
		frame = (void *)((uint8_t *)frame + frame->tp_next_offset);
	}
}

static int is_ours(struct tpacket_block_desc *block)
{
	return __atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = end };
	struct tpacket_stats_v3 stats = { 0 };
	socklen_t len = sizeof(stats);
	FILE *file = NULL;
	uint8_t *ring;
	int fd;

	if (argc < 3 || argc > 4) {
		fprintf(stderr, "usage: tap INTERFACE PORT [FILE]\n");
		return 2;
	}
	if (argc == 4) {
		file = fopen(argv[3], "wb");
		if (!file)
			die(argv[3]);
	}
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	ring = open_ring(argv[1], (uint16_t)atoi(argv[2]), file != NULL, &fd);
	puts("ready");
	fflush(stdout);
	for (unsigned n = 0;; n = (n + 1) % BLOCKS) {
		struct tpacket_block_desc *block = (void *)(ring + (size_t)n * BLOCK_BYTES);
		struct pollfd ready = { .fd = fd, .events = POLLIN | POLLERR };

		while (!is_ours(block) && !ended)
			poll(&ready, 1, 100);
		/* what was captured may still be in the kernel's block, until that retires */
		if (!is_ours(block))
			poll(&ready, 1, 2 * RETIRE_STAMPS_MS);
		if (!is_ours(block))
			break;
		read_block(block, file);
		__atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
	}
	if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len))
		die("statistics");
	if (file && fclose(file))
		die(argv[3]);
	printf("{\"packets\": %llu, \"drops\": %u, \"stamps\": %llu}\n", (unsigned long long)packets,
	       stats.tp_drops, (unsigned long long)stamps);
	return 0;
}
