/*
 * Numbered objects in pieces of 64 KB.
 *
 *     piece[] ── memory, which places are taken       number = piece << 8 | place
 *             ── memory, which places are taken
 *             ── (none; free entry)
 *
 * The pieces' directory knows which places are taken, so that a number that came from a stranger is
 * judged without touching any object. Pieces with a free place are linked; of a piece the lowest
 * free place is taken, so that busy pieces stay full and others can become empty. An empty piece is
 * kept if it is the only one, so that a number of objects that swings around a piece's edge costs
 * nothing; others go back to the pool.
 *
 * What is copied when the directory grows is 56 bytes for each 64 KB of objects.
 */
#include "base/slots.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/poison.h"
#include "base/util.h"

#define PIECE_BYTES 65536u
#define PLACE_SHIFT 8
#define WORDS 4 /* of 64 places */
#define NONE UINT32_MAX

struct piece {
	char *memory; /* NULL: a free entry */
	uint64_t taken[WORDS];
	uint32_t next, prev; /* with a free place, or (next only) free entries */
	uint32_t used;
};

struct slots {
	struct pool *pool;
	size_t size;
	uint32_t places; /* in a piece */
	struct piece *piece;
	uint32_t n, most;        /* entries: in use or free, room for */
	uint32_t partial, entry; /* first with a free place, first free entry */
	uint32_t empty;          /* kept, has no place taken; NONE: there is no such piece */
	uint32_t count;
};

_Static_assert(WORDS * 64 == 1 << PLACE_SHIFT, "a number names a place");

struct slots *slots_new(struct pool *pool, size_t size)
{
	struct slots *s = calloc(1, sizeof(*s));

	assert(size % 8 == 0 && size >= PIECE_BYTES >> PLACE_SHIFT && size <= PIECE_BYTES);
	if (!s)
		return NULL;
	s->pool = pool;
	s->size = size;
	s->places = (uint32_t)(PIECE_BYTES / size);
	s->partial = s->entry = s->empty = NONE;
	return s;
}

void slots_free(struct slots *s)
{
	if (!s)
		return;
	for (uint32_t i = 0; i < s->n; i++)
		if (s->piece[i].memory)
			pool_put(s->pool, s->piece[i].memory, PIECE_BYTES);
	free(s->piece);
	free(s);
}

static void link_partial(struct slots *s, uint32_t i)
{
	struct piece *p = &s->piece[i];

	p->prev = NONE;
	p->next = s->partial;
	if (p->next != NONE)
		s->piece[p->next].prev = i;
	s->partial = i;
}

static void unlink_partial(struct slots *s, uint32_t i)
{
	struct piece *p = &s->piece[i];

	if (p->prev != NONE)
		s->piece[p->prev].next = p->next;
	else
		s->partial = p->next;
	if (p->next != NONE)
		s->piece[p->next].prev = p->prev;
}

/* A free entry of the directory; NONE: no memory. */
static uint32_t entry_take(struct slots *s)
{
	uint32_t i = s->entry;

	if (i != NONE) {
		s->entry = s->piece[i].next;
		return i;
	}
	if (s->n == s->most) {
		uint32_t most = s->most ? s->most * 2 : 16;
		struct piece *piece =
			most > UINT32_MAX >> PLACE_SHIFT ? NULL : realloc(s->piece, most * sizeof(*piece));

		if (!piece)
			return NONE;
		s->piece = piece;
		s->most = most;
	}
	return s->n++;
}

static void entry_give(struct slots *s, uint32_t i)
{
	s->piece[i] = (struct piece){ .next = s->entry };
	s->entry = i;
}

static bool piece_add(struct slots *s)
{
	uint32_t i = entry_take(s);

	if (i == NONE)
		return false;
	s->piece[i] = (struct piece){ .memory = pool_get(s->pool, PIECE_BYTES) };
	if (!s->piece[i].memory) {
		entry_give(s, i);
		return false;
	}
	poison(s->piece[i].memory, PIECE_BYTES);
	link_partial(s, i);
	return true;
}

void *slots_take(struct slots *s, uint32_t *number)
{
	uint32_t i, word = 0, place;
	struct piece *p;

	if (s->partial == NONE && !piece_add(s))
		return NULL;
	i = s->partial;
	p = &s->piece[i];
	while (!~p->taken[word])
		word++;
	place = word * 64 + (uint32_t)__builtin_ctzll(~p->taken[word]);
	p->taken[word] |= 1ull << place % 64;
	if (i == s->empty)
		s->empty = NONE;
	if (++p->used == s->places)
		unlink_partial(s, i);
	s->count++;
	*number = i << PLACE_SHIFT | place;
	unpoison(p->memory + place * s->size, s->size);
	return p->memory + place * s->size;
}

void slots_give(struct slots *s, uint32_t number)
{
	uint32_t i = number >> PLACE_SHIFT, place = number & ((1u << PLACE_SHIFT) - 1);
	struct piece *p = &s->piece[i];

	assert(slots_at(s, number));
	poison(p->memory + place * s->size, s->size);
	p->taken[place / 64] &= ~(1ull << place % 64);
	s->count--;
	if (p->used-- == s->places)
		link_partial(s, i);
	if (p->used)
		return;
	if (s->empty == NONE) {
		s->empty = i;
		return;
	}
	unlink_partial(s, i);
	pool_put(s->pool, p->memory, PIECE_BYTES);
	entry_give(s, i);
}

void *slots_at(const struct slots *s, uint32_t number)
{
	uint32_t i = number >> PLACE_SHIFT, place = number & ((1u << PLACE_SHIFT) - 1);

	if (i >= s->n || !(s->piece[i].taken[place / 64] >> place % 64 & 1))
		return NULL;
	return s->piece[i].memory + place * s->size;
}

void *slots_from(const struct slots *s, uint32_t *number)
{
	uint32_t i = *number >> PLACE_SHIFT, place = *number & ((1u << PLACE_SHIFT) - 1);

	for (; i < s->n; i++, place = 0) {
		const struct piece *p = &s->piece[i];

		for (uint32_t word = place / 64; p->used && word < WORDS; word++, place = 0) {
			uint64_t rest = p->taken[word] >> place % 64 << place % 64;

			if (!rest)
				continue;
			place = word * 64 + (uint32_t)__builtin_ctzll(rest);
			*number = i << PLACE_SHIFT | place;
			return p->memory + place * s->size;
		}
	}
	return NULL;
}

uint32_t slots_count(const struct slots *s)
{
	return s->count;
}
