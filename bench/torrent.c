/*
 * Torrent - theory of operation
 *
 * torrent BYTES PORT
 *	Writes a capture of about so many bytes (K, M and G are powers of 1000) to standard output: pcap, Ethernet,
 *	as tcpdump has it of a server at 192.0.2.1:PORT. 64 clients have a connection each, over and over; on each
 *	come, after the handshake, 200 requests of 1400 bytes, each with an answer of 100 bytes, and both FINs. The
 *	packets of all are interleaved, a packet each 10 us. Checksums are right.
 *
 * The capture is as long as it is wanted and is never anywhere as a whole: it goes into a pipe. So the reader
 * is what takes time: of a packet only the numbers and sums of its headers are made anew.
 */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLIENTS 64U
#define REQUESTS 200U
#define REQUEST 1400U
#define ANSWER 100U
#define HEADERS 54U
#define STEP_US 10U
#define BEGIN 1800000000U /* seconds since the epoch */
#define STEPS (3 + 2 * REQUESTS + 3)
#define BATCH (1U << 20)

enum { FIN = 1, SYN = 2, PSH = 8, ACK = 16 };

struct client {
	uint32_t address, snd, rcv; /* the client's next sequence number, and the server's */
	uint16_t port;
	unsigned step;
};

static unsigned char out[BATCH + HEADERS + REQUEST + 16], payload[REQUEST];
static size_t filled;
static uint64_t written, packets;
static uint16_t server_port;
static uint32_t payload_sum[2]; /* of a request, of an answer */

static void flush(void)
{
	for (size_t done = 0; done < filled;) {
		const ssize_t n = write(STDOUT_FILENO, out + done, filled - done);

		if (n <= 0)
			exit(1); /* nobody reads any more */
		done += (size_t)n;
	}
	written += filled;
	filled = 0;
}

static void put16(unsigned char *p, unsigned v)
{
	p[0] = (unsigned char)(v >> 8);
	p[1] = (unsigned char)v;
}

static void put32(unsigned char *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

static uint32_t sum(const unsigned char *p, size_t n, uint32_t s)
{
	for (; n > 1; n -= 2, p += 2)
		s += (uint32_t)p[0] << 8 | p[1];
	return s;
}

static unsigned folded(uint32_t s)
{
	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	return ~s & 0xffff;
}

static void packet(const struct client *c, int from_client, unsigned flags, unsigned len)
{
	const uint64_t us = packets++ * STEP_US;
	const uint32_t record[4] = { BEGIN + (uint32_t)(us / 1000000), (uint32_t)(us % 1000000),
				     HEADERS + len, HEADERS + len };
	unsigned char *p = out + filled, *ip = p + 16 + 14, *tcp = ip + 20;
	static const unsigned char ethernet[14] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0 };
	const uint32_t server = 0xc0000201;

	memcpy(p, record, sizeof(record));
	memcpy(p + 16, ethernet, sizeof(ethernet));
	memset(ip, 0, 40);
	ip[0] = 0x45;
	put16(ip + 2, 40 + len);
	ip[8] = 64;
	ip[9] = 6;
	put32(ip + 12, from_client ? c->address : server);
	put32(ip + 16, from_client ? server : c->address);
	put16(ip + 10, folded(sum(ip, 20, 0)));
	put16(tcp, from_client ? c->port : server_port);
	put16(tcp + 2, from_client ? server_port : c->port);
	put32(tcp + 4, from_client ? c->snd : c->rcv);
	put32(tcp + 8, flags & ACK ? (from_client ? c->rcv : c->snd) : 0);
	tcp[12] = 5 << 4;
	tcp[13] = (unsigned char)flags;
	put16(tcp + 14, 65535);
	put16(tcp + 16,
	      folded(sum(tcp, 20, sum(ip + 12, 8, 6 + 20 + len) + (len ? payload_sum[len == ANSWER] : 0))));
	memcpy(tcp + 20, payload, len);
	filled += 16 + HEADERS + len;
	if (filled >= BATCH)
		flush();
}

static void step(struct client *c)
{
	const unsigned at = c->step++;

	if (at == 0) {
		c->snd = c->address * 2654435761U;
		c->rcv = ~c->snd;
		packet(c, 1, SYN, 0);
		c->snd++;
	} else if (at == 1) {
		packet(c, 0, SYN | ACK, 0);
		c->rcv++;
	} else if (at == 2) {
		packet(c, 1, ACK, 0);
	} else if (at < STEPS - 3 && at % 2) {
		packet(c, 1, PSH | ACK, REQUEST);
		c->snd += REQUEST;
	} else if (at < STEPS - 3) {
		packet(c, 0, PSH | ACK, ANSWER);
		c->rcv += ANSWER;
	} else if (at == STEPS - 3) {
		packet(c, 1, FIN | ACK, 0);
		c->snd++;
	} else if (at == STEPS - 2) {
		packet(c, 0, FIN | ACK, 0);
		c->rcv++;
	} else {
		packet(c, 1, ACK, 0);
		c->step = 0;
		c->port = c->port == 60999 ? 1024 : (uint16_t)(c->port + 1);
	}
}

int main(int argc, char **argv)
{
	const uint32_t header[6] = { 0xa1b2c3d4, 2 | 4 << 16, 0, 0, 65535, 1 };
	struct client client[CLIENTS];
	char *unit = NULL;
	uint64_t bytes = argc == 3 ? strtoull(argv[1], &unit, 10) : 0;

	if (!bytes || !atoi(argv[2])) {
		fputs("torrent: accepted: BYTES PORT, such as 10G 6379\n", stderr);
		return 2;
	}
	bytes *= *unit == 'G' ? 1000000000 : *unit == 'M' ? 1000000 : *unit == 'K' ? 1000 : 1;
	server_port = (uint16_t)atoi(argv[2]);
	for (unsigned i = 0; i < REQUEST; i++)
		payload[i] = (unsigned char)("0123456789abcdef"[i % 16]);
	payload_sum[0] = sum(payload, REQUEST, 0);
	payload_sum[1] = sum(payload, ANSWER, 0);
	for (unsigned i = 0; i < CLIENTS; i++)
		client[i] = (struct client){ .address = 0x0a000001 + i,
					     .port = (uint16_t)(1024 + 100 * i),
					     .step = 0 };
	memcpy(out, header, sizeof(header));
	filled = sizeof(header);
	while (written + filled < bytes)
		for (unsigned i = 0; i < CLIENTS; i++)
			step(&client[i]);
	flush();
	return 0;
}
