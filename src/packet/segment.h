#ifndef PACKET_SEGMENT_H
#define PACKET_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "packet/addr.h"

#define TCPF_FIN 0x01u
#define TCPF_SYN 0x02u
#define TCPF_RST 0x04u
#define TCPF_PSH 0x08u
#define TCPF_ACK 0x10u
#define TCPF_URG 0x20u
#define TCPF_ECE 0x40u
#define TCPF_CWR 0x80u

#define TCP_MAX_SACK_BLOCKS 4
#define TCP_MAX_OPTIONS_LEN 40

struct sack_block {
	uint32_t start, end; /* host byte order, [start, end) */
};

/* Options of Multipath TCP that say that a connection is one, or is about to be (RFC 8684 3). */
enum { MPTCP_CAPABLE = 1, MPTCP_JOIN = 2, MPTCP_DSS = 4 };

/* TCP options in host byte order; what is absent is zero. */
struct tcp_options {
	uint16_t mss;   /* 0: absent */
	uint8_t wscale; /* valid if has_wscale; clamped to 14 (RFC 7323 2.3) */
	uint8_t n_sack;
	bool has_wscale, has_sack_permitted, has_ts;
	bool has_tfo, has_mptcp, has_unknown;
	uint8_t mptcp;  /* a set of MPTCP_ */
	bool has_auth;  /* MD5 (RFC 2385) or TCP-AO (RFC 5925) */
	bool malformed; /* a length that cannot be: what stands behind it was not read, as in Linux */
	uint32_t tsval, tsecr;
	struct sack_block sack[TCP_MAX_SACK_BLOCKS];
};

/*
 * A parsed TCP segment, or super-packet: what the engine takes in. All fields in host byte order.
 * The pointers stand in the packet's own bytes and are valid as long as those.
 */
struct segment {
	struct tuple tuple; /* src -> dst as on the wire */
	uint64_t time;      /* ns, CLOCK_MONOTONIC, when it was captured */
	uint32_t seq, ack;
	uint32_t len;      /* payload bytes on the wire (32 bits: BIG TCP), without SYN and FIN */
	uint32_t captured; /* payload bytes present at @payload; < len if the capture was cut */
	const uint8_t *payload;
	const uint8_t *raw_options; /* the option bytes as on the wire */
	uint8_t raw_options_len;
	uint8_t flags;   /* TCPF_ */
	uint16_t window; /* raw, not scaled */
	uint16_t urgent;
	uint16_t ip_id;      /* IPv4 only; 0 for IPv6 */
	uint8_t ttl;         /* or hop limit */
	uint8_t tos;         /* or traffic class: DSCP and ECN */
	bool odd_ip_option;  /* an IPv4 source route (RFC 791), or an option that Linux finds malformed */
	bool df;             /* IPv4 don't-fragment */
	uint32_t flow_label; /* IPv6, 20 bits */
	uint16_t gso_size;   /* payload of each wire segment in a super-packet; 0: one or unknown */
	struct tcp_options opt;
};

/* Sequence space that a segment takes (RFC 9293 3.4: SYN and FIN count as one each). */
static inline uint32_t segment_seq_len(const struct segment *s)
{
	return s->len + !!(s->flags & TCPF_SYN) + !!(s->flags & TCPF_FIN);
}

/*
 * A segment to be sent: what the engine gives out and the sinks take. Host byte order. Payload
 * longer than gso_size leaves as one GSO packet, or is cut to pieces of gso_size where the sink
 * cannot: seq advances, PSH and FIN stay on the last piece only, CWR on the first only, and IP id
 * is +1 for each further piece.
 */
struct tx_segment {
	struct tuple tuple; /* src -> dst as it shall be on the wire */
	uint32_t seq, ack;
	uint16_t window; /* raw */
	uint16_t urgent;
	uint16_t ip_id;
	uint16_t gso_size; /* largest payload of one wire segment; 0: all of it fits in one */
	uint8_t flags;
	uint8_t ttl, tos;
	bool df;
	uint32_t flow_label;
	uint8_t options_len; /* multiple of 4, at most 40 */
	uint8_t options[TCP_MAX_OPTIONS_LEN];
	const uint8_t *payload;
	uint32_t len;
};

/* Why a packet was not parsed into a segment. One table: enum, short name, text. */
#define PARSE_REASONS(X)                                                                                     \
	X(OK, "ok", "parsed")                                                                                \
	X(LINK_SHORT, "link-short", "shorter than its link-layer header")                                    \
	X(LINK_UNKNOWN, "link-unknown", "unsupported link-layer type")                                       \
	X(NOT_IP, "not-ip", "neither IPv4 nor IPv6")                                                         \
	X(IP_SHORT, "ip-short", "shorter than its IP header")                                                \
	X(IP_HEADER_LEN, "ip-header-length", "IPv4 header length under 20 bytes")                            \
	X(IP_TOTAL_LEN, "ip-total-length", "IP length shorter than the headers or longer than the packet")   \
	X(FRAGMENT, "fragment", "IPv4 fragment")                                                             \
	X(FRAGMENT6, "fragment6", "IPv6 fragment")                                                           \
	X(EXT_HEADERS, "extension-headers", "too many or malformed IPv6 extension headers")                  \
	X(NOT_TCP, "not-tcp", "not TCP")                                                                     \
	X(TCP_SHORT, "tcp-short", "shorter than its TCP header")                                             \
	X(TCP_HEADER_LEN, "tcp-header-length", "TCP data offset under 5")                                    \
	X(TCP_OPTIONS, "tcp-options", "malformed TCP option length (a response's)")                          \
	X(BAD_CHECKSUM, "bad-checksum", "wrong IP or TCP checksum")                                          \
	X(BAD_ADDRESS, "bad-address", "source or destination is multicast or unspecified, or a port is 0")   \
	X(BAD_FLAGS, "bad-flags", "impossible TCP flags (none, SYN+FIN)")

enum parse_reason {
#define X(id, name, text) PARSE_##id,
	PARSE_REASONS(X)
#undef X
		PARSE_REASON_COUNT
};

#endif
