/*
 * The spread of connections over workers.
 *
 * In: a tuple, or in the kernel a packet. Out: the number of a worker. It must be the same on both
 * sides: tcpcopy has to know which worker of intercept will see the answers to a session that it
 * has not even opened yet. So the function is fixed here and in doc/PROTOCOL.md, and is made of
 * what classic BPF has: loads, exclusive or, shifts and a multiplication. Fibonacci hashing (Knuth,
 * TAOCP 3, 6.4) spreads consecutive ports evenly; the upper half of the product is the good one,
 * so the number is scaled out of it instead of taken modulo.
 *
 * Where does the IP header begin? The kernel runs the program with the data at the network header
 * for packets that come in, and at the link-layer header for those that go out; it is the packet
 * type that tells the two apart, as it does in the kernel's own code. Loads relative to the network
 * header (SKF_NET_OFF) would spare the question, but before Linux 6.16 they fail when the headers
 * do not lie in the packet's first piece. So the program is there twice, once for each place.
 *
 * A load behind the packet's end ends the program with 0, which is the first member. That happens
 * to packets that carry no ports only, and these no filter of ours lets pass.
 */
#include "io/capture/fanout.h"

#include <linux/if_packet.h>
#include <netinet/in.h>
#include <sys/random.h>

#define GOLDEN 0x9e3779b1u /* 2^32 / phi, made odd */

/* Places in the program's memory. */
enum { ADDRESSES, PORTS };

static unsigned worker_of(const struct fanout *f, uint32_t addresses, uint16_t ports)
{
	const uint32_t x = addresses ^ ports * 0x10001u ^ f->seed;

	return (x * GOLDEN >> 16) * f->workers >> 16;
}

static uint32_t fold(const struct addr *a)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < sizeof(a->b); i++)
		sum ^= (uint32_t)a->b[i] << (24 - i % 4 * 8);
	return sum;
}

int fanout_init(struct fanout *f, unsigned workers, bool source_port_only)
{
	*f = (struct fanout){ .workers = workers, .source_port_only = source_port_only };
	return getrandom(&f->seed, sizeof(f->seed), 0) == sizeof(f->seed) ? 0 : -1;
}

unsigned fanout_worker(const struct fanout *f, const struct tuple *t)
{
	if (f->workers == 1)
		return 0;
	if (f->source_port_only)
		return fanout_port_worker(f, t->src.port);
	return worker_of(f, fold(&t->src.addr) ^ fold(&t->dst.addr), t->src.port ^ t->dst.port);
}

unsigned fanout_port_worker(const struct fanout *f, uint16_t port)
{
	return worker_of(f, 0, port);
}

struct program {
	struct sock_filter *code;
	unsigned n;
	const struct fanout *fanout;
	const struct fanout_members *members;
};

static void put(struct program *p, unsigned code, unsigned k)
{
	p->code[p->n++] = (struct sock_filter)BPF_STMT((unsigned short)code, k);
}

/* A jump whose targets are filled in by the caller: returns the instruction. */
static struct sock_filter *put_jump(struct program *p, unsigned code, unsigned k)
{
	p->code[p->n] = (struct sock_filter)BPF_JUMP((unsigned short)(BPF_JMP | code | BPF_K), k, 0, 0);
	return &p->code[p->n++];
}

static unsigned char distance(const struct program *p, const struct sock_filter *from)
{
	return (unsigned char)(&p->code[p->n] - from - 1);
}

/* The worker is in A: return its member of the group. */
static void put_member(struct program *p)
{
	const struct fanout_members *m = p->members;

	if (m->each == 2) {
		put(p, BPF_MISC | BPF_TAX, 0);
		put(p, BPF_LD | BPF_IMM, m->turned);
		put(p, BPF_ALU | BPF_RSH | BPF_X, 0);
		put(p, BPF_ALU | BPF_AND | BPF_K, 1);
		put(p, BPF_ALU | BPF_ADD | BPF_X, 0);
		put(p, BPF_ALU | BPF_ADD | BPF_X, 0);
	}
	if (m->reversed) {
		put(p, BPF_MISC | BPF_TAX, 0);
		put(p, BPF_LD | BPF_IMM, p->fanout->workers * m->each - 1);
		put(p, BPF_ALU | BPF_SUB | BPF_X, 0);
	}
	put(p, BPF_RET | BPF_A, 0);
}

/* A has both ports as they lie in the header, the source in its upper half. */
static void put_worker(struct program *p)
{
	if (p->fanout->source_port_only) {
		put(p, BPF_ALU | BPF_RSH | BPF_K, 16);
		put(p, BPF_MISC | BPF_TAX, 0);
		put(p, BPF_ALU | BPF_LSH | BPF_K, 16);
		put(p, BPF_ALU | BPF_OR | BPF_X, 0);
	} else {
		put(p, BPF_ST, PORTS);
		put(p, BPF_ALU | BPF_RSH | BPF_K, 16);
		put(p, BPF_MISC | BPF_TAX, 0);
		put(p, BPF_LD | BPF_MEM, PORTS);
		put(p, BPF_ALU | BPF_LSH | BPF_K, 16);
		put(p, BPF_ALU | BPF_OR | BPF_X, 0); /* exchanged */
		put(p, BPF_LDX | BPF_MEM, PORTS);
		put(p, BPF_ALU | BPF_XOR | BPF_X, 0);
		put(p, BPF_LDX | BPF_MEM, ADDRESSES);
		put(p, BPF_ALU | BPF_XOR | BPF_X, 0);
	}
	put(p, BPF_ALU | BPF_XOR | BPF_K, p->fanout->seed);
	put(p, BPF_ALU | BPF_MUL | BPF_K, GOLDEN);
	put(p, BPF_ALU | BPF_RSH | BPF_K, 16);
	put(p, BPF_ALU | BPF_MUL | BPF_K, p->fanout->workers);
	put(p, BPF_ALU | BPF_RSH | BPF_K, 16);
	put_member(p);
}

/* The exclusive or of @words words from @at on. */
static void put_addresses(struct program *p, unsigned at, unsigned words)
{
	put(p, BPF_LD | BPF_W | BPF_ABS, at);
	for (unsigned i = 1; i < words; i++) {
		put(p, BPF_MISC | BPF_TAX, 0);
		put(p, BPF_LD | BPF_W | BPF_ABS, at + i * 4);
		put(p, BPF_ALU | BPF_XOR | BPF_X, 0);
	}
	put(p, BPF_ST, ADDRESSES);
}

static void put_v4(struct program *p, unsigned ip)
{
	put_addresses(p, ip + 12, 2);
	put(p, BPF_LDX | BPF_B | BPF_MSH, ip);
	put(p, BPF_LD | BPF_W | BPF_IND, ip);
	put_worker(p);
}

static void put_v6(struct program *p, unsigned ip)
{
	struct sock_filter *tcp, *jumbo, *inner, *none[2];

	put_addresses(p, ip + 8, 8);
	put(p, BPF_LD | BPF_B | BPF_ABS, ip + 6);
	tcp = put_jump(p, BPF_JEQ, IPPROTO_TCP);
	jumbo = put_jump(p, BPF_JEQ, IPPROTO_HOPOPTS);
	put(p, BPF_LD | BPF_H | BPF_ABS, ip + 40); /* next header, length 0 */
	inner = put_jump(p, BPF_JEQ, IPPROTO_TCP << 8);
	put(p, BPF_LD | BPF_W | BPF_ABS, ip + 48);
	none[0] = put_jump(p, BPF_JA, 0);
	tcp->jt = distance(p, tcp);
	put(p, BPF_LD | BPF_W | BPF_ABS, ip + 40);
	none[1] = put_jump(p, BPF_JA, 0);
	jumbo->jf = distance(p, jumbo);
	inner->jf = distance(p, inner);
	put(p, BPF_LD | BPF_IMM, 0);
	none[0]->k = distance(p, none[0]);
	none[1]->k = distance(p, none[1]);
	put_worker(p);
}

static void put_packet(struct program *p, unsigned ip)
{
	struct sock_filter *other;

	put(p, BPF_LD | BPF_B | BPF_ABS, ip);
	put(p, BPF_ALU | BPF_RSH | BPF_K, 4);
	other = put_jump(p, BPF_JEQ, 4);
	put_v4(p, ip);
	other->jf = distance(p, other);
	other = put_jump(p, BPF_JEQ, 6);
	put_v6(p, ip);
	other->jf = distance(p, other);
	put(p, BPF_RET | BPF_K, 0);
}

unsigned fanout_program(struct sock_filter code[FANOUT_PROGRAM_MAX], const struct fanout *f,
			const struct fanout_members *m)
{
	struct program p = { .code = code, .fanout = f, .members = m };
	struct sock_filter *incoming;

	if (f->workers == 1) {
		put(&p, BPF_LD | BPF_IMM, 0);
		put_member(&p);
		return p.n;
	}
	if (m->both_ways && m->link) {
		put(&p, BPF_LD | BPF_W | BPF_ABS, (unsigned)(SKF_AD_OFF + SKF_AD_PKTTYPE));
		incoming = put_jump(&p, BPF_JEQ, PACKET_OUTGOING);
		put_packet(&p, m->link);
		incoming->jf = distance(&p, incoming);
	}
	put_packet(&p, 0);
	return p.n;
}
