/*
 * The channel's decoder against arbitrary streams. What decodes must encode to a frame that decodes
 * to the same message, and merging neighbours must keep its promises. Build with clang
 * -fsanitize=fuzzer,address,undefined.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "channel/message.h"
#include "packet/seq.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x)                                                                                             \
	do {                                                                                                 \
		if (!(x))                                                                                    \
			abort();                                                                             \
	} while (0)

static void round_trip(const struct message *m)
{
	uint8_t frame[MESSAGE_MAX_LEN], again[MESSAGE_MAX_LEN];
	size_t len = message_encode(frame, m), used = 0;
	const char *why = NULL;
	struct message back;

	CHECK(message_decode(&back, frame, len, &used, &why) == MESSAGE_OK);
	CHECK(used == len && back.type == m->type);
	CHECK(message_encode(again, &back) == len && !memcmp(frame, again, len));
	CHECK(message_decode(&back, frame, len - 1, &used, &why) == MESSAGE_MORE);
}

static void merge(const struct response *older, const struct response *newer)
{
	struct response m = *older;
	const struct response before = m;

	m.id = newer->id;
	if (!response_merge(&m, newer)) {
		m.id = before.id;
		CHECK(!memcmp(&m, &before, sizeof(m)));
		return;
	}
	CHECK(!((older->flags | newer->flags | m.flags) & (TCPF_SYN | TCPF_FIN | TCPF_RST)));
	CHECK(m.merged == older->merged + newer->merged + 1);
	CHECK(m.opt.n_sack <= TCP_MAX_SACK_BLOCKS);
	CHECK(seq_ge(m.seq + m.len, older->seq + older->len) &&
	      seq_ge(m.seq + m.len, newer->seq + newer->len));
	CHECK(seq_le(m.seq, older->seq) && seq_le(m.seq, newer->seq));
	round_trip(&(struct message){ .type = MSG_RESPONSE, .response = m });
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct response last = { 0 };
	struct message m;

	while (size) {
		const char *why = NULL;
		size_t used = 0;

		switch (message_decode(&m, data, size, &used, &why)) {
		case MESSAGE_OK:
			CHECK(used && used <= size && used <= MESSAGE_MAX_LEN);
			round_trip(&m);
			if (m.type == MSG_RESPONSE) {
				merge(&last, &m.response);
				last = m.response;
			}
			break;
		case MESSAGE_UNKNOWN:
			CHECK(used && used <= size && used <= MESSAGE_MAX_LEN);
			break;
		case MESSAGE_BAD:
			CHECK(why);
			return 0;
		case MESSAGE_MORE:
			return 0;
		}
		data += used;
		size -= used;
	}
	return 0;
}
