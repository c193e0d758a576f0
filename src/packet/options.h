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
 * A checked walk over option bytes. kind and body are valid after a true return; end-of-
 * list and no-op are skipped over.
 */
struct tcp_option_iter {
	const uint8_t *p, *end;
	bool malformed;    /* set when the walk ended at an impossible length */
	uint8_t kind, len; /* len: of the body, without kind and length bytes */
	const uint8_t *body;
};
void tcp_option_begin(struct tcp_option_iter *it, const uint8_t *options, size_t len);
bool tcp_option_next(struct tcp_option_iter *it);

/* All known options into *o; false when malformed (o then holds those before the fault). */
bool tcp_options_parse(struct tcp_options *o, const uint8_t *options, size_t len);

/*
 * The option bytes of a SYN as the client sent them, in its order and places, with what may not be
 * replicated (TFO, MPTCP, AccECN, MD5, AO, SACK blocks, unknown kinds) replaced by no-ops, tsval
 * put in if there is a timestamp option and its tsecr set to 0. mss_limit > 0 lowers an MSS option
 * above it. Behind an end-of-list or a malformed length all is zero. Returns the length (a multiple
 * of 4, at most 40).
 */
uint8_t tcp_options_syn_filter(uint8_t out[TCP_MAX_OPTIONS_LEN], const uint8_t *options, size_t len,
			       uint32_t tsval, uint16_t mss_limit);

/*
 * A SYN's options from values, in Linux's order: MSS, SACK permitted + TS (or padding),
 * no-op + window scale. mss 0: none; wscale < 0: none. Returns the length.
 */
uint8_t tcp_options_syn_build(uint8_t out[TCP_MAX_OPTIONS_LEN], uint16_t mss, int wscale, bool sack_permitted,
			      bool has_ts, uint32_t tsval);

/* No-op, no-op, timestamps: the 12 bytes that Linux puts in every segment. Returns 12. */
uint8_t tcp_options_ts_build(uint8_t out[TCP_MAX_OPTIONS_LEN], uint32_t tsval, uint32_t tsecr);

#endif
