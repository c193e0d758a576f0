/*
 * The path MTU - theory of operation
 *
 * A copy has the size of the client's segment, and carries the client's address. Where a link on the way to
 * the target takes less than the route says, it is dropped there, and the router tells the real client, not
 * us; or nobody, where ICMP is filtered. So nothing is asked for and no ICMP is believed: packets themselves
 * are the test (RFC 4821, RFC 8899), and what is lost is ours to see.
 *
 * Until a packet of some size has arrived only one of them is on its way: the probe. It is a piece of the
 * client's stream, so nothing is sent for the test alone, and if it is lost, its bytes are repaired by
 * packets of the size that is known to arrive. All else goes in packets of p->limit bytes: RFC 8899's base,
 * or what has been proved. So a narrow way costs one lost packet and not one for each segment of each
 * session, and the real clients get one ICMP message and not hundreds.
 *
 * If the probe is lost, the next one is of the next smaller size of the ladder; what was lost is not tried
 * again for PATH_AGAIN_S. A loss that a time-out alone has told has to happen twice, because a busy target
 * looks the same.
 *
 * A way may get narrower later. Then packets of a proved size time out; the proof is forgotten, which costs a
 * probe if it was wrong. If even the base does not arrive, one small piece is sent in its place: when the
 * target acknowledges just that piece, the larger packets that brought the same bytes before have not
 * arrived.
 */
#include "path/path.h"

#include "base/util.h"

#define PROBE_PAUSE (1 * NS_PER_SEC) /* to the next probe, after one that told nothing */

static const uint32_t ladder[] = { 9000, 4400, 1500, 1400, 1300, 1200, 1000, 576 };

static uint32_t base_of(bool v6)
{
	return v6 ? PATH_BASE_V6 : PATH_BASE_V4;
}

uint32_t path_next_smaller(bool v6, uint32_t size)
{
	for (unsigned i = 0; i < ARRAY_SIZE(ladder); i++)
		if (ladder[i] < size && (!v6 || ladder[i] > PATH_BASE_V6))
			return ladder[i];
	return v6 && size > PATH_BASE_V6 ? PATH_BASE_V6 : 0;
}

/* The size to try when @size is too large: not less than what needs no proof. */
static uint32_t smaller(const struct path *p, uint32_t size)
{
	return MAX(path_next_smaller(p->v6, size), p->base);
}

static void settle(struct path *p)
{
	p->limit = MIN(p->route, MAX(p->base, MIN(p->proved, p->most)));
}

void path_init(struct path *p, bool v6, uint32_t route, bool trusted)
{
	*p = (struct path){ .v6 = v6,
			    .trusted = trusted,
			    .route = route,
			    .base = base_of(v6),
			    .most = route,
			    .proved = trusted ? route : 0 };
	settle(p);
}

void path_set_route(struct path *p, uint32_t route, bool trusted)
{
	const bool probing = p->probing;

	if (route == p->route && trusted == p->trusted)
		return;
	path_init(p, p->v6, route, trusted);
	p->probing = probing;
}

/* What was lost is tried again, once. */
static bool time_is_over(const struct path *p, uint64_t now)
{
	return p->narrow && now - p->lost_at >= PATH_AGAIN_S * NS_PER_SEC;
}

uint32_t path_probe(const struct path *p, uint32_t want, uint64_t now)
{
	const uint32_t size = MIN(want, time_is_over(p, now) ? p->route : p->most);

	return !p->probing && now >= p->probe_at && size > p->limit ? size : 0;
}

void path_probe_sent(struct path *p)
{
	p->probing = true;
}

static void arrived(struct path *p, uint32_t size)
{
	p->timeouts = 0;
	p->proved = MAX(p->proved, size);
	if (size <= p->most)
		return;
	p->most = p->route; /* of its time-out: the way is wider than it was */
	p->narrow = false;
}

static void lost(struct path *p, uint32_t size, uint64_t now)
{
	p->timeouts = 0;
	p->most = MIN(p->most, smaller(p, size));
	p->proved = MIN(p->proved, p->most);
	p->lost = size;
	p->lost_at = now;
	p->narrow = true;
}

void path_probed(struct path *p, uint32_t size, enum path_verdict v, uint64_t now)
{
	p->probing = false;
	if (v == PATH_ARRIVED)
		arrived(p, size);
	else if (v == PATH_LOST || (v == PATH_TIMEOUT && ++p->timeouts == 2))
		lost(p, size, now);
	else
		p->probe_at = now + PROBE_PAUSE;
	settle(p);
}

bool path_doubt(struct path *p, uint32_t size)
{
	if (size <= p->base || size > p->proved)
		return false;
	p->proved = 0;
	settle(p);
	return true;
}

uint32_t path_trial(const struct path *p, uint32_t size)
{
	return !p->v6 && size > PATH_LEAST_V4 && size <= p->base ? PATH_LEAST_V4 : 0;
}

void path_too_large(struct path *p, uint32_t size, uint64_t now)
{
	p->base = PATH_LEAST_V4;
	lost(p, size, now);
	settle(p);
}

void path_learn(struct path *p, const struct path *from)
{
	const bool probing = p->probing;

	if (from->route != p->route)
		return;
	*p = *from;
	p->probing = probing;
}
