/*
 * Any bytes as the beginning and the turns of a connection, in pieces of any size: what is read stays inside
 * them, what is told once is never taken back but where POP3 begins like FTP, and each session is counted
 * once.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "protocol/protocol.h"

/* A copy in memory of its own, where a byte too many is noticed. */
static uint8_t *copied(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	memcpy(copy, data, size);
	return copy;
}

static void check_hello(const uint8_t *b, uint32_t len)
{
	struct protocol_hello h;

	protocol_client_hello(&h, b, len);
	assert(!h.sni_len || (h.sni > b && h.sni + h.sni_len <= b + len));
	assert(!h.alpn_len || (h.alpn > b && h.alpn + h.alpn_len <= b + len));
	assert(protocol_first(b, len) < PROTOCOL_COUNT && protocol_middle(b, len) < PROTOCOL_COUNT);
	assert(protocol_proxy_header(b, len) <= 16 + 1024);
	for (unsigned p = 0; p < PROTOCOL_COUNT; p++)
		assert(protocol_answer((enum protocol)p, b, len) < ANSWER_COUNT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct protocol_tally t = { .sessions[PROTOCOL_NONE] = 1 };
	struct protocol_state s = { 0 };

	while (size > 1) { /* a byte: the high bit says that a turn begins, the rest how long the piece is */
		const struct protocol_state before = s;
		size_t n = MIN((size_t)(data[0] & 0x7f) * 8 + 1, size - 1);
		uint8_t *piece = copied(data + 1, n);

		check_hello(piece, (uint32_t)n);
		protocol_may_join(&t, &(struct protocol_state){ .protocol = s.protocol }, piece, (uint32_t)n);
		protocol_tally_read(&t, &s, piece, (uint32_t)n, data[0] & 0x80 || !s.turns);
		free(piece);
		assert(s.protocol < PROTOCOL_COUNT && s.details < 1u << DETAIL_COUNT);
		assert((before.details & ~s.details) == 0 && s.read <= PROTOCOL_READ);
		assert(s.protocol == before.protocol || before.protocol == PROTOCOL_NONE ||
		       before.protocol == PROTOCOL_FTP);
		for (unsigned p = 0; p < PROTOCOL_COUNT; p++)
			assert(t.sessions[p] == (p == s.protocol));
		data += 1 + n;
		size -= 1 + n;
	}
	return 0;
}
