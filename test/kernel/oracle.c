/*
 * Does the engine take what the kernel takes? - theory of operation
 *
 * Random segments of one client, most of them nearly right, go to the kernel's own TCP (kernel.c) and to a
 * session engine (copy.c) alike. What the kernel's application reads, and how its stream ends, must be what
 * the copy's target got, byte for byte: not less and not more. Every byte of a segment tells its place in the
 * stream and the segment that brought it, so that the wrong one of two overlapping copies is seen.
 *
 * One thing is not imitated: a segment behind a hole that begins where a run of others ends may be merged
 * with it or not where a third one lies over that place, by the shape of the kernel's tree. Such cases differ
 * in contents only; they are counted apart, and at most 1 % of all.
 *
 *	oracle [--cases N] [--seed S] [--verbose]
 *
 * Case number n is made from seed S + n alone, so one that fails is repeated by --seed S+n --cases 1
 * --verbose. Exit status 1: a case differed.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "copy.h"
#include "kernel.h"
#include "packet/bytes.h"
#include "packet/checksum.h"
#include "packet/seq.h"

#define STREAM_MAX (256u << 10)
#define ACTIONS_MAX 40
#define VERSION_FACTOR 41
#define VERSION_INVERSE 25 /* times the factor: 1 modulo 256 */

static bool verbose;
static uint64_t random_state;

static uint32_t rnd(uint32_t n) /* 0 .. n - 1 */
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return n ? (uint32_t)(random_state >> 33) % n : 0;
}

static bool chance(uint32_t percent)
{
	return rnd(100) < percent;
}

static void trace(const char *format, ...)
{
	va_list ap;

	if (!verbose)
		return;
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
}

/* The client of one case, as it would be if it behaved; segments are bent from here. */
struct client {
	uint16_t port;
	uint32_t iss, irs;
	uint32_t nxt;    /* highest sequence number sent of what was well-behaved */
	uint32_t srv;    /* SND.NXT of the server as seen in its packets */
	uint32_t acked;  /* the server's newest ack */
	uint32_t window; /* the server's, bytes */
	bool ts, sack, ws, dead;
	uint8_t server_wscale;
	uint32_t tsval, tsecr;
	uint8_t version; /* of the bytes in the next segment */
	int fd;
	bool stalled; /* the application does not read */
	uint8_t got[STREAM_MAX];
	size_t n_got;
	enum kernel_end end;
	struct copy *copy;
};

struct bent {
	uint8_t flags;
	uint32_t seq, ack, len, tsval;
	uint16_t window;
	bool no_ts, bad_sum;
	uint8_t extra[20]; /* further options */
	uint8_t n_extra;
	uint8_t ip_options[12];
	uint8_t n_ip_options;
};

/* Place in the stream and the segment's version in one byte: neighbours differ, and so do versions. */
static uint8_t byte_at(uint32_t seq, uint32_t iss, uint8_t version)
{
	return (uint8_t)((seq - iss) * 7 + version * VERSION_FACTOR);
}

static size_t build(const struct client *c, const struct bent *b, uint8_t *out)
{
	uint8_t *ip = out, *tcp = out + 20 + b->n_ip_options, *p = tcp + 20;
	struct addr src = addr_from_v4((const uint8_t[]){ 10, 0, 0, 2 });
	struct addr dst = addr_from_v4((const uint8_t[]){ 10, 0, 0, 1 });
	size_t total;
	uint16_t sum;

	memset(out, 0, 80);
	if (b->flags & TCPF_SYN) {
		memcpy(p, "\2\4\5\xb4", 4);
		p += 4;
		if (c->sack) {
			memcpy(p, "\1\1\4\2", 4);
			p += 4;
		}
		if (c->ws) {
			memcpy(p, "\1\3\3\7", 4);
			p += 4;
		}
	}
	if (c->ts && !b->no_ts) {
		memcpy(p, "\1\1\10\12", 4);
		put_be32(p + 4, b->tsval);
		put_be32(p + 8, b->flags & TCPF_SYN ? 0 : c->tsecr);
		p += 12;
	}
	memcpy(p, b->extra, b->n_extra);
	p += b->n_extra;
	while ((p - tcp) % 4)
		*p++ = 0;
	put_be16(tcp, c->port);
	put_be16(tcp + 2, KERNEL_SERVER_PORT);
	put_be32(tcp + 4, b->seq);
	put_be32(tcp + 8, b->ack);
	tcp[12] = (uint8_t)((p - tcp) / 4 << 4);
	tcp[13] = b->flags;
	put_be16(tcp + 14, b->window);
	for (uint32_t i = 0; i < b->len; i++)
		*p++ = byte_at(b->seq + i + !!(b->flags & TCPF_SYN), c->iss, c->version);
	total = (size_t)(p - out);
	ip[0] = (uint8_t)(0x45 + b->n_ip_options / 4);
	put_be16(ip + 2, (uint16_t)total);
	ip[6] = 0x40;
	ip[8] = 64;
	ip[9] = 6;
	memcpy(ip + 12, "\12\0\0\2\12\0\0\1", 8);
	memcpy(ip + 20, b->ip_options, b->n_ip_options);
	sum = csum_finish(csum_add(0, ip, 20u + b->n_ip_options));
	memcpy(ip + 10, &sum, 2);
	sum = csum_finish(csum_add(csum_pseudo(&src, &dst, (uint32_t)(p - tcp)), tcp, (size_t)(p - tcp)));
	if (b->bad_sum)
		sum ^= 0x0101;
	memcpy(tcp + 16, &sum, 2);
	return total;
}

/* What the server sent: the client learns from it, and the copy hears what the proof socket would. */
static void read_answers(struct client *c)
{
	uint8_t b[65536];
	size_t n;

	while ((n = kernel_answer(b, sizeof(b)))) {
		const uint8_t *tcp = b + (b[0] & 15) * 4;
		size_t head = (size_t)(tcp[12] >> 4) * 4;
		uint32_t len = (uint32_t)(n - (size_t)(tcp - b) - head), seq = get_be32(tcp + 4);

		if (n < 40 || b[9] != 6 || get_be16(tcp + 2) != c->port)
			continue;
		trace("      kernel: flags %02x seq +%u ack +%u len %u win %u\n", tcp[13],
		      c->irs ? seq - c->irs : 0, get_be32(tcp + 8) - c->iss, len, get_be16(tcp + 14));
		copy_sent_by_server(c->copy, b, n);
		if (tcp[13] & TCPF_RST)
			continue;
		if (tcp[13] & TCPF_SYN) {
			if (get_be32(tcp + 8) != c->iss + 1)
				continue;
			c->irs = seq;
			for (const uint8_t *o = tcp + 20; o < tcp + head && *o;) {
				if (*o == 1) {
					o++;
					continue;
				}
				if (*o == 3)
					c->server_wscale = o[2];
				if (*o == 8)
					c->tsecr = get_be32(o + 2);
				o += o[1];
			}
			c->window = get_be16(tcp + 14);
		} else {
			c->window = (uint32_t)get_be16(tcp + 14) << (c->ws ? c->server_wscale : 0);
			if (c->ts && head >= 32 && tcp[20] == 1 && tcp[22] == 8)
				c->tsecr = get_be32(tcp + 24);
		}
		c->acked = get_be32(tcp + 8);
		seq += len + !!(tcp[13] & TCPF_SYN) + !!(tcp[13] & TCPF_FIN);
		if (!c->srv || seq_gt(seq, c->srv))
			c->srv = seq;
	}
}

static void read_application(struct client *c)
{
	if (c->fd < 0)
		c->fd = kernel_accept(c->port);
	if (c->fd < 0 || c->stalled || c->end != KERNEL_OPEN)
		return;
	c->n_got += kernel_read(c->fd, c->got + c->n_got, sizeof(c->got) - c->n_got, &c->end);
}

static void send_bent(struct client *c, const struct bent *b)
{
	uint8_t packet[2048];
	size_t len = build(c, b, packet);
	struct kernel_info info;

	trace("  client: flags %02x seq +%u..+%u ack +%u win %u%s%u%s version %u%s\n", b->flags,
	      b->seq - c->iss, b->seq - c->iss + b->len, b->ack - c->irs, b->window,
	      c->ts && !b->no_ts ? " ts " : " no ts ", b->tsval,
	      b->n_extra        ? " options"
	      : b->n_ip_options ? " ip options"
				: "",
	      c->version, b->bad_sum ? " bad checksum" : "");
	kernel_packet(packet, len);
	copy_captured(c->copy, packet, len);
	read_answers(c);
	read_application(c);
	c->dead = c->end == KERNEL_RESET ||
		  (c->fd >= 0 && kernel_ask(c->fd, &info) && info.state == KERNEL_CLOSED);
}

/* A well-behaved next segment of @len bytes. */
static struct bent good(const struct client *c, uint32_t len)
{
	return (struct bent){
		.flags = TCPF_ACK | (len ? TCPF_PSH : 0),
		.seq = c->nxt,
		.ack = c->srv,
		.len = len,
		.tsval = c->tsval,
		.window = 500,
	};
}

static void bend_options(struct bent *b)
{
	switch (rnd(5)) {
	case 0: /* MD5 that was not agreed */
		memcpy(b->extra, "\23\22", 2);
		b->no_ts = true;
		b->n_extra = 20;
		break;
	case 1: /* a length that leads beyond the header */
		memcpy(b->extra, "\375\50\1\1", 4);
		b->n_extra = 4;
		break;
	case 2: /* a length of zero */
		memcpy(b->extra, "\375\0\1\1", 4);
		b->n_extra = 4;
		break;
	case 3: /* unknown, well formed */
		memcpy(b->extra, "\375\4\1\1", 4);
		b->n_extra = 4;
		break;
	default: /* loose source route */
		memcpy(b->ip_options, "\203\7\4\12\0\0\1\0", 8);
		b->n_ip_options = 8;
	}
}

/* One segment, mostly nearly right. */
static void act(struct client *c)
{
	uint32_t len = chance(70) ? 1 + rnd(100) : chance(50) ? 1 + rnd(1400) : 0;
	struct bent b;

	c->version = (uint8_t)(c->version + 1);
	c->tsval += rnd(3);
	if (chance(15)) /* what was lost is sent again */
		c->nxt = c->acked;
	b = good(c, len);
	switch (rnd(10)) {
	case 0: /* ahead: a hole */
		b.seq += 1 + rnd(300);
		break;
	case 1: /* back */
		b.seq -= MIN(rnd(600), c->nxt - c->iss - 1);
		break;
	case 2: /* around the window's right edge */
		if (chance(30))
			b.seq = c->acked + c->window - 50 + rnd(100);
		break;
	case 3: /* far away */
		if (chance(30))
			b.seq += rnd(2) ? 1u << (20 + rnd(12)) : rnd(UINT32_MAX);
		break;
	case 4:
	case 5: /* around what is missing */
		b.seq = c->acked + rnd(200) - MIN(100u, c->acked - c->iss - 1);
		break;
	default:
		break;
	}
	if (chance(4))
		b.flags &= (uint8_t)~TCPF_ACK;
	if (chance(3))
		b.flags |= TCPF_FIN;
	if (chance(3)) {
		b.flags |= TCPF_RST;
		b.len = chance(80) ? 0 : b.len;
		if (chance(60))
			b.seq = c->acked + rnd(3) - 1;
	}
	if (chance(3))
		b.flags |= TCPF_SYN;
	if (b.len && chance(6))
		/* nearer than ACK_LEAP nothing tells what the server has sent; see doc/SESSION.md */
		b.ack += (128u << 10) + (chance(50) ? 1 + rnd(100000) : 1u << rnd(31));
	else if (chance(10))
		b.ack -= chance(50) ? 1 + rnd(100000) : 1u << rnd(32);
	if (chance(6))
		b.tsval -= 1 + (chance(50) ? rnd(5) : rnd(1u << 31));
	if (chance(3))
		b.no_ts = true;
	if (chance(3))
		bend_options(&b);
	if (chance(2))
		b.bad_sum = true;
	if (chance(10))
		b.window = (uint16_t)rnd(65536);
	send_bent(c, &b);
	if (!(b.flags & (TCPF_RST | TCPF_SYN)) && b.flags & TCPF_ACK && b.seq == c->nxt && !b.bad_sum &&
	    !b.n_extra)
		c->nxt += b.len;
}

static int answer_question(void *arg, unsigned *state, uint64_t *bytes, uint32_t *rcv_wnd)
{
	const struct client *c = arg;
	struct kernel_info info;

	if (c->fd < 0 || !kernel_ask(c->fd, &info))
		return -1;
	*state = info.state;
	*bytes = info.bytes_received;
	*rcv_wnd = info.rcv_wnd;
	return 0;
}

/* Which segments the bytes came from: byte_at() backwards. */
static void print_versions(const char *who, const uint8_t *bytes, size_t n)
{
	size_t from = 0;

	printf("  %s:", who);
	for (size_t i = 0; i < n; i++) {
		uint8_t v = (uint8_t)((bytes[i] - (i + 1) * 7) * VERSION_INVERSE);

		if (i + 1 == n || (uint8_t)((bytes[i + 1] - (i + 2) * 7) * VERSION_INVERSE) != v) {
			printf(" %zu..%zu from %u", from + 1, i + 2, v);
			from = i + 1;
		}
	}
	printf("\n");
}

enum result { EQUAL, OTHER_COPY, DIFFERENT };

static enum result compare(struct client *c, uint64_t number)
{
	struct copy_state s = copy_state(c->copy);
	struct kernel_info info;
	size_t same = 0;
	enum copy_end end = c->end == KERNEL_RESET ? COPY_RST : c->end == KERNEL_EOF ? COPY_FIN : COPY_OPEN;
	static const char *const word[] = { "open", "FIN", "RST" };

	if (c->fd >= 0 && kernel_ask(c->fd, &info) &&
	    info.state == KERNEL_CLOSED) /* closed: a reset came behind the FIN */
		end = COPY_RST;
	while (same < c->n_got && same < s.n_bytes && c->got[same] == s.bytes[same])
		same++;
	/* a reset throws away what the application has not read, at the target as here */
	if (same == c->n_got && s.n_bytes == c->n_got && end == s.end && s.accepted == (c->fd >= 0))
		return EQUAL;
	if (s.n_bytes == c->n_got && end == s.end && s.accepted == (c->fd >= 0) && !verbose)
		return OTHER_COPY;
	printf("case %llu differs: the server read %zu bytes, then %s; the target %zu, then %s; the same up to %zu\n",
	       (unsigned long long)number, c->n_got, word[end], s.n_bytes, word[s.end], same);
	if (verbose) {
		print_versions("server", c->got, c->n_got);
		print_versions("target", s.bytes, s.n_bytes);
	}
	return DIFFERENT;
}

static enum result run_case(uint64_t number)
{
	static struct client client;
	struct client *c = &client;
	unsigned actions;
	struct bent b;
	enum result ok;

	random_state = number * 0x9e3779b97f4a7c15ull + 1;
	rnd(1);
	actions = 1 + rnd(ACTIONS_MAX);
	memset(c, 0, sizeof(*c));
	c->fd = -1;
	c->port = (uint16_t)(1024 + number % 60000);
	c->iss = chance(20) ? UINT32_MAX - rnd(2000) : (uint32_t)(random_state >> 32);
	c->nxt = c->iss;
	c->ts = chance(60);
	c->sack = chance(70);
	c->ws = chance(70);
	c->tsval = rnd(UINT32_MAX);
	c->copy = copy_new(answer_question, c);
	trace("case %llu: %sts %ssack %swscale, ISN %u\n", (unsigned long long)number, c->ts ? "" : "no ",
	      c->sack ? "" : "no ", c->ws ? "" : "no ", c->iss);

	b = good(c, 0);
	b.flags = TCPF_SYN;
	b.ack = 0;
	b.window = 64240;
	send_bent(c, &b);
	c->nxt = c->iss + 1;
	b = good(c, 0);
	send_bent(c, &b);
	for (unsigned i = 0; i < actions && !c->dead; i++) {
		act(c);
		copy_advance(c->copy, (2 + rnd(3)) * NS_PER_MS);         /* the server has seen it */
		if (chance(10) && c->fd >= 0 && c->end == KERNEL_OPEN) { /* the server says something */
			ssize_t sent = send(c->fd, "0123456789", 10, MSG_NOSIGNAL);

			(void)sent;
			read_answers(c);
		}
	}
	c->stalled = false;
	read_application(c);
	copy_advance(c->copy, 500 * NS_PER_MS);
	ok = compare(c, number);
	if (ok != EQUAL && verbose)
		copy_print(c->copy);
	copy_free(c->copy);
	if (c->fd >= 0) { /* by a reset: nothing of the case remains */
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
		close(c->fd);
	}
	while (kernel_answer((uint8_t[2048]){ 0 }, 2048))
		;
	return ok;
}

static uint64_t number_of(const char *option, const char *text)
{
	char *end;
	uint64_t n = text ? strtoull(text, &end, 10) : 0;

	if (!text || !*text || *end) {
		fprintf(stderr, "oracle: option %s \"%s\": accepted: a number\n", option, text ? text : "");
		exit(2);
	}
	return n;
}

int main(int argc, char **argv)
{
	uint64_t cases = 10000, seed = 1, n[DIFFERENT + 1] = { 0 };

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--cases"))
			cases = number_of(argv[i], argv[i + 1]), i++;
		else if (!strcmp(argv[i], "--seed"))
			seed = number_of(argv[i], argv[i + 1]), i++;
		else if (!strcmp(argv[i], "--verbose"))
			verbose = true;
		else {
			fprintf(stderr, "oracle: \"%s\": accepted: --cases N, --seed S, --verbose\n",
				argv[i]);
			return 2;
		}
	}
	kernel_open();
	for (uint64_t i = 0; i < cases; i++)
		n[run_case(seed + i)]++;
	printf("%llu cases, %llu differ from the kernel; %llu in the contents of overlapping segments only\n",
	       (unsigned long long)cases, (unsigned long long)n[DIFFERENT],
	       (unsigned long long)n[OTHER_COPY]);
	return n[DIFFERENT] * 1000 > cases || n[OTHER_COPY] * 100 > cases;
}
