/*
 * What was recorded of the online server - theory of operation
 *
 * The server that was recorded is not this host, and is long past: nobody can be asked about its sockets.
 * What it took is in the recording, where its packets are: its SYN-ACKs, its acknowledgments, its resets.
 * Where they are not, what its client sent counts as taken, for a recording is chosen by its user.
 *
 *   SYN      is kept until its SYN-ACK, or something more of its client, follows: only then was it a
 *            connection. What was refused, or never answered, opens none at the target.
 *   ack      of the server says that it has all before it. Nothing is said while it has not acknowledged all
 *            that was recorded of the client, for acknowledgments come late: so it is never concluded from a
 *            recording that the server did not take something, only that it did.
 *   turn     data whose acknowledgment is above that of the data before it: the client had read an answer.
 *
 * Connections are kept in sets of a few places, by a keyed hash. One that has had nothing for longest gives
 * its place to a new one; it is then as one of which nothing was recorded of the server.
 */
#include "tcpcopy/replay/served.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "packet/seq.h"

#define SETS 16384u
#define WAYS 4u

struct connection {
	struct endpoint client, online;
	uint16_t loop;
	bool used, open;
	bool has_iss, has_sent, has_turn, kept;
	bool has_irs, has_acked;
	uint32_t iss, irs;
	uint32_t sent;       /* the highest end of what the client sent */
	uint32_t turn;       /* the acknowledgment of its data */
	uint32_t acked;      /* by the server */
	uint32_t client_ack; /* by the client */
	uint64_t touched;    /* number of the packet */
	struct served_syn *syn;
};

struct served {
	struct siphash_key key;
	uint64_t packets;
	unsigned open;
	struct served_syn given;
	struct connection at[SETS][WAYS];
};

struct served *served_new(const struct siphash_key *key)
{
	struct served *s = calloc(1, sizeof(*s));

	if (s)
		s->key = *key;
	return s;
}

void served_free(struct served *s)
{
	for (unsigned i = 0; s && i < SETS * WAYS; i++)
		free(s->at[i / WAYS][i % WAYS].syn);
	free(s);
}

static const struct connection *set_of(const struct served *s, const struct flow_key *k)
{
	struct {
		struct endpoint client, online;
		uint16_t loop;
	} packed;

	memset(&packed, 0, sizeof(packed));
	packed.client = k->client;
	packed.online = k->online;
	packed.loop = k->copy;
	return s->at[siphash(&s->key, &packed, sizeof(packed)) % SETS];
}

static struct connection *find(const struct served *s, const struct flow_key *k)
{
	const struct connection *c = set_of(s, k);

	for (unsigned i = 0; i < WAYS; i++, c++)
		if (c->used && c->loop == k->copy && endpoint_eq(&c->client, &k->client) &&
		    endpoint_eq(&c->online, &k->online))
			return (struct connection *)(uintptr_t)c;
	return NULL;
}

static void set_open(struct served *s, struct connection *c, bool open)
{
	if (c->open == open)
		return;
	c->open = open;
	s->open += open ? 1 : UINT32_MAX;
}

static void forget(struct served *s, struct connection *c)
{
	set_open(s, c, false);
	free(c->syn);
	memset(c, 0, sizeof(*c));
}

/* The connection of @k; a new one in the place of the oldest. */
static struct connection *find_or_make(struct served *s, const struct flow_key *k)
{
	struct connection *c = find(s, k), *oldest;

	if (c)
		return c;
	oldest = c = (struct connection *)(uintptr_t)set_of(s, k);
	for (unsigned i = 1; i < WAYS; i++)
		if (c[i].touched < oldest->touched)
			oldest = &c[i];
	forget(s, oldest);
	oldest->used = true;
	oldest->client = k->client;
	oldest->online = k->online;
	oldest->loop = k->copy;
	return oldest;
}

/* A SYN of a new connection. */
static bool keep(struct served *s, struct connection *c, const struct segment *g)
{
	const struct flow_key k = { .client = c->client, .online = c->online, .copy = c->loop };

	if (g->len) /* data in it (TCP Fast Open): the engine waits for the rest */
		return false;
	forget(s, c);
	c = find_or_make(s, &k);
	c->touched = s->packets;
	c->syn = malloc(sizeof(*c->syn));
	if (!c->syn)
		return false;
	c->syn->segment = *g;
	c->syn->segment.payload = NULL;
	c->syn->segment.captured = 0;
	if (g->raw_options_len)
		memcpy(c->syn->options, g->raw_options, MIN(g->raw_options_len, sizeof(c->syn->options)));
	c->kept = true;
	c->has_iss = c->has_sent = true;
	c->iss = g->seq;
	c->sent = g->seq + 1;
	return true;
}

static const struct served_syn *give(struct served *s, struct connection *c)
{
	if (!c->kept)
		return NULL;
	s->given = *c->syn;
	s->given.segment.raw_options = s->given.options;
	free(c->syn);
	c->syn = NULL;
	c->kept = false;
	set_open(s, c, true);
	return &s->given;
}

struct served_verdict served_client(struct served *s, const struct flow_key *k, const struct segment *g)
{
	struct served_verdict v = { .turn = false };
	struct connection *c = find_or_make(s, k);
	const uint32_t end = g->seq + segment_seq_len(g);

	c->touched = ++s->packets;
	if ((g->flags & (TCPF_SYN | TCPF_ACK | TCPF_RST)) == TCPF_SYN) {
		if (c->has_iss && c->iss == g->seq && !c->kept)
			return v; /* again, and it was taken */
		v.keep = keep(s, c, g);
		return v;
	}
	if (g->flags & TCPF_RST) {
		/* of a connection that it never had: a kernel that was asked by somebody else's SYN-ACK */
		v.keep = c->kept;
		set_open(s, c, false);
		return v;
	}
	if (c->kept && g->seq - (c->iss + 1) < 1u << 30)
		v.syn = give(s, c);
	if (!c->has_sent || seq_gt(end, c->sent))
		c->sent = end;
	c->has_sent = true;
	if (g->flags & TCPF_ACK)
		c->client_ack = g->ack;
	if (g->len && g->flags & TCPF_ACK) {
		v.turn = !c->has_turn || seq_gt(g->ack, c->turn);
		if (v.turn)
			c->turn = g->ack;
		c->has_turn = true;
		set_open(s, c, true);
	}
	if (g->flags & TCPF_FIN)
		set_open(s, c, false);
	return v;
}

const struct served_syn *served_server(struct served *s, const struct flow_key *k, const struct segment *g)
{
	struct connection *c = find_or_make(s, k);
	const bool syn_ack = (g->flags & (TCPF_SYN | TCPF_ACK | TCPF_RST)) == (TCPF_SYN | TCPF_ACK);

	c->touched = ++s->packets;
	if (syn_ack && c->has_iss && g->ack != c->iss + 1)
		return NULL; /* of another connection on this port */
	if (g->flags & TCPF_RST) {
		set_open(s, c, false);
		return NULL;
	}
	if (syn_ack) {
		c->irs = g->seq;
		c->has_irs = true;
	}
	if (g->flags & TCPF_ACK && (!c->has_acked || seq_gt(g->ack, c->acked))) {
		c->acked = g->ack;
		c->has_acked = true;
	}
	if (g->flags & TCPF_FIN)
		set_open(s, c, false);
	return syn_ack ? give(s, c) : NULL;
}

struct online_answer served_look(const struct served *s, const struct flow_key *k)
{
	const struct connection *c = find(s, k);
	struct online_answer a = { .word = ONLINE_UNKNOWN };

	if (!c || !c->has_iss || c->kept || !c->has_acked || seq_lt(c->acked, c->sent))
		return a;
	a.word = ONLINE_THERE;
	a.tcp_state = 1; /* TCP_ESTABLISHED */
	a.has_received = true;
	a.received = c->acked - (c->iss + 1);
	a.acked = c->has_irs ? c->client_ack - (c->irs + 1) : UINT32_MAX;
	return a;
}

unsigned served_open(const struct served *s)
{
	return s->open;
}
