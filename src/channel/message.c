/*
 * The codec of the channel: doc/PROTOCOL.md in code.
 *
 * In goes a struct message, out come the bytes of one frame, and back. Nothing is kept between
 * calls and nothing is allocated; the caller owns both buffers. Bytes are read only through a
 * cursor that fails for good at the first byte that is not there, so a decoder reads all its fields
 * and asks once, at the end, whether they were there.
 *
 * A body has exactly the length of its type: a peer that is newer speaks our version once it has
 * read our HELLO, so an unexpected length is a fault and not an extension. HELLO alone may be
 * longer, because it is read before a version is agreed. Text from the peer ends in logs and
 * terminals, so whatever is not printable becomes '?' here.
 */
#include "channel/message.h"

#include <assert.h>
#include <string.h>

#include "base/util.h"

#define HELLO_MAGIC 0x54435043u /* "TCPC" */
#define HELLO_LEN 62
#define RESPONSE_LEN 40 /* without SACK blocks and first bytes */
#define FINDINGS_LEN 61

/* Bits of the options byte of RESPONSE. */
#define OPT_WSCALE 0x01u
#define OPT_SACK_PERMITTED 0x02u
#define OPT_TS 0x04u
#define OPT_ALL (OPT_WSCALE | OPT_SACK_PERMITTED | OPT_TS)

struct reader {
	const uint8_t *p, *end;
	bool failed;
};

static uint64_t get(struct reader *r, unsigned bytes)
{
	uint64_t v = 0;

	if (r->failed || (size_t)(r->end - r->p) < bytes) {
		r->failed = true;
		return 0;
	}
	for (unsigned i = 0; i < bytes; i++)
		v = v << 8 | r->p[i];
	r->p += bytes;
	return v;
}

static void get_bytes(struct reader *r, void *to, size_t len)
{
	if (r->failed || (size_t)(r->end - r->p) < len) {
		r->failed = true;
		memset(to, 0, len);
		return;
	}
	memcpy(to, r->p, len);
	r->p += len;
}

static void put(uint8_t **p, uint64_t v, unsigned bytes)
{
	for (unsigned i = bytes; i--;)
		*(*p)++ = (uint8_t)(v >> 8 * i);
}

static void put_bytes(uint8_t **p, const void *from, size_t len)
{
	memcpy(*p, from, len);
	*p += len;
}

/* Text of a fixed field: zero-padded on the wire, at least one zero at its end. */
static void put_text(uint8_t **p, const char *text, size_t size)
{
	size_t len = strnlen(text, size - 1);

	memcpy(*p, text, len);
	memset(*p + len, 0, size - len);
	*p += size;
}

/* Of @len bytes at @text keep what stands before the first zero, printable, and end it by a zero.
 */
static void clean_text(char *text, size_t len)
{
	size_t i;

	for (i = 0; i < len && text[i]; i++)
		if (text[i] < 0x20 || text[i] > 0x7e)
			text[i] = '?';
	memset(text + i, 0, len - i);
}

static struct endpoint get_endpoint(struct reader *r)
{
	struct endpoint e;

	/* cppcheck-suppress uninitvar ; it is what get_bytes() fills */
	get_bytes(r, e.addr.b, sizeof(e.addr.b));
	e.port = (uint16_t)get(r, 2);
	return e;
}

static void put_endpoint(uint8_t **p, const struct endpoint *e)
{
	put_bytes(p, e->addr.b, sizeof(e->addr.b));
	put(p, e->port, 2);
}

static bool endpoint_usable(const struct endpoint *e)
{
	return e->port && !addr_is_any(&e->addr) && !addr_is_multicast(&e->addr);
}

static void put_response(uint8_t **p, const struct response *r)
{
	const struct tcp_options *o = &r->opt;
	unsigned bits = (o->has_wscale ? OPT_WSCALE : 0) | (o->has_sack_permitted ? OPT_SACK_PERMITTED : 0) |
			(o->has_ts ? OPT_TS : 0);

	assert(o->n_sack <= TCP_MAX_SACK_BLOCKS && r->n_first <= MIN(sizeof(r->first), r->len));
	put(p, r->id, 8);
	put(p, r->seq, 4);
	put(p, r->ack, 4);
	put(p, r->len, 4);
	put(p, r->window, 2);
	put(p, r->merged, 2);
	put(p, r->flags, 1);
	put(p, r->dup_acks, 1);
	put(p, bits, 1);
	put(p, o->n_sack, 1);
	put(p, o->mss, 2);
	put(p, o->has_wscale ? o->wscale : 0, 1);
	put(p, r->n_first, 1);
	put(p, o->has_ts ? o->tsval : 0, 4);
	put(p, o->has_ts ? o->tsecr : 0, 4);
	for (unsigned i = 0; i < o->n_sack; i++) {
		put(p, o->sack[i].start, 4);
		put(p, o->sack[i].end, 4);
	}
	put_bytes(p, r->first, r->n_first);
}

static const char *get_response(struct response *r, struct reader *in)
{
	struct tcp_options *o = &r->opt;
	unsigned bits;

	r->id = get(in, 8);
	r->seq = (uint32_t)get(in, 4);
	r->ack = (uint32_t)get(in, 4);
	r->len = (uint32_t)get(in, 4);
	r->window = (uint16_t)get(in, 2);
	r->merged = (uint16_t)get(in, 2);
	r->flags = (uint8_t)get(in, 1);
	r->dup_acks = (uint8_t)get(in, 1);
	bits = (unsigned)get(in, 1);
	o->n_sack = (uint8_t)get(in, 1);
	o->mss = (uint16_t)get(in, 2);
	o->wscale = (uint8_t)get(in, 1);
	r->n_first = (uint8_t)get(in, 1);
	o->tsval = (uint32_t)get(in, 4);
	o->tsecr = (uint32_t)get(in, 4);
	if (o->n_sack > TCP_MAX_SACK_BLOCKS)
		return "RESPONSE with more than 4 SACK blocks";
	if (r->n_first > MIN(sizeof(r->first), r->len))
		return "RESPONSE with more than 16 first bytes, or than it has";
	for (unsigned i = 0; i < o->n_sack; i++) {
		o->sack[i].start = (uint32_t)get(in, 4);
		o->sack[i].end = (uint32_t)get(in, 4);
	}
	get_bytes(in, r->first, r->n_first);
	if (in->failed)
		return NULL; /* the caller's to report */
	if (bits & ~OPT_ALL)
		return "RESPONSE with unknown option bits";
	o->has_wscale = bits & OPT_WSCALE;
	o->has_sack_permitted = bits & OPT_SACK_PERMITTED;
	o->has_ts = bits & OPT_TS;
	if (!o->has_wscale)
		o->wscale = 0;
	if (!o->has_ts)
		o->tsval = o->tsecr = 0;
	if (o->wscale > 14)
		return "RESPONSE with a window scale above 14";
	if ((r->flags & (TCPF_SYN | TCPF_FIN | TCPF_RST)) && (r->merged || r->dup_acks))
		return "RESPONSE with SYN, FIN or RST that claims to be merged";
	return NULL;
}

static const char *get_hello(struct msg_hello *h, struct reader *in)
{
	uint32_t magic = (uint32_t)get(in, 4);

	h->version_min = (uint16_t)get(in, 2);
	h->version_max = (uint16_t)get(in, 2);
	h->features = (uint32_t)get(in, 4);
	h->worker = (uint16_t)get(in, 2);
	get_bytes(in, h->program, sizeof(h->program));
	get_bytes(in, h->release, sizeof(h->release));
	if (in->failed)
		return NULL;
	if (magic != HELLO_MAGIC)
		return "HELLO with a wrong magic number";
	if (!h->version_min || h->version_min > h->version_max)
		return "HELLO with an impossible version range";
	if (h->program[sizeof(h->program) - 1] || h->release[sizeof(h->release) - 1])
		return "HELLO with an unterminated text";
	clean_text(h->program, sizeof(h->program));
	clean_text(h->release, sizeof(h->release));
	h->workers = 0;
	h->seed = 0;
	if (h->features & CHANNEL_WORKERS) {
		h->workers = (uint16_t)get(in, 2);
		h->seed = (uint32_t)get(in, 4);
		if (in->failed || !h->workers)
			return "HELLO without the number of workers";
	}
	in->p = in->end; /* what a newer version appended */
	return NULL;
}

static const char *get_watch(struct msg_watch *w, struct reader *in)
{
	w->id = get(in, 8);
	w->response.src = get_endpoint(in);
	w->response.dst = get_endpoint(in);
	if (in->failed)
		return NULL;
	if (!endpoint_usable(&w->response.src) || !endpoint_usable(&w->response.dst))
		return "WATCH with an unusable address or port 0";
	if (addr_is_v4(&w->response.src.addr) != addr_is_v4(&w->response.dst.addr))
		return "WATCH with addresses of two families";
	return NULL;
}

static const char *get_stray(struct msg_stray *s, struct reader *in)
{
	s->response.src = get_endpoint(in);
	s->response.dst = get_endpoint(in);
	s->seq = (uint32_t)get(in, 4);
	s->ack = (uint32_t)get(in, 4);
	s->flags = (uint8_t)get(in, 1);
	if (in->failed)
		return NULL;
	if (!endpoint_usable(&s->response.src) || !endpoint_usable(&s->response.dst))
		return "STRAY with an unusable address or port 0";
	if (addr_is_v4(&s->response.src.addr) != addr_is_v4(&s->response.dst.addr))
		return "STRAY with addresses of two families";
	return NULL;
}

static const char *get_bye(char *bye, size_t size, struct reader *in)
{
	size_t len = (size_t)(in->end - in->p);

	if (!len || len >= size)
		return "BYE with a text of an impossible length";
	get_bytes(in, bye, len);
	clean_text(bye, len);
	return NULL;
}

static void put_findings(uint8_t **p, const struct msg_findings *f)
{
	put(p, f->id, 8);
	put(p, f->facts, 4);
	put(p, f->arrived, 4);
	put(p, f->captured, 4);
	put(p, f->forwarded, 4);
	put(p, f->answered, 4);
	put_bytes(p, f->address.b, sizeof(f->address.b));
	put(p, f->prefix, 1);
	put_text(p, f->interface, sizeof(f->interface));
}

static const char *get_findings(struct msg_findings *f, struct reader *in)
{
	f->id = get(in, 8);
	f->facts = (uint32_t)get(in, 4);
	f->arrived = (uint32_t)get(in, 4);
	f->captured = (uint32_t)get(in, 4);
	f->forwarded = (uint32_t)get(in, 4);
	f->answered = (uint32_t)get(in, 4);
	get_bytes(in, f->address.b, sizeof(f->address.b));
	f->prefix = (uint8_t)get(in, 1);
	get_bytes(in, f->interface, sizeof(f->interface));
	if (in->failed)
		return NULL;
	if (f->prefix > 128)
		return "FINDINGS with a prefix longer than 128";
	if (f->interface[sizeof(f->interface) - 1])
		return "FINDINGS with an unterminated text";
	clean_text(f->interface, sizeof(f->interface));
	return NULL;
}

size_t message_encode(uint8_t out[MESSAGE_MAX_LEN], const struct message *m)
{
	uint8_t *p = out + MESSAGE_HEADER_LEN, *header = out;

	switch (m->type) {
	case MSG_HELLO:
		put(&p, HELLO_MAGIC, 4);
		put(&p, m->hello.version_min, 2);
		put(&p, m->hello.version_max, 2);
		put(&p, m->hello.features, 4);
		put(&p, m->hello.worker, 2);
		put_text(&p, m->hello.program, sizeof(m->hello.program));
		put_text(&p, m->hello.release, sizeof(m->hello.release));
		if (m->hello.features & CHANNEL_WORKERS) {
			put(&p, m->hello.workers, 2);
			put(&p, m->hello.seed, 4);
		}
		assert(p - out >= MESSAGE_HEADER_LEN + HELLO_LEN);
		break;
	case MSG_WATCH:
	case MSG_PROBE:
		put(&p, m->watch.id, 8);
		put_endpoint(&p, &m->watch.response.src);
		put_endpoint(&p, &m->watch.response.dst);
		break;
	case MSG_UNWATCH:
	case MSG_TAKEN:
	case MSG_FULL:
		put(&p, m->watch.id, 8);
		break;
	case MSG_EXPECT:
		put(&p, m->watch.id, 8);
		put(&p, m->watch.number, 4);
		break;
	case MSG_RESPONSE:
		put_response(&p, &m->response);
		assert(p - out ==
		       MESSAGE_HEADER_LEN + RESPONSE_LEN + 8 * m->response.opt.n_sack + m->response.n_first);
		break;
	case MSG_LOSS:
		put(&p, m->loss.records_dropped, 8);
		put(&p, m->loss.records_merged, 8);
		put(&p, m->loss.kernel_drops, 8);
		put(&p, m->loss.unowned, 8);
		break;
	case MSG_PLACE:
		put(&p, m->place, 2);
		break;
	case MSG_PING:
	case MSG_PONG:
		put(&p, m->ping, 8);
		break;
	case MSG_BYE:
		if (m->bye[0])
			put_bytes(&p, m->bye, strnlen(m->bye, sizeof(m->bye) - 1));
		else
			put(&p, '-', 1);
		break;
	case MSG_TARGET:
		put_endpoint(&p, &m->target);
		break;
	case MSG_STRAY:
		put_endpoint(&p, &m->stray.response.src);
		put_endpoint(&p, &m->stray.response.dst);
		put(&p, m->stray.seq, 4);
		put(&p, m->stray.ack, 4);
		put(&p, m->stray.flags, 1);
		break;
	case MSG_FINDINGS:
		put_findings(&p, &m->findings);
		assert(p - out == MESSAGE_HEADER_LEN + FINDINGS_LEN);
		break;
	}
	put(&header, m->type, 1);
	put(&header, 0, 1);
	put(&header, (uint64_t)(p - out - MESSAGE_HEADER_LEN), 2);
	return (size_t)(p - out);
}

/* The body of a message of a known type; NULL, or what is wrong with it. */
static const char *get_body(struct message *m, struct reader *in)
{
	switch (m->type) {
	case MSG_HELLO:
		return get_hello(&m->hello, in);
	case MSG_FINDINGS:
		return get_findings(&m->findings, in);
	case MSG_WATCH:
	case MSG_PROBE:
		return get_watch(&m->watch, in);
	case MSG_UNWATCH:
	case MSG_TAKEN:
	case MSG_FULL:
		m->watch.id = get(in, 8);
		return NULL;
	case MSG_EXPECT:
		m->watch.id = get(in, 8);
		m->watch.number = (uint32_t)get(in, 4);
		return NULL;
	case MSG_RESPONSE:
		return get_response(&m->response, in);
	case MSG_LOSS:
		m->loss.records_dropped = get(in, 8);
		m->loss.records_merged = get(in, 8);
		m->loss.kernel_drops = get(in, 8);
		m->loss.unowned = get(in, 8);
		return NULL;
	case MSG_PLACE:
		m->place = (uint16_t)get(in, 2);
		return NULL;
	case MSG_PING:
	case MSG_PONG:
		m->ping = get(in, 8);
		return NULL;
	case MSG_BYE:
		return get_bye(m->bye, sizeof(m->bye), in);
	case MSG_TARGET:
		m->target = get_endpoint(in);
		return in->failed || endpoint_usable(&m->target)
			       ? NULL
			       : "TARGET with an unusable address or port 0";
	case MSG_STRAY:
		return get_stray(&m->stray, in);
	}
	return NULL;
}

enum message_result message_decode(struct message *m, const uint8_t *in, size_t len, size_t *used,
				   const char **why)
{
	struct reader header = { in, in + MIN(len, MESSAGE_HEADER_LEN), false };
	struct reader body;
	unsigned type = (unsigned)get(&header, 1);
	unsigned body_len;

	get(&header, 1);
	body_len = (unsigned)get(&header, 2);
	if (header.failed)
		return MESSAGE_MORE;
	if (body_len > MESSAGE_MAX_LEN - MESSAGE_HEADER_LEN) {
		*why = "frame longer than 512 bytes";
		return MESSAGE_BAD;
	}
	if (len - MESSAGE_HEADER_LEN < body_len)
		return MESSAGE_MORE;
	*used = MESSAGE_HEADER_LEN + body_len;
	if (type < MSG_HELLO || type > MSG_FULL)
		return MESSAGE_UNKNOWN;
	memset(m, 0, sizeof(*m));
	m->type = (enum message_type)type;
	body = (struct reader){ header.p, header.p + body_len, false };
	*why = get_body(m, &body);
	if (!*why && (body.failed || body.p != body.end))
		*why = "wrong body length for this type";
	return *why ? MESSAGE_BAD : MESSAGE_OK;
}
