#ifndef PACKET_ADDR_H
#define PACKET_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

/*
 * An address is always 16 bytes in network byte order; IPv4 is mapped (::ffff:a.b.c.d,
 * RFC 4291 2.5.5.2).
 */
struct addr {
	uint8_t b[16];
};

/* port: host byte order */
struct endpoint {
	struct addr addr;
	uint16_t port;
};

/* One direction of a TCP connection. */
struct tuple {
	struct endpoint src, dst;
};

struct prefix {
	struct addr addr;
	uint8_t len; /* 0..128, of the mapped form (an IPv4 /24 is 120) */
};

bool addr_is_v4(const struct addr *a);
struct addr addr_from_v4(const void *four_bytes);
struct addr addr_from_v6(const void *sixteen_bytes);
const uint8_t *addr_v4_bytes(const struct addr *a); /* the last four bytes */
bool addr_is_any(const struct addr *a);             /* 0.0.0.0 or :: */
bool addr_is_loopback(const struct addr *a);
bool addr_is_multicast(const struct addr *a); /* also the IPv4 limited broadcast */
static inline bool addr_eq(const struct addr *a, const struct addr *b)
{
	return memcmp(a->b, b->b, 16) == 0;
}
static inline bool endpoint_eq(const struct endpoint *a, const struct endpoint *b)
{
	return a->port == b->port && addr_eq(&a->addr, &b->addr);
}
static inline bool tuple_eq(const struct tuple *a, const struct tuple *b)
{
	return endpoint_eq(&a->src, &b->src) && endpoint_eq(&a->dst, &b->dst);
}

/*
 * Literal addresses only: no look-up. Brackets are not accepted here. False when @text is
 * no address.
 */
bool addr_parse(struct addr *a, const char *text);
/* "10.0.0.0/8", "fd00::/16", or a plain address. Bits behind the prefix are set to zero. */
bool prefix_parse(struct prefix *p, const char *text);
/* A prefix shorter than the mapped form's head (::/0) holds no IPv4 address. */
bool prefix_contains(const struct prefix *p, const struct addr *a);

#define ADDR_TEXT_LEN 46
#define ENDPOINT_TEXT_LEN 56
/*
 * Both return @buf. v4 as dotted quad, v6 as RFC 5952; an endpoint as 1.2.3.4:80 or
 * [fd00::1]:80.
 */
char *addr_format(char *buf, size_t size, const struct addr *a);
char *endpoint_format(char *buf, size_t size, const struct endpoint *e);

/* To and from a sockaddr. The v4-mapped form becomes AF_INET. Returns the length. */
socklen_t addr_to_sockaddr(struct sockaddr_storage *ss, const struct addr *a, uint16_t port_host_order);
bool addr_from_sockaddr(struct endpoint *e, const struct sockaddr *sa);

#endif
