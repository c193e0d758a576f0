#ifndef STREAM_STREAM_H
#define STREAM_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/tree.h"
#include "packet/seq.h"

/*
 * The ordered bytes of one side of a TCP connection, put together from its segments as Linux's receiver does.
 * Pure: pieces come from the caller and go back to it.
 */

/* Payload of a piece. */
struct chunk {
	uint32_t cost; /* bytes that it occupies, needed to free it */
	uint8_t data[];
};

/*
 * A stretch of the stream. All sequence numbers are in host byte order; a FIN takes the place after the last
 * byte.
 */
struct piece {
	struct piece *next;    /* in order; in a run behind a hole; in lists of pieces that are given back */
	struct piece *tail;    /* of the first piece of a run behind a hole: the run's last piece */
	struct tree_node node; /* of the same: the run's place in the tree */
	struct chunk *chunk;
	uint32_t seq, len;
	uint32_t off; /* bytes, of its first byte in the chunk */
	bool fin;
};

/* The sequence number after the piece, its FIN included. */
static inline uint32_t piece_end(const struct piece *p)
{
	return p->seq + p->len + (p->fin ? 1 : 0);
}
/* The bytes of the piece, which stay as long as its chunk. */
static inline const uint8_t *piece_bytes(const struct piece *p)
{
	return p->chunk->data + p->off;
}

struct stream {
	struct piece *head, *tail; /* in order and contiguous; the caller takes them off at the front */
	struct piece *last;        /* the last one behind the hole; NULL: there is no hole */
	struct tree behind;        /* the pieces behind the hole, by seq; they may overlap, see stream.c */
	uint32_t n_behind : 31;    /* how many of them there are */
	bool fin : 1;              /* the stream ends at nxt */
	uint32_t nxt;              /* in order up to here: RCV.NXT */
};

/*
 * Begin a stream whose first byte has the sequence number @nxt. @seed must be a value that nobody who sends
 * segments can know.
 */
void stream_init(struct stream *s, uint32_t nxt, uint32_t seed);

enum stream_result {
	STREAM_OLD,    /* nothing new: @p is in *given_back */
	STREAM_NEW,    /* it was linked in order, perhaps with others that had waited for it */
	STREAM_BEHIND, /* kept behind a hole */
};

/*
 * Put the piece @p into the stream: a segment as it came, untrimmed, with at least one byte or a FIN, and at
 * most 2^30 ahead of nxt. Pieces that have become superfluous, perhaps @p itself, are put at the front of the
 * list *given_back and belong to the caller again. *trimmed grows by the bytes that were cut from pieces that
 * stay. A stream that has ended takes nothing.
 */
enum stream_result stream_put(struct stream *s, struct piece *p, struct piece **given_back,
			      uint64_t *trimmed);

/*
 * Take away all pieces behind the hole, which then no longer exists. Returns them as a list, in order; NULL
 * if there was no hole.
 */
struct piece *stream_cut_behind(struct stream *s);

/*
 * The first run behind the hole, as its first piece; NULL if there is none. A run is a list of pieces without
 * a gap between them.
 */
struct piece *stream_first_run(const struct stream *s);

/* The run after that of @p, in logarithmic time; NULL if there is none. */
struct piece *stream_next_run(const struct stream *s, struct piece *p);

/*
 * Make one run of @a and of @b, the one after it, which begins where it ends: Linux does so where memory is
 * short.
 */
void stream_join(struct stream *s, struct piece *a, struct piece *b);

/*
 * Take out the piece after @p, whose bytes the caller has put into @p, and return it. @run: the first piece
 * of their run, or NULL if they are in order.
 */
struct piece *stream_take_next(struct stream *s, struct piece *run, struct piece *p);

/* The sequence number after the run that begins with @first. */
static inline uint32_t stream_run_end(const struct piece *first)
{
	return piece_end(first->tail);
}

/* Take the first piece off the front of the contiguous part, which must not be empty, and return it. */
struct piece *stream_take(struct stream *s);

#endif
