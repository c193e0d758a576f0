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

/* An address and a port in host byte order. */
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

/* Is it an IPv4 address, that is, in the mapped form? */
bool addr_is_v4(const struct addr *a);

/* The address whose four bytes of IPv4, in network byte order and at any alignment, are at @four_bytes. */
struct addr addr_from_v4(const void *four_bytes);

/* The address whose sixteen bytes, in network byte order and at any alignment, are at @sixteen_bytes. */
struct addr addr_from_v6(const void *sixteen_bytes);

/* The four bytes of an IPv4 address, in network byte order: the last four of *a. */
const uint8_t *addr_v4_bytes(const struct addr *a);

/* Is it the unspecified address, 0.0.0.0 or ::? */
bool addr_is_any(const struct addr *a);

/* Is it in 127.0.0.0/8, or ::1? */
bool addr_is_loopback(const struct addr *a);

/* Is it a multicast address, or the limited broadcast address of IPv4? */
bool addr_is_multicast(const struct addr *a);

/* Are the two addresses equal? */
static inline bool addr_eq(const struct addr *a, const struct addr *b)
{
	return memcmp(a->b, b->b, 16) == 0;
}
/* Are address and port of both equal? */
static inline bool endpoint_eq(const struct endpoint *a, const struct endpoint *b)
{
	return a->port == b->port && addr_eq(&a->addr, &b->addr);
}
/* Are both ends equal, in the same direction? */
static inline bool tuple_eq(const struct tuple *a, const struct tuple *b)
{
	return endpoint_eq(&a->src, &b->src) && endpoint_eq(&a->dst, &b->dst);
}

/*
 * Parse a literal address into *a. There is no look-up of names, and brackets are not accepted. Returns false
 * if @text is not an address.
 */
bool addr_parse(struct addr *a, const char *text);

/*
 * Parse "10.0.0.0/8", "fd00::/16" or a plain address into *p. Bits after the prefix are set to zero. Returns
 * false if @text is neither.
 */
bool prefix_parse(struct prefix *p, const char *text);

/* Does *p contain *a? A prefix shorter than the head of the mapped form, such as ::/0, contains no IPv4. */
bool prefix_contains(const struct prefix *p, const struct addr *a);

/*
 * Are *a and *b neighbours: the same IPv4 address, or of one IPv6 /64 (RFC 4291 2.5.4), of which whoever has
 * one address has all?
 */
bool addr_neighbours(const struct addr *a, const struct addr *b);

#define ADDR_TEXT_LEN 46
#define ENDPOINT_TEXT_LEN 56
/*
 * Write *a into @buf: IPv4 as a dotted quad, IPv6 as in RFC 5952. @size: ADDR_TEXT_LEN fits all. Returns
 * @buf.
 */
char *addr_format(char *buf, size_t size, const struct addr *a);

/* Write *e into @buf as 1.2.3.4:80 or [fd00::1]:80. @size: ENDPOINT_TEXT_LEN fits all. Returns @buf. */
char *endpoint_format(char *buf, size_t size, const struct endpoint *e);

/* Fill *ss with address and port; a mapped address becomes AF_INET. Returns the length for system calls. */
socklen_t addr_to_sockaddr(struct sockaddr_storage *ss, const struct addr *a, uint16_t port_host_order);

/* Fill *e from *sa. Returns false if the family is neither AF_INET nor AF_INET6. */
bool addr_from_sockaddr(struct endpoint *e, const struct sockaddr *sa);

#endif
