/*
 * Malformed TCP/IP packets onto a wire: hostile INTERFACE MAC FROM FROM-PORT TO TO-PORT COUNT SEED
 *
 * In: where they go (MAC is the next hop's), whose they claim to be (port 0: any below the ephemeral
 * ones), how many, and what seeds the generator, so that a run can be repeated. Out: frames by
 * AF_PACKET, some 40000 a second, and one line with how many there were of each kind. Each begins
 * as a good segment with random numbers, then one of the kinds below is done to it. The payload is no
 * command of any protocol.
 */
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <netpacket/packet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include "packet/bytes.h"
#include "rnd.h"

/* clang-format off */
#define KINDS(X)                                                                                   \
	X(GOOD) X(FLAGS) X(IHL) X(TOTAL_LENGTH) X(DATA_OFFSET) X(OPTIONS) X(OPTION_LENGTHS)        \
	X(IP_SUM) X(TCP_SUM) X(FRAGMENT) X(OVERLAP) X(URGENT) X(PORT_0) X(TRUNCATED) X(VERSION)    \
	X(PROTOCOL) X(SOURCE) X(SACKS) X(NOISE) X(LAND) X(IPV6) X(VLAN) X(EDGES)
/* clang-format on */
enum kind {
#define X(k) k,
	KINDS(X)
#undef X
		KIND_COUNT
};
static const char *const kind_name[] = {
#define X(k) #k,
	KINDS(X)
#undef X
};

#define ETH 14
#define IP (frame + ETH)
#define TCP (frame + ETH + 20)
#define ROOM 2048
#define BATCH 80
#define PAUSE_NS 2000000

static uint64_t state;
static uint8_t frame[ROOM];

static uint32_t rnd(void)
{
	return rnd_next(&state);
}

static uint32_t sum(uint32_t s, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		s += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

static void sums(size_t tcp_len)
{
	put_be16(IP + 10, 0);
	put_be16(IP + 10, ~sum(0, IP, 20));
	put_be16(TCP + 16, 0);
	put_be16(TCP + 16, ~sum(sum(6 + (uint32_t)tcp_len, IP + 12, 8), TCP, tcp_len));
}

static void noise(uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(rnd() | 0x80);
}

/* A good segment of @options and @data bytes. Returns the length of the frame. */
static size_t segment(const struct in_addr *from, unsigned from_port, const struct in_addr *to,
		      unsigned to_port, size_t options, size_t data)
{
	static const uint8_t flags[] = { 0x02, 0x10, 0x18, 0x18, 0x11, 0x04, 0x14, 0x10 };
	const size_t tcp_len = 20 + options + data;

	memset(frame + ETH, 0, ROOM - ETH);
	put_be16(frame + 12, 0x0800);
	IP[0] = 0x45;
	put_be16(IP + 2, (uint32_t)(20 + tcp_len));
	put_be16(IP + 4, rnd());
	IP[6] = 0x40;
	IP[8] = 64;
	IP[9] = 6;
	memcpy(IP + 12, from, 4);
	memcpy(IP + 16, to, 4);
	put_be16(TCP, from_port);
	put_be16(TCP + 2, to_port);
	put_be32(TCP + 4, rnd());
	put_be32(TCP + 8, rnd());
	TCP[12] = (uint8_t)((5 + options / 4) << 4);
	TCP[13] = flags[rnd() % sizeof(flags)];
	put_be16(TCP + 14, rnd());
	memset(TCP + 20, 1, options); /* NOP */
	noise(TCP + 20 + options, data);
	sums(tcp_len);
	return ETH + 20 + tcp_len;
}

static size_t ipv6(size_t tcp_len)
{
	uint8_t tcp[ROOM];

	memcpy(tcp, TCP, tcp_len);
	put_be16(frame + 12, 0x86dd);
	memset(IP, 0, 48);
	IP[0] = 0x60;
	put_be16(IP + 4, (uint32_t)(rnd() % 4 ? tcp_len + 8 : rnd()));
	IP[6] = (uint8_t[]){ 0, 43, 44, 60, 135, 6, 51, 59 }[rnd() % 8];
	IP[7] = 64;
	memcpy(IP + 8, "\xfd\x90\0\0\0\0\0\0\0\0\0\0\x01\x14\0\x82", 16);
	memcpy(IP + 24, "\xfd\x90\0\0\0\0\0\0\0\0\0\0\x01\x11\x01\x42", 16);
	IP[40] = (uint8_t)(rnd() % 2 ? 6 : rnd());
	IP[41] = (uint8_t)(rnd() % 4 ? 0 : rnd());
	memcpy(IP + 48, tcp, tcp_len);
	return ETH + 48 + tcp_len;
}

/* Do @k to a fresh segment; the length to send. */
static size_t spoil(enum kind k, size_t len, size_t options)
{
	const size_t tcp_len = len - ETH - 20;

	switch (k) {
	case FLAGS:
		TCP[13] = (uint8_t)rnd();
		TCP[12] |= rnd() & 0xf;
		break;
	case IHL:
		IP[0] = (uint8_t)(0x40 | (rnd() & 0xf));
		break;
	case TOTAL_LENGTH:
		put_be16(IP + 2, rnd() % 3 ? rnd() % 60 : rnd());
		break;
	case DATA_OFFSET:
		TCP[12] = (uint8_t)(rnd() << 4);
		break;
	case OPTIONS:
		noise(TCP + 20, options);
		break;
	case OPTION_LENGTHS:
		for (size_t i = 0; i + 1 < options; i += 2) {
			TCP[20 + i] = (uint8_t)(rnd() % 36);
			TCP[21 + i] = (uint8_t[]){ 0, 1, 2, 3, 4, 10, 40, 255 }[rnd() % 8];
		}
		break;
	case FRAGMENT:
		put_be16(IP + 6, rnd() % 2 ? 0x2000 | (rnd() % 8) : rnd() & 0x3fff);
		break;
	case OVERLAP:
		put_be16(IP + 4, 7);
		put_be16(IP + 6, (rnd() % 2 ? 0x2000 : 0) | rnd() % 6);
		break;
	case URGENT:
		TCP[13] |= 0x20;
		put_be16(TCP + 18, rnd());
		break;
	case PORT_0:
		put_be16(TCP + (rnd() % 2 ? 0 : 2), 0);
		break;
	case VERSION:
		IP[0] = (uint8_t)(rnd() << 4 | 5);
		break;
	case PROTOCOL:
		IP[9] = (uint8_t)rnd();
		break;
	case SOURCE:
		put_be32(IP + 12, (uint32_t[]){ 0, 0xffffffff, 0xe0000001, 0x7f000001 }[rnd() % 4]);
		break;
	case SACKS:
		TCP[20] = 5;
		TCP[21] = (uint8_t)(options < 2 ? 2 : options);
		noise(TCP + 22, options < 2 ? 0 : options - 2);
		break;
	case LAND:
		memcpy(IP + 12, IP + 16, 4);
		put_be16(TCP, TCP[2] << 8 | TCP[3]);
		break;
	case IPV6:
		return ipv6(tcp_len);
	case EDGES:
		put_be32(TCP + 4, (uint32_t[]){ 0, 0xffffffff, 0x80000000, 0x7fffffff }[rnd() % 4]);
		put_be32(TCP + 8, (uint32_t[]){ 0, 0xffffffff, 0x80000000, 0x7fffffff }[rnd() % 4]);
		put_be16(TCP + 14, rnd() % 2 ? 0 : 0xffff);
		IP[8] = (uint8_t)(rnd() % 2);
		break;
	default:
		break;
	}
	sums(tcp_len);
	if (k == IP_SUM)
		IP[10] ^= (uint8_t)(1 + rnd() % 255);
	else if (k == TCP_SUM)
		TCP[16] ^= (uint8_t)(1 + rnd() % 255);
	else if (k == NOISE)
		for (size_t i = ETH; i < len; i++)
			frame[i] = (uint8_t)rnd();
	else if (k == TRUNCATED)
		return ETH + rnd() % (len - ETH + 1);
	if (k == VLAN) {
		memmove(frame + 16, frame + 12, len - 12);
		put_be16(frame + 12, 0x8100);
		put_be16(frame + 14, rnd() & 0xfff);
		return len + 4;
	}
	return len;
}

int main(int argc, char **argv)
{
	unsigned long sent[KIND_COUNT] = { 0 }, count;
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_halen = 6 };
	struct in_addr from_addr, to_addr;
	struct ether_addr *mac;
	struct ifreq interface = { 0 };
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	if (argc != 9 || fd < 0 || !(mac = ether_aton(argv[2])) || !inet_aton(argv[3], &from_addr) ||
	    !inet_aton(argv[5], &to_addr)) {
		fprintf(stderr, "usage: hostile INTERFACE MAC FROM FROM-PORT TO TO-PORT COUNT SEED\n");
		return 2;
	}
	memcpy(frame, mac, 6);
	strncpy(interface.ifr_name, argv[1], IFNAMSIZ - 1);
	to.sll_ifindex = (int)if_nametoindex(argv[1]);
	if (ioctl(fd, SIOCGIFHWADDR, &interface)) {
		perror(argv[1]);
		return 1;
	}
	memcpy(frame + 6, interface.ifr_hwaddr.sa_data, 6);
	count = strtoul(argv[7], NULL, 10);
	state = strtoul(argv[8], NULL, 10);
	for (unsigned long i = 0; i < count; i++) {
		const enum kind k = rnd() % KIND_COUNT;
		const size_t options = rnd() % 11 * 4, data = rnd() % 3 ? rnd() % 64 : rnd() % 1400;
		const unsigned from_port = (unsigned)strtoul(argv[4], NULL, 10),
			       to_port = (unsigned)strtoul(argv[6], NULL, 10);
		size_t len = segment(&from_addr, from_port ? from_port : 1024 + rnd() % 31000, &to_addr,
				     to_port ? to_port : 1024 + rnd() % 31000, options, data);

		len = spoil(k, len, options);
		if (sendto(fd, frame, len, 0, (struct sockaddr *)&to, sizeof(to)) >= 0)
			sent[k]++;
		if (i % BATCH == BATCH - 1)
			nanosleep(&(struct timespec){ 0, PAUSE_NS }, NULL);
	}
	for (int k = 0; k < KIND_COUNT; k++)
		printf("%s=%lu ", kind_name[k], sent[k]);
	printf("\n");
	return 0;
}
