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
 * With a spread each further copy goes later than the connection, by a time of its own: its SYN and each of
 * its requests. If only its SYN did, it would have caught up at the first request that waits for an answer.
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

/* With @copy 0 it is that of the number of copies, which is a promise. */
static uint64_t hash(const struct copies *c, const struct endpoint *client, unsigned copy)
{
	const struct siphash_key key = { c->seed, KEY_FIXED + copy };
	uint8_t bytes[sizeof(client->addr.b) + 2];
	size_t n = sizeof(client->addr.b);

	memcpy(bytes, client->addr.b, n);
	bytes[n++] = (uint8_t)(client->port >> 8);
	bytes[n++] = (uint8_t)client->port;
	return siphash(&key, bytes, n);
}

unsigned copies_of(const struct copies *c, const struct endpoint *client)
{
	const unsigned whole = c->times ? (unsigned)(c->times / COPIES_ONE) : 1;
	const uint64_t rest = c->times % COPIES_ONE;
	if (!rest)
		return whole;
	return whole + ((hash(c, client, 0) >> 32) * COPIES_ONE < rest << 32);
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

uint64_t copies_later(const struct copies *c, const struct flow_key *k)
{
	const unsigned copy = k->copy & copies_mask(c);

	return copy && c->spread ? hash(c, &k->client, copy) % c->spread : 0;
}
