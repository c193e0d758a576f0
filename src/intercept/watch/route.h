#ifndef INTERCEPT_WATCH_ROUTE_H
#define INTERCEPT_WATCH_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/siphash.h"
#include "base/table.h"
#include "packet/addr.h"
#include "packet/segment.h"

struct client;
struct held;

/* Remembered fingerprints of a watch's latest segments: how far apart two copies of one packet may
 * be captured. */
#define WATCH_COPIES 8

/* Who wants the responses of a tuple. Belongs to its client; freed when that goes, by UNWATCH, or by
 * a newer watch of the tuple. */
struct watch {
	struct tuple tuple; /* src: the target */
	uint64_t id;        /* of the client's choice */
	struct client *client;
	struct table_node by_tuple, by_id;       /* the route's */
	struct watch *client_prev, *client_next; /* the client's list */

	/* The relay's: records that wait for a slow reader, in order. */
	struct held *held_first, *held_last;
	unsigned n_held;
	struct watch *blocked_prev, *blocked_next; /* the client's watches that hold something */

	uint32_t handshake_ack; /* of the SYN-ACK that was seen */
	bool handshake_seen;

	uint32_t print[WATCH_COPIES];
	uint16_t side[WATCH_COPIES]; /* 0: nothing here */
	uint8_t print_at;
};

struct route;

/* @key must stay valid. NULL: no memory. */
struct route *route_new(const struct siphash_key *key);
void route_free(struct route *r);
void route_trim(struct route *r); /* once a second: give back memory that is not needed any more */

struct watch *route_find(const struct route *r, const struct tuple *t);
struct watch *route_find_id(const struct route *r, const struct client *p, uint64_t id);

/* A new watch; the tuple and the id of @p must be free. NULL: no memory, or ROUTE_MAX_WATCHES. */
#define ROUTE_MAX_WATCHES (1u << 21) /* of about 300 bytes */
struct watch *route_add(struct route *r, struct client *p, uint64_t id, const struct tuple *t);

/*
 * Is this SYN-ACK (its flags and ack are enough) for another session than @w's, whose client uses its
 * port again? Its WATCH is then on its way. Remembers the first SYN-ACK of @w.
 */
bool route_is_next_session(struct watch *w, uint8_t flags, uint32_t ack);

/* Its held records must be gone. */
void route_remove(struct route *r, struct watch *w);

unsigned route_count(const struct route *r);

/*
 * Was @s, a segment of @w, captured before on another side? A side is an interface (@ifindex) and a
 * direction (@pkttype, as in struct raw_packet). Segments that are equal in seq, len, ack, flags,
 * window, IP id and TSval are copies if they come from different sides; each copy is matched once,
 * so that duplicate ACKs that the target really sent are told from copies of one.
 */
bool route_is_copy(struct route *r, struct watch *w, const struct segment *s, int ifindex, uint8_t pkttype);

#endif
