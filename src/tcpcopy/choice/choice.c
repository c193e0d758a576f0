/*
 * The choice of sessions - theory of operation
 *
 * In: the client's address and port, and the time. Out: whether what it sends is replicated. The address and
 * the port are hashed with a key made of --seed; what lies below the share is chosen. So all segments of a
 * connection have the same answer without any memory of it: a connection joined in its middle, one that uses
 * the port again, one of another host that serves the same clients, and one in a file. The online server's
 * side is left out of the hash, since it has another address on each host.
 *
 * With a ramp the share grows with the time and never gets less, so what was chosen once stays chosen.
 *
 * Nothing is rounded by floating point, which might differ from one machine to the next.
 */
#include "tcpcopy/choice/choice.h"

#include <string.h>

#include "base/siphash.h"
#include "base/util.h"

/* Other than 0, so that a seed of 0 is a key like any other. */
#define KEY_FIXED 0x7463702d636f7079ull

uint64_t choice_share(const struct choice *c, uint64_t now)
{
	uint64_t passed = c->since && now > c->since ? now - c->since : 0;

	if (!c->ramp || passed >= c->ramp)
		return c->share;
	/* in us: with 27 bits of share and 37 of a day nothing overflows */
	return c->share * (passed / NS_PER_US) / MAX(1, c->ramp / NS_PER_US);
}

bool choice_grows(const struct choice *c, uint64_t now)
{
	return c->ramp && (!c->since || now < c->since + c->ramp);
}

static uint64_t hash(const struct choice *c, const struct endpoint *client)
{
	const struct siphash_key key = { c->seed, KEY_FIXED };
	uint8_t bytes[sizeof(client->addr.b) + 2];
	size_t n = sizeof(client->addr.b);

	memcpy(bytes, client->addr.b, n);
	if (c->by == CHOICE_BY_SESSION) {
		bytes[n++] = (uint8_t)(client->port >> 8);
		bytes[n++] = (uint8_t)client->port;
	}
	return siphash(&key, bytes, n);
}

bool choice_takes(const struct choice *c, const struct endpoint *client, uint64_t now)
{
	const uint64_t share = choice_share(c, now);

	return share >= CHOICE_ALL || (hash(c, client) >> 32) * CHOICE_ALL < share << 32;
}
