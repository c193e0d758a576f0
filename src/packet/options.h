#ifndef PACKET_OPTIONS_H
#define PACKET_OPTIONS_H

#include "packet/segment.h"

/* TCP option kinds (IANA). */
enum {
	TCPOPT_END = 0,
	TCPOPT_NOOP = 1,
	TCPOPT_MAXSEG = 2,
	TCPOPT_WSCALE = 3,
	TCPOPT_SACKOK = 4,
	TCPOPT_SACKS = 5,
	TCPOPT_TS = 8,
	TCPOPT_MD5 = 19, /* RFC 2385 */
	TCPOPT_AO = 29,  /* RFC 5925 */
	TCPOPT_MPTCP_KIND = 30,
	TCPOPT_TFO_COOKIE = 34,
	TCPOPT_ACCECN0 = 172,
	TCPOPT_ACCECN1 = 174,
	TCPOPT_TFO_EXP = 254
};

/*
 * A checked walk over option bytes. kind, len and body are valid after tcp_option_next() has returned true.
 * End-of-list and no-op are skipped.
 */
struct tcp_option_iter {
	const uint8_t *p, *end;
	bool malformed;    /* the walk ended at an impossible length */
	uint8_t kind, len; /* len: of the body, without kind and length bytes */
	const uint8_t *body;
};
/* Begin a walk over the @len bytes at @options, which must stay until it is over. */
void tcp_option_begin(struct tcp_option_iter *it, const uint8_t *options, size_t len);

/* Go to the next option. Returns false at the end, or at a malformed length (it->malformed). */
bool tcp_option_next(struct tcp_option_iter *it);

/*
 * Parse all known options of the @len bytes at @options into *o. Returns false if they are malformed; *o then
 * has those before the fault.
 */
bool tcp_options_parse(struct tcp_options *o, const uint8_t *options, size_t len);

/*
 * Copy the option bytes of a client's SYN to @out, in their order and places, except that no-ops replace what
 * must not be replicated (TFO, MPTCP, AccECN, MD5, AO, SACK blocks, unknown kinds). If there is a timestamp
 * option, its value becomes @tsval and its echo 0. An MSS above @mss_limit is lowered to it; 0 means no
 * limit. After an end-of-list or a malformed length everything is zero. Returns the length in bytes, a
 * multiple of 4 and at most 40. All values are in host byte order.
 */
uint8_t tcp_options_syn_filter(uint8_t out[TCP_MAX_OPTIONS_LEN], const uint8_t *options, size_t len,
			       uint32_t tsval, uint16_t mss_limit);

/*
 * Build the options of a SYN in Linux's order: MSS, SACK permitted and timestamp (or padding), no-op and
 * window scale. @mss 0 and @wscale below 0 mean that the option is absent; the echo is 0. Returns the length
 * in bytes. All values are in host byte order.
 */
uint8_t tcp_options_syn_build(uint8_t out[TCP_MAX_OPTIONS_LEN], uint16_t mss, int wscale, bool sack_permitted,
			      bool has_ts, uint32_t tsval);

/* Build no-op, no-op, timestamps: the 12 bytes that Linux puts into every segment. Returns 12. */
uint8_t tcp_options_ts_build(uint8_t out[TCP_MAX_OPTIONS_LEN], uint32_t tsval, uint32_t tsecr);

#endif
