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

/* Payload, stored once for all who use it: @refs users. */
struct chunk {
	uint32_t refs;
	uint32_t cost; /* bytes asked for, for whoever gives it back */
	uint8_t data[];
};

/*
 * A stretch of the stream. All sequence numbers in host byte order; a FIN takes the place behind the last
 * byte.
 */
struct piece {
	struct piece *next;    /* in order; in a run behind a hole; in lists of pieces that are given back */
	struct piece *tail;    /* behind a hole, of the first piece of a run: the last one */
	struct tree_node node; /* the same: the run's */
	struct chunk *chunk;
	uint32_t seq, len;
	uint32_t off; /* of its first byte in the chunk */
	bool fin;
};

static inline uint32_t piece_end(const struct piece *p)
{
	return p->seq + p->len + (p->fin ? 1 : 0);
}
static inline const uint8_t *piece_bytes(const struct piece *p)
{
	return p->chunk->data + p->off;
}

struct stream {
	struct piece *head, *tail; /* in order, contiguous; the caller takes them off at the front */
	struct piece *last;        /* of those behind the hole, the last one; NULL: there is no hole */
	struct tree behind;        /* these, by seq; they may overlap, see stream.c */
	uint32_t n_behind : 31;    /* pieces */
	bool fin : 1;              /* the stream ends at nxt */
	uint32_t nxt;              /* in order up to here: RCV.NXT */
};

/* @nxt: sequence number of the first byte. @seed: random to who sends the segments. */
void stream_init(struct stream *s, uint32_t nxt, uint32_t seed);

enum stream_result {
	STREAM_OLD,    /* nothing new: @p is in *given_back */
	STREAM_NEW,    /* it was linked in order, perhaps with others that had waited for it */
	STREAM_BEHIND, /* kept behind a hole */
};

/*
 * Take piece @p, a segment as it came: untrimmed, with at least one byte or a FIN, and at most 2^30 ahead of
 * nxt. Pieces that it makes superfluous, and those that turn out to be so, are put in front of the list
 * *given_back; *trimmed grows by the bytes cut from pieces that stay. A stream that has ended takes nothing.
 */
enum stream_result stream_put(struct stream *s, struct piece *p, struct piece **given_back,
			      uint64_t *trimmed);

/* All pieces behind the hole, in order, as a list; the stream goes on without them. */
struct piece *stream_cut_behind(struct stream *s);

/*
 * The runs behind the hole by their first pieces, in order: the first run, and the one after the run of @p
 * (in logarithmic time); NULL: none. A run is a list of pieces without a gap, and ends at stream_run_end().
 */
struct piece *stream_first_run(const struct stream *s);
struct piece *stream_next_run(const struct stream *s, struct piece *p);
static inline uint32_t stream_run_end(const struct piece *first)
{
	return piece_end(first->tail);
}

/* Take the first piece off the front. */
struct piece *stream_take(struct stream *s);

#endif
