/*
 * Ordered bytes - theory of operation
 *
 * Which of two copies of a byte counts is decided as Linux decides it, or a test server would execute
 * something else than the online server did whenever a client sends a byte twice with different contents:
 *
 * - What is below nxt has been read, perhaps: a later copy of it is cut away (tcp_data_queue()).
 * - A segment at nxt is taken whole, also where it lies over pieces that wait behind the hole
 *   (tcp_ofo_queue() then cuts those).
 * - Behind a hole a segment that begins where a run of others ends becomes part of it (tcp_try_coalesce();
 *   nearly always, for it depends on how the network card's driver stores packets). Otherwise it is dropped
 *   if one run has all of it already, unless both begin at the same place and it is longer. It replaces the
 *   runs that it covers whole. Where it overlaps a run in part both are kept, and when they come in order the
 *   bytes of the one that begins first count (tcp_data_queue_ofo()).
 *
 * Behind a hole runs stand in a tree. The usual case, one loss in a long upload, extends the last one: `last`
 * makes that one comparison. No operation walks over pieces, except over those that it takes out.
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
	return seq_lt(CONTAINER_OF(a, struct piece, node)->seq, CONTAINER_OF(b, struct piece, node)->seq);
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

/* The run of @p leaves the tree; its pieces are still linked to each other. */
static void unlink_run(struct stream *s, struct piece *p)
{
	tree_remove(&s->behind, &p->node, before);
	if (p == s->last)
		s->last = piece_of(tree_last(&s->behind));
}

static void give_back_run(struct stream *s, struct piece *p, struct piece **list)
{
	unlink_run(s, p);
	while (p) {
		struct piece *next = p->next;

		s->n_behind--;
		give_back(p, list);
		p = next;
	}
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
	struct piece *run;

	while ((run = stream_first_run(s)) && (s->fin || seq_le(run->seq, s->nxt))) {
		unlink_run(s, run);
		while (run) {
			struct piece *p = run;

			run = p->next;
			s->n_behind--;
			if (s->fin || seq_le(piece_end(p), s->nxt))
				give_back(p, list);
			else
				link_in_order(s, p, trimmed);
		}
	}
}

static void add_run(struct stream *s, struct piece *p)
{
	p->next = NULL;
	p->tail = p;
	tree_insert(&s->behind, &p->node, before);
	if (!s->last || !seq_lt(p->seq, s->last->seq))
		s->last = p;
}

static void extend_run(struct piece *run, struct piece *p)
{
	p->next = NULL;
	run->tail->next = p;
	run->tail = p;
}

/* False: one run has all of @p already. */
static bool put_behind(struct stream *s, struct piece *p, struct piece **list)
{
	struct piece *low, *high;

	if (s->last && p->seq == stream_run_end(s->last)) {
		extend_run(s->last, p);
		return true;
	}
	low = piece_of(tree_floor(&s->behind, &p->node, before));
	if (low && p->seq == stream_run_end(low)) {
		extend_run(low, p);
		return true;
	}
	if (low && seq_le(piece_end(p), stream_run_end(low)))
		return false;
	if (low && low->seq == p->seq)
		give_back_run(s, low, list);
	while ((high = piece_of(tree_above(&s->behind, &p->node, before))) &&
	       seq_le(stream_run_end(high), piece_end(p)))
		give_back_run(s, high, list);
	add_run(s, p);
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
	if (put_behind(s, p, list)) {
		s->n_behind++;
		return STREAM_BEHIND;
	}
	give_back(p, list);
	return STREAM_OLD;
}

struct piece *stream_cut_behind(struct stream *s)
{
	struct piece *first = NULL, **at = &first, *run;

	while ((run = stream_first_run(s))) {
		unlink_run(s, run);
		*at = run;
		at = &run->tail->next;
	}
	s->n_behind = 0;
	return first;
}

void stream_join(struct stream *s, struct piece *a, struct piece *b)
{
	assert(piece_end(a->tail) == b->seq);
	unlink_run(s, b);
	a->tail->next = b;
	a->tail = b->tail;
}

struct piece *stream_take_next(struct stream *s, struct piece *run, struct piece *p)
{
	struct piece *n = p->next;

	p->next = n->next;
	if (run)
		s->n_behind--;
	if (run && run->tail == n)
		run->tail = p;
	else if (s->tail == n)
		s->tail = p;
	return n;
}

struct piece *stream_take(struct stream *s)
{
	struct piece *p = s->head;

	s->head = p->next;
	if (!s->head)
		s->tail = NULL;
	return p;
}

struct piece *stream_first_run(const struct stream *s)
{
	return s->last ? piece_of(tree_first(&s->behind)) : NULL;
}

struct piece *stream_next_run(const struct stream *s, struct piece *p)
{
	return piece_of(tree_above(&s->behind, &p->node, before));
}
