/*
 * Ordered bytes - theory of operation
 *
 * Which of two copies of a byte counts is decided as Linux decides it, or a test server would execute something
 * else than the online server did whenever a client sends a byte twice with different contents:
 *
 * - What is below nxt has been read, perhaps: a later copy of it is cut away (tcp_data_queue()).
 * - A segment at nxt is taken whole, also where it lies over pieces that wait behind the hole (tcp_ofo_queue()
 *   then cuts those).
 * - Behind a hole a segment is dropped if one piece has all of it already, unless both begin at the same place
 *   and it is longer. It replaces the pieces that it covers whole. Where it overlaps a piece in part both are
 *   kept, and when they come in order the bytes of the one that begins first count (tcp_data_queue_ofo()).
 *
 * The kernel may have merged neighbours behind a hole into one before (tcp_try_coalesce()), which depends on how
 * the network card's driver stores packets, and changes what "one piece has all of it" means; not imitated.
 *
 * Behind a hole pieces stand in a tree. The usual case, one loss in a long upload, appends at the end: `last`
 * makes that one comparison and an insertion on the right edge. No operation walks over pieces, except over those
 * that it takes out.
 */
#include "stream/stream.h"

#include <assert.h>

#include "base/util.h"

static struct piece *piece_of(struct tree_node *n)
{
	return n ? CONTAINER_OF(n, struct piece, node) : NULL;
}

static bool before(struct tree_node *a, struct tree_node *b)
{
	return seq_lt(piece_of(a)->seq, piece_of(b)->seq);
}

void stream_init(struct stream *s, uint32_t nxt, uint32_t seed)
{
	*s = (struct stream){ .nxt = nxt };
	tree_init(&s->behind, seed);
}

static void give_back(struct piece *p, struct piece **list)
{
	p->next = *list;
	*list = p;
}

static void unlink_behind(struct stream *s, struct piece *p)
{
	tree_remove(&s->behind, &p->node, before);
	s->n_behind--;
	if (p == s->last)
		s->last = piece_of(tree_last(&s->behind));
}

/* Append what of @p lies at and above nxt; some does. */
static void link_in_order(struct stream *s, struct piece *p, uint64_t *trimmed)
{
	uint32_t old = s->nxt - p->seq;

	assert(old <= p->len); /* its FIN alone may be what is new */
	*trimmed += old;
	p->off += old;
	p->len -= old;
	p->seq += old;
	p->next = NULL;
	if (s->tail)
		s->tail->next = p;
	else
		s->head = p;
	s->tail = p;
	s->nxt = piece_end(p);
	s->fin = p->fin;
}

/* What waited behind a hole that is now filled; behind the FIN nothing is of this stream. */
static void drain(struct stream *s, struct piece **list, uint64_t *trimmed)
{
	struct piece *p;

	while ((p = stream_first_behind(s)) && (s->fin || seq_le(p->seq, s->nxt))) {
		unlink_behind(s, p);
		if (s->fin || seq_le(piece_end(p), s->nxt))
			give_back(p, list);
		else
			link_in_order(s, p, trimmed);
	}
}

/* False: one piece has all of @p already. */
static bool put_behind(struct stream *s, struct piece *p, struct piece **list)
{
	struct piece *low = piece_of(tree_floor(&s->behind, &p->node, before)), *high;

	if (low && seq_le(piece_end(p), piece_end(low)))
		return false;
	if (low && low->seq == p->seq) {
		unlink_behind(s, low);
		give_back(low, list);
	}
	while ((high = piece_of(tree_above(&s->behind, &p->node, before))) &&
	       seq_le(piece_end(high), piece_end(p))) {
		unlink_behind(s, high);
		give_back(high, list);
	}
	tree_insert(&s->behind, &p->node, before);
	s->n_behind++;
	if (!s->last || !seq_lt(p->seq, s->last->seq))
		s->last = p;
	return true;
}

enum stream_result stream_put(struct stream *s, struct piece *p, struct piece **list, uint64_t *trimmed)
{
	if (s->fin || seq_le(piece_end(p), s->nxt)) {
		give_back(p, list);
		return STREAM_OLD;
	}
	if (seq_le(p->seq, s->nxt)) {
		link_in_order(s, p, trimmed);
		drain(s, list, trimmed);
		return STREAM_NEW;
	}
	/* most of what comes behind a hole is its continuation */
	if (s->last && seq_ge(p->seq, piece_end(s->last))) {
		tree_insert(&s->behind, &p->node, before);
		s->n_behind++;
		s->last = p;
		return STREAM_BEHIND;
	}
	if (put_behind(s, p, list))
		return STREAM_BEHIND;
	give_back(p, list);
	return STREAM_OLD;
}

struct piece *stream_cut_behind(struct stream *s)
{
	struct piece *first = NULL, **at = &first, *p;

	while ((p = stream_first_behind(s))) {
		unlink_behind(s, p);
		p->next = NULL;
		*at = p;
		at = &p->next;
	}
	return first;
}

struct piece *stream_take(struct stream *s)
{
	struct piece *p = s->head;

	s->head = p->next;
	if (!s->head)
		s->tail = NULL;
	return p;
}

struct piece *stream_first_behind(const struct stream *s)
{
	return s->last ? piece_of(tree_first(&s->behind)) : NULL;
}

struct piece *stream_next_behind(const struct stream *s, struct piece *p)
{
	return piece_of(tree_above(&s->behind, &p->node, before));
}
