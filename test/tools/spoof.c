/*
 * Packets that no connection stands behind: spoof TO PORT KIND COUNT A_SECOND [FROM FIRST LAST]
 *
 * In: where they go (IPv4), what they are (syn, ack, data, fin, rst), how many and how fast. Out: such
 * packets with random numbers, from 2,000 addresses in 10.64.0.0/16, or from the ports FIRST to LAST of FROM,
 * one after the other. "data" carries a redis command, which no server shall execute.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "packet/bytes.h"
#include "rnd.h"

#define BATCH 32
#define ADDRESSES 2000u

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };

static const char command[] = "*3\r\n$3\r\nset\r\n$6\r\nhacked\r\n$3\r\nyes\r\n";
static uint64_t state = 1;

static uint32_t rnd(void)
{
	return rnd_next(&state);
}

static uint64_t sum(const uint8_t *p, unsigned len)
{
	uint64_t s = 0;

	for (unsigned i = 0; i + 1 < len; i += 2)
		s += (uint32_t)p[i] << 8 | p[i + 1];
	return len % 2 ? s + ((uint32_t)p[len - 1] << 8) : s;
}

static int flags_of(const char *kind)
{
	if (!strcmp(kind, "syn"))
		return SYN;
	if (!strcmp(kind, "ack"))
		return ACK;
	if (!strcmp(kind, "data"))
		return ACK | PSH;
	if (!strcmp(kind, "fin"))
		return ACK | FIN;
	return strcmp(kind, "rst") ? -1 : RST;
}

/* One packet at @p, IP header first; its length. */
static unsigned make(uint8_t *p, uint32_t from, unsigned from_port, uint32_t to, unsigned to_port, int flags)
{
	unsigned data = flags & PSH ? sizeof(command) - 1 : 0, len = 40 + data;
	uint8_t *tcp = p + 20;
	uint64_t s;

	memset(p, 0, 40);
	p[0] = 0x45;
	put_be16(p + 2, len);
	put_be16(p + 4, rnd());
	put_be16(p + 6, 0x4000);
	p[8] = 64;
	p[9] = IPPROTO_TCP;
	put_be32(p + 12, from);
	put_be32(p + 16, to);
	put_be16(tcp, from_port);
	put_be16(tcp + 2, to_port);
	put_be32(tcp + 4, rnd());
	put_be32(tcp + 8, flags & ACK ? rnd() : 0);
	tcp[12] = 5 << 4;
	tcp[13] = (uint8_t)flags;
	put_be16(tcp + 14, 502);
	memcpy(tcp + 20, command, data);
	s = sum(p + 12, 8) + IPPROTO_TCP + 20 + data + sum(tcp, 20 + data);
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	put_be16(tcp + 16, (uint32_t)~s & 0xffff);
	return len;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void pace(double ahead)
{
	if (ahead > 0.001)
		nanosleep(&(struct timespec){ .tv_nsec = (long)(ahead < 0.5 ? ahead * 1e9 : 5e8) }, NULL);
}

int main(int argc, char **argv)
{
	static uint8_t packet[BATCH][128];
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct mmsghdr msg[BATCH];
	struct iovec iov[BATCH];
	int flags = argc == 6 || argc == 9 ? flags_of(argv[3]) : -1, fd;
	unsigned long count, first = 0, ports = 0;
	struct in_addr from;
	double begun = now(), rate;

	if (flags < 0 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
		fprintf(stderr, "spoof TO PORT syn|ack|data|fin|rst COUNT A_SECOND [FROM FIRST LAST]\n");
		return 2;
	}
	count = strtoul(argv[4], NULL, 10);
	rate = strtod(argv[5], NULL);
	if (argc == 9) {
		inet_pton(AF_INET, argv[6], &from);
		first = strtoul(argv[7], NULL, 10);
		ports = strtoul(argv[8], NULL, 10) - first + 1;
	}
	fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	if (fd < 0)
		return perror("spoof"), 1;
	state = (uint64_t)(begun * 1e9);
	for (unsigned long done = 0; done < count;) {
		unsigned n = 0;

		for (; n < BATCH && done + n < count; n++) {
			unsigned long k = done + n;
			uint32_t address =
				ports ? ntohl(from.s_addr)
				      : 0x0a400001u + (uint32_t)(k % ADDRESSES / 250 << 8 | k % 250);
			unsigned port = ports ? (unsigned)(first + k % ports)
					      : (unsigned)(1024 + k / ADDRESSES % 60000);

			iov[n] = (struct iovec){ packet[n], 0 };
			iov[n].iov_len = make(packet[n], address, port, ntohl(to.sin_addr.s_addr),
					      (unsigned)strtoul(argv[2], NULL, 10), flags);
			msg[n].msg_hdr = (struct msghdr){ .msg_name = &to,
							  .msg_namelen = sizeof(to),
							  .msg_iov = &iov[n],
							  .msg_iovlen = 1 };
		}
		sendmmsg(fd, msg, n, 0);
		done += n;
		pace((double)done / rate - (now() - begun));
	}
	printf("%lu in %.1f s\n", count, now() - begun);
	return 0;
}
