#ifndef IO_FILE_PCAPNG_H
#define IO_FILE_PCAPNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The blocks of a pcapng file (draft-ietf-opsawg-pcapng), in little-endian order on every machine. Each
 * function writes one block to @to, or a part of one, and returns its length in bytes, a multiple of 4; or 0
 * if it does not fit into @size bytes. Texts are UTF-8; NULL or "" leaves the option out, and of a long one
 * the first PCAPNG_TEXT_MOST bytes are kept.
 */
#define PCAPNG_TEXT_MOST 4096u
#define PCAPNG_PACKET_MOST 262100u /* bytes of a packet: with a link layer, as many as libpcap takes */

/* The Section Header Block, which begins a file. */
size_t pcapng_section(uint8_t *to, size_t size, const char *application, const char *comment);

/*
 * An Interface Description Block. The first one describes the interface 0, the next 1, and so on. The link
 * type is Ethernet, times are in ns. @filter: the pcap-filter(7) expression by which was captured there.
 */
size_t pcapng_interface(uint8_t *to, size_t size, const char *name, const char *filter);

struct pcapng_packet {
	uint32_t interface; /* by the order of their blocks */
	uint64_t time;      /* ns since the epoch */
	uint32_t captured;  /* bytes that are there, PCAPNG_PACKET_MOST at most */
	uint32_t len;       /* bytes that there were */
	bool bare;          /* it begins at its IP header: an Ethernet header of zeros is put in front */
	bool outgoing;
	const char *comment;
};

/* How many bytes the block of *p takes, with the packet. */
size_t pcapng_packet_size(const struct pcapng_packet *p);

/* The Enhanced Packet Block of *p, whose bytes are at @data. */
size_t pcapng_packet(uint8_t *to, size_t size, const struct pcapng_packet *p, const uint8_t *data);

#endif
