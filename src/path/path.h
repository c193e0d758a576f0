#ifndef PATH_PATH_H
#define PATH_PATH_H

#include <stdbool.h>
#include <stdint.h>

/*
 * How large a packet the way to a target takes: packetization layer path MTU discovery (RFC 4821, RFC 8899),
 * which needs no word of a router. All sizes are in bytes of an IP packet, times in ns of the caller's clock.
 * Pure.
 */
#define PATH_BASE_V4 1200u /* RFC 8899 5.1.2, BASE_PLPMTU: sent before anything is known */
#define PATH_BASE_V6 1280u /* RFC 8200 5: every link takes it */
#define PATH_LEAST_V4 576u /* the smallest that is searched for; routers forward it (RFC 1122 3.3.2) */
#define PATH_AGAIN_S 600u  /* RFC 8899 5.1.1, PMTU_RAISE_TIMER; also that of Linux's route exceptions */

struct path {
	uint32_t route;    /* the MTU that the route says */
	uint32_t base;     /* is sent without a proof */
	uint32_t most;     /* larger ones were lost, or the route does not take them */
	uint32_t proved;   /* such packets have arrived; 0: none larger than base has */
	uint32_t limit;    /* no packet is larger, except for a probe */
	uint32_t lost;     /* the size that was lost last while smaller ones arrived; valid with narrow */
	uint64_t lost_at;  /* ns; valid with narrow */
	uint64_t probe_at; /* ns, not before is a probe sent */
	uint8_t timeouts;  /* probes in a row whose loss only a time-out has told */
	bool v6, trusted;
	bool narrow;  /* the way takes less than the route says */
	bool probing; /* a probe is on its way */
};

/* What became of a probe. */
enum path_verdict {
	PATH_ARRIVED,
	PATH_LOST,    /* it did not arrive, although what was sent behind it did */
	PATH_TIMEOUT, /* the same, but only a time-out has told: it may be late */
	PATH_UNKNOWN  /* its session has ended */
};

/*
 * Begin. @route: of the way, as the routing table has it. @trusted: it is the link's own, without a router
 * behind it, and is believed until packets of that size are lost.
 */
void path_init(struct path *p, bool v6, uint32_t route, bool trusted);

/* The route says @route now. All that was known is forgotten if that is not what it said before. */
void path_set_route(struct path *p, uint32_t route, bool trusted);

/*
 * A packet of @want bytes is to be sent. Returns the size of the probe that may be sent in its place, which
 * is larger than p->limit and at most @want; 0: none.
 */
uint32_t path_probe(const struct path *p, uint32_t want, uint64_t now);

/* A probe has left. path_probed() follows, once. */
void path_probe_sent(struct path *p);

/* What became of the probe of @size bytes. */
void path_probed(struct path *p, uint32_t size, enum path_verdict v, uint64_t now);

/* Packets of @size bytes time out again and again: what has been proved counts no more. Returns if it did. */
bool path_doubt(struct path *p, uint32_t size);

/* The size with which to try where packets of @size bytes time out although they need no proof; 0: none. */
uint32_t path_trial(const struct path *p, uint32_t size);

/* Packets of @size bytes were lost where one of path_trial() has arrived. */
void path_too_large(struct path *p, uint32_t size, uint64_t now);

/* The next size to try where packets of @size bytes are lost; 0: there is none that is smaller. */
uint32_t path_next_smaller(bool v6, uint32_t size);

/* Another worker knows *from of the same way: know it, too. */
void path_learn(struct path *p, const struct path *from);

#endif
