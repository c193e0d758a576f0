/*
 * Addresses, endpoints and prefixes, and their text forms.
 *
 * IPv4 lives inside the 16 bytes as ::ffff:a.b.c.d, so that flow keys, comparisons and the wire
 * format of the channel have one shape for both families. Nothing here allocates or looks names up;
 * inet_pton() and inet_ntop() are pure conversions.
 */
#include "packet/addr.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>

static const uint8_t mapped_head[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

bool addr_is_v4(const struct addr *a)
{
	return memcmp(a->b, mapped_head, sizeof(mapped_head)) == 0;
}

struct addr addr_from_v4(const void *four_bytes)
{
	struct addr a;

	memcpy(a.b, mapped_head, sizeof(mapped_head));
	memcpy(a.b + 12, four_bytes, 4);
	return a;
}

struct addr addr_from_v6(const void *sixteen_bytes)
{
	struct addr a;

	memcpy(a.b, sixteen_bytes, 16);
	return a;
}

const uint8_t *addr_v4_bytes(const struct addr *a)
{
	return a->b + 12;
}

bool addr_is_any(const struct addr *a)
{
	static const uint8_t zero[16];

	if (addr_is_v4(a))
		return memcmp(a->b + 12, zero, 4) == 0;
	return memcmp(a->b, zero, 16) == 0;
}

bool addr_is_loopback(const struct addr *a)
{
	static const uint8_t one[16] = { [15] = 1 };

	if (addr_is_v4(a))
		return a->b[12] == 127;
	return memcmp(a->b, one, 16) == 0;
}

bool addr_is_multicast(const struct addr *a)
{
	static const uint8_t broadcast[4] = { 255, 255, 255, 255 };

	if (addr_is_v4(a))
		return (a->b[12] & 0xf0) == 0xe0 || memcmp(a->b + 12, broadcast, 4) == 0;
	return a->b[0] == 0xff;
}

bool addr_parse(struct addr *a, const char *text)
{
	uint8_t four[4];

	if (inet_pton(AF_INET, text, four) == 1) {
		*a = addr_from_v4(four);
		return true;
	}
	return inet_pton(AF_INET6, text, a->b) == 1;
}

/* Plain decimal digits only: strtoul() would let signs and spaces pass. */
static bool parse_prefix_len(unsigned *len, const char *text)
{
	unsigned v = 0;

	if (!*text || strlen(text) > 3)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		v = v * 10 + (unsigned)(*text - '0');
	}
	*len = v;
	return true;
}

bool prefix_parse(struct prefix *p, const char *text)
{
	char head[ADDR_TEXT_LEN];
	const char *slash = strchr(text, '/');
	size_t n = slash ? (size_t)(slash - text) : strlen(text);
	unsigned len = 128, i;
	bool quad;

	if (n >= sizeof(head))
		return false;
	memcpy(head, text, n);
	head[n] = '\0';
	if (!addr_parse(&p->addr, head))
		return false;
	/* ::ffff:10.0.0.0/104 counts its bits as IPv6 does, 10.0.0.0/8 as IPv4 does */
	quad = !strchr(head, ':');
	if (slash) {
		if (!parse_prefix_len(&len, slash + 1) || len > (quad ? 32 : 128))
			return false;
		if (quad)
			len += 96;
	}
	p->len = (uint8_t)len;
	for (i = len; i < 128; i++)
		p->addr.b[i / 8] &= (uint8_t) ~(0x80u >> i % 8);
	return true;
}

bool prefix_contains(const struct prefix *p, const struct addr *a)
{
	unsigned whole = p->len / 8u, rest = p->len % 8u;

	/* ::/0 means every IPv6 address; the mapped ones are not IPv6 to the operator */
	if (p->len < 96 && addr_is_v4(a))
		return false;
	if (memcmp(p->addr.b, a->b, whole) != 0)
		return false;
	return !rest || (p->addr.b[whole] ^ a->b[whole]) >> (8 - rest) == 0;
}

bool addr_neighbours(const struct addr *a, const struct addr *b)
{
	return addr_is_v4(a) || addr_is_v4(b) ? addr_eq(a, b) : !memcmp(a->b, b->b, 8);
}

char *addr_format(char *buf, size_t size, const struct addr *a)
{
	const char *r;

	assert(size > 0);
	if (addr_is_v4(a))
		r = inet_ntop(AF_INET, addr_v4_bytes(a), buf, (socklen_t)size);
	else
		r = inet_ntop(AF_INET6, a->b, buf, (socklen_t)size);
	if (!r)
		buf[0] = '\0';
	return buf;
}

char *endpoint_format(char *buf, size_t size, const struct endpoint *e)
{
	char a[ADDR_TEXT_LEN];

	addr_format(a, sizeof(a), &e->addr);
	snprintf(buf, size, addr_is_v4(&e->addr) ? "%s:%u" : "[%s]:%u", a, e->port);
	return buf;
}

socklen_t addr_to_sockaddr(struct sockaddr_storage *ss, const struct addr *a, uint16_t port_host_order)
{
	memset(ss, 0, sizeof(*ss));
	if (addr_is_v4(a)) {
		struct sockaddr_in *sin = (void *)ss;

		sin->sin_family = AF_INET;
		sin->sin_port = htons(port_host_order);
		memcpy(&sin->sin_addr, addr_v4_bytes(a), 4);
		return sizeof(*sin);
	} else {
		struct sockaddr_in6 *sin6 = (void *)ss;

		sin6->sin6_family = AF_INET6;
		sin6->sin6_port = htons(port_host_order);
		memcpy(&sin6->sin6_addr, a->b, 16);
		return sizeof(*sin6);
	}
}

bool addr_from_sockaddr(struct endpoint *e, const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *sin = (const void *)sa;

		e->addr = addr_from_v4(&sin->sin_addr);
		e->port = ntohs(sin->sin_port);
		return true;
	}
	if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *sin6 = (const void *)sa;

		e->addr = addr_from_v6(&sin6->sin6_addr);
		e->port = ntohs(sin6->sin6_port);
		return true;
	}
	return false;
}
