/*
 * The blocks of a pcapng file - theory of operation
 *
 * In: values. Out: bytes. A block is its type, its length, its body, options, and its length again; all of
 * it in multiples of 4 bytes. The order of bytes is little-endian whatever the machine, which the format
 * allows and tests by literal bytes need.
 *
 * libpcap reads only files whose interfaces have one link type and one snap length, and of several interfaces
 * of raw IP it says that they differ. So what was captured on a tunnel, without a link layer, is given an
 * Ethernet header of zeros; and the snap length, which promises nothing, is libpcap's largest.
 */
#include "io/file/pcapng.h"

#include <string.h>

#include "base/util.h"

enum { SECTION = 0x0a0d0d0a, INTERFACE = 1, PACKET = 6 };
enum { BYTE_ORDER_MAGIC = 0x1a2b3c4d, LINKTYPE_ETHERNET = 1, SNAP_LENGTH = 262144 };
enum {
	OPTION_END = 0,
	OPTION_COMMENT = 1,
	SECTION_APPLICATION = 4,
	INTERFACE_NAME = 2,
	INTERFACE_RESOLUTION = 9,
	INTERFACE_FILTER = 11,
	PACKET_FLAGS = 2,
};
enum { NANOSECONDS = 9, INBOUND = 1, OUTBOUND = 2 };
#define PACKET_HEAD 28u /* from the block's type to the packet */
#define BLOCK_TAIL 4u   /* the length again */
#define ETHER_LEN 14u
#define OPTION_HEAD 4u

static size_t padded(size_t n)
{
	return (n + 3) & ~(size_t)3;
}

static uint8_t *put16(uint8_t *to, uint16_t v)
{
	to[0] = (uint8_t)v;
	to[1] = (uint8_t)(v >> 8);
	return to + 2;
}

static uint8_t *put32(uint8_t *to, uint32_t v)
{
	return put16(put16(to, (uint16_t)v), (uint16_t)(v >> 16));
}

static uint8_t *put_bytes(uint8_t *to, const void *from, size_t n)
{
	if (n)
		memcpy(to, from, n);
	memset(to + n, 0, padded(n) - n);
	return to + padded(n);
}

static size_t text_len(const char *text)
{
	return text ? strnlen(text, PCAPNG_TEXT_MOST) : 0;
}

static size_t text_size(const char *text)
{
	const size_t n = text_len(text);

	return n ? OPTION_HEAD + padded(n) : 0;
}

static uint8_t *put_option(uint8_t *to, uint16_t code, const void *value, size_t n)
{
	return put_bytes(put16(put16(to, code), (uint16_t)n), value, n);
}

static uint8_t *put_text(uint8_t *to, uint16_t code, const char *text)
{
	const size_t n = text_len(text);

	return n ? put_option(to, code, text, n) : to;
}

/* The end of the options and of a block of @all bytes. */
static size_t end(uint8_t *to, size_t all)
{
	put32(put_option(to, OPTION_END, NULL, 0), (uint32_t)all);
	return all;
}

size_t pcapng_section(uint8_t *to, size_t size, const char *application, const char *comment)
{
	const size_t all = 24 + text_size(application) + text_size(comment) + OPTION_HEAD + BLOCK_TAIL;

	if (all > size)
		return 0;
	to = put32(put32(put32(to, SECTION), (uint32_t)all), BYTE_ORDER_MAGIC);
	to = put16(put16(to, 1), 0);                   /* version 1.0 */
	to = put32(put32(to, UINT32_MAX), UINT32_MAX); /* the length of the section is not known */
	to = put_text(to, SECTION_APPLICATION, application);
	return end(put_text(to, OPTION_COMMENT, comment), all);
}

size_t pcapng_interface(uint8_t *to, size_t size, const char *name, const char *filter)
{
	const uint8_t resolution = NANOSECONDS;
	const size_t filter_len = text_len(filter);
	const size_t all = 16 + text_size(name) + OPTION_HEAD + 4 +
			   (filter_len ? OPTION_HEAD + padded(filter_len + 1) : 0) + OPTION_HEAD + BLOCK_TAIL;

	if (all > size)
		return 0;
	to = put32(put32(to, INTERFACE), (uint32_t)all);
	to = put32(put16(put16(to, LINKTYPE_ETHERNET), 0), SNAP_LENGTH);
	to = put_text(to, INTERFACE_NAME, name);
	to = put_option(to, INTERFACE_RESOLUTION, &resolution, 1);
	if (filter_len) { /* behind a byte that says that it is a text */
		uint8_t value[1 + PCAPNG_TEXT_MOST] = { 0 };

		memcpy(value + 1, filter, filter_len);
		to = put_option(to, INTERFACE_FILTER, value, filter_len + 1);
	}
	return end(to, all);
}

/* Bytes that are put in front of the packet. */
static uint32_t link_len(const struct pcapng_packet *p)
{
	return p->bare ? ETHER_LEN : 0;
}

size_t pcapng_packet_size(const struct pcapng_packet *p)
{
	return PACKET_HEAD + padded(link_len(p) + p->captured) + text_size(p->comment) + OPTION_HEAD + 4 +
	       OPTION_HEAD + BLOCK_TAIL;
}

size_t pcapng_packet(uint8_t *to, size_t size, const struct pcapng_packet *p, const uint8_t *data)
{
	const size_t all = pcapng_packet_size(p);
	uint8_t flags[4];

	if (all > size)
		return 0;
	to = put32(put32(put32(to, PACKET), (uint32_t)all), p->interface);
	to = put32(put32(to, (uint32_t)(p->time >> 32)), (uint32_t)p->time);
	to = put32(put32(to, link_len(p) + p->captured), link_len(p) + p->len);
	if (p->bare) {
		memset(to, 0, ETHER_LEN);
		to[ETHER_LEN - 2] = p->captured && data[0] >> 4 == 6 ? 0x86 : 0x08;
		to[ETHER_LEN - 1] = p->captured && data[0] >> 4 == 6 ? 0xdd : 0x00;
		memcpy(to + ETHER_LEN, data, p->captured);
		memset(to + ETHER_LEN + p->captured, 0,
		       padded(ETHER_LEN + p->captured) - ETHER_LEN - p->captured);
		to += padded(ETHER_LEN + p->captured);
	} else {
		to = put_bytes(to, data, p->captured);
	}
	to = put_text(to, OPTION_COMMENT, p->comment);
	put32(flags, p->outgoing ? OUTBOUND : INBOUND);
	return end(put_option(to, PACKET_FLAGS, flags, sizeof(flags)), all);
}
