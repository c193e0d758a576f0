/*
 * The copies of a session - theory of operation
 *
 * In: a client's address and port. Out: how many sessions its connection has at each target, and their keys.
 * The copies of a connection are sessions like any other, which differ in the number in their keys: each has
 * its own source, its own way back and its own outcome, and the engine knows nothing of the others.
 *
 * Of -n 1.5 half of the connections have two copies: those whose hash lies below the fraction. The key of the
 * hash is another than that of -r, which would choose the same ones: of those that it lets through all might
 * lie below the fraction.
 *
 * A recording that is played again has the same connections again, as sessions of their own, so the number of
 * the time is in the key, too, above the bits of the copies.
 */
#include "tcpcopy/choice/copies.h"

#include <string.h>

#include "base/siphash.h"

#define KEY_FIXED 0x636f706965732d6eull

unsigned copies_most(const struct copies *c)
{
	return c->times ? (unsigned)((c->times + COPIES_ONE - 1) / COPIES_ONE) : 1;
}

unsigned copies_of(const struct copies *c, const struct endpoint *client)
{
	const struct siphash_key key = { c->seed, KEY_FIXED };
	const unsigned whole = c->times ? (unsigned)(c->times / COPIES_ONE) : 1;
	const uint64_t rest = c->times % COPIES_ONE;
	uint8_t bytes[sizeof(client->addr.b) + 2];
	size_t n = sizeof(client->addr.b);

	if (!rest)
		return whole;
	memcpy(bytes, client->addr.b, n);
	bytes[n++] = (uint8_t)(client->port >> 8);
	bytes[n++] = (uint8_t)client->port;
	return whole + ((siphash(&key, bytes, n) >> 32) * COPIES_ONE < rest << 32);
}

uint16_t copies_mask(const struct copies *c)
{
	const unsigned last = copies_most(c) - 1;
	unsigned mask = 0;

	while (mask < last)
		mask = mask << 1 | 1;
	return (uint16_t)mask;
}

struct flow_key copies_key(const struct copies *c, const struct tuple *request, unsigned rule, unsigned copy,
			   uint64_t loop)
{
	return (struct flow_key){ .client = request->src,
				  .online = request->dst,
				  .target = (uint16_t)rule,
				  .copy = (uint16_t)(loop * (copies_mask(c) + 1u) + copy) };
}
