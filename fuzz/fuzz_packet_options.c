/*
 * Any bytes as TCP options: the walk must stay inside them and come to its end, and what the SYN
 * filter puts out must be well-formed, idempotent, and free of everything that may not be
 * replicated.
 */
#include <assert.h>

#include "base/util.h"
#include "packet/options.h"

static void check_filtered(const uint8_t *options, size_t len)
{
	uint8_t out[TCP_MAX_OPTIONS_LEN], again[TCP_MAX_OPTIONS_LEN];
	struct tcp_options before, after;
	uint8_t n = tcp_options_syn_filter(out, options, len, 0x12345678, 1400);

	assert(n % 4 == 0 && n <= TCP_MAX_OPTIONS_LEN && n >= MIN(len, TCP_MAX_OPTIONS_LEN));
	assert(tcp_options_parse(&after, out, n));
	assert(!after.has_unknown && !after.has_mptcp && !after.has_tfo && !after.n_sack);
	assert(after.mss <= 1400);
	assert(!after.has_ts || (after.tsval == 0x12345678 && after.tsecr == 0));
	assert(tcp_options_syn_filter(again, out, n, 0x12345678, 1400) == n);
	assert(memcmp(out, again, n) == 0);
	if (len <= TCP_MAX_OPTIONS_LEN) {
		tcp_options_parse(&before, options, len);
		assert(before.has_ts == after.has_ts && before.has_wscale == after.has_wscale);
		assert(before.wscale == after.wscale && !before.mss == !after.mss);
		assert(before.has_sack_permitted == after.has_sack_permitted);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tcp_option_iter it;
	const uint8_t *last = data;
	struct tcp_options o;

	tcp_option_begin(&it, data, size);
	while (tcp_option_next(&it)) {
		assert(it.body >= last + 2 && it.body + it.len <= data + size);
		assert(it.kind != TCPOPT_END && it.kind != TCPOPT_NOOP);
		last = it.body + it.len;
	}
	assert(tcp_options_parse(&o, data, size) == !it.malformed);
	assert(o.n_sack <= TCP_MAX_SACK_BLOCKS && o.wscale <= 14);
	check_filtered(data, size);
	return 0;
}
