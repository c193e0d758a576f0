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

/*
 * How many fingerprints of its last segments a watch remembers; the copies of a packet must be no further
 * apart.
 */
#define WATCH_COPIES 8

/*
 * Who wants the responses of a tuple. Belongs to its client. Freed when the client's connection ends, by
 * UNWATCH, by a newer watch of the same tuple and process, or when another one is proved.
 */
struct watch {
	struct tuple tuple; /* src: the target */
	uint64_t id;        /* chosen by the client */
	struct client *client;
	struct table_node by_tuple, by_id;       /* managed by route.c, as `same` is */
	struct watch *same;                      /* the next one of the tuple, which came later */
	struct watch *client_prev, *client_next; /* the client's list */

	/* Managed by relay.c: records that wait for a slow reader, in order. */
	struct held *held_first, *held_last;
	unsigned n_held;
	struct watch *blocked_prev, *blocked_next; /* the client's watches that hold records */

	uint32_t number; /* the target acknowledges one more; its client knew it beforehand */
	bool has_number;
	bool proved;     /* the target has acknowledged it, so the tuple is of this watch alone */
	bool was_proved; /* an earlier one of its process, which it follows, was */
	bool has_answer_ack;
	uint32_t answer_ack; /* managed by relay.c: of the last segment with payload */

	uint32_t print[WATCH_COPIES]; /* fingerprints */
	uint16_t side[WATCH_COPIES];  /* where they were captured; 0: the entry is empty */
	uint8_t print_at;             /* the next entry to use */
};

struct route;

/* The table of watches of one worker. @key must stay valid. Returns NULL if memory ran out. */
struct route *route_new(const struct siphash_key *key);
/* Frees all watches as well. @r may be NULL. */
void route_free(struct route *r);
/* Call this once a second: returns memory that is no longer needed. */
void route_trim(struct route *r);

/* Returns the oldest watch of the tuple @t (src: the target), or NULL. By `same` there may be others. */
struct watch *route_find(const struct route *r, const struct tuple *t);
/* Returns the watch of the client @p with the id @id, or NULL. */
struct watch *route_find_id(const struct route *r, const struct client *p, uint64_t id);

#define ROUTE_MAX_WATCHES (1u << 21) /* of about 300 bytes each */
#define ROUTE_MAX_SAME 4u            /* of a tuple, until it is known whose it is */
#define ROUTE_NEAR 65536u            /* so far above the expected one may an acknowledgment be */
/*
 * Returns a new watch, or NULL if memory ran out or there are ROUTE_MAX_WATCHES. No other watch may have the
 * client @p and the id @id. The caller puts it into @p's list.
 */
struct watch *route_add(struct route *r, struct client *p, uint64_t id, const struct tuple *t);

/*
 * A segment of @w's tuple has the flags @flags and the acknowledgment @ack. Is it a SYN-ACK of another
 * session than @w's? Its WATCH may be on the way: that of the next session of the port, or of another
 * tcpcopy.
 */
bool route_is_of_another(const struct watch *w, uint8_t flags, uint32_t ack);

/*
 * Does such a segment show that the tuple is @w's? Only whoever has sent the SYN that the target acknowledges
 * can have known its number; what comes later others may have heard, so it counts for those alone who were
 * proved before.
 */
bool route_proves(const struct watch *w, uint8_t flags, uint32_t ack);

/*
 * The watch that makes room if the tuple of @first, its oldest one, has ROUTE_MAX_SAME: the oldest of those
 * neighbours that have most of them. NULL: there is room.
 */
struct watch *route_crowded(struct watch *first);

/*
 * The share of one neighbour: true if it may have one more watch than @own of @total. Nobody may have more
 * than are left for all others, so that a few of them cannot fill the table.
 */
bool route_has_share(unsigned own, unsigned total);

/* Frees @w, which must hold no records. The caller has taken it out of its client's list. */
void route_remove(struct route *r, struct watch *w);

/* Returns the number of watches. */
unsigned route_count(const struct route *r);

/*
 * Was @s, a segment of @w, captured before on another side? A side is an interface (@ifindex) and a direction
 * (@pkttype, as in struct raw_packet). Segments are copies if they come from different sides and are equal in
 * seq, len, ack, flags, window, IP id and TSval. Each copy matches once, so duplicate ACKs that the target
 * really sent are not taken for copies.
 */
bool route_is_copy(struct route *r, struct watch *w, const struct segment *s, int ifindex, uint8_t pkttype);

#endif
