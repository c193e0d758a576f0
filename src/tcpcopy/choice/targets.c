/*
 * The choice of a target - theory of operation
 *
 * In: a client's address and port, and the weights of the rules that match its requests, in the order of the
 * command line. Out: which of them it goes to. The hash has a key of its own, so that those that -r chooses
 * and those that have one copy more are divided as all others are. All copies of a connection stay together.
 */
#include "tcpcopy/choice/targets.h"

#include <string.h>

#include "base/siphash.h"

#define KEY_FIXED 0x746172676574732dull

unsigned targets_choose(const struct targets *t, const struct endpoint *client, const uint32_t weight[],
			unsigned n)
{
	const struct siphash_key key = { t->seed, KEY_FIXED };
	uint8_t bytes[sizeof(client->addr.b) + 2];
	size_t len = sizeof(client->addr.b);
	uint64_t sum = 0, at;
	unsigned i = 0;

	memcpy(bytes, client->addr.b, len);
	if (t->by == TARGETS_BY_SESSION) {
		bytes[len++] = (uint8_t)(client->port >> 8);
		bytes[len++] = (uint8_t)client->port;
	}
	for (unsigned j = 0; j < n; j++)
		sum += weight[j];
	/* with 32 bits of hash and 26 of weights nothing overflows */
	at = (siphash(&key, bytes, len) >> 32) * sum >> 32;
	for (; i + 1 < n && at >= weight[i]; i++)
		at -= weight[i];
	return i;
}
