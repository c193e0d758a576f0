/*
 * Linear hashing with buckets of one cache line.
 *
 *     chunk[0] ── 1024 buckets      bucket: 7 entries | 7 tags | how many
 *     chunk[1] ── 1024 buckets                  └─ the last one's `next`: entries beyond seven
 *     ...
 *
 * In: entries and their hashes, from the caller, who owns them. Out: the entry for a key. A look-up
 * reads one cache line, compares all seven tags (8 bits of the hash) at once and touches, nearly always,
 * no entry but the one it wants.
 *
 * Growth. `half` is a power of two; there are half <= n < 2 * half buckets. An entry's bucket is
 * hash mod 2 * half if that bucket exists already, else hash mod half. When there are more than
 * GROW_AT entries a bucket on average, the next bucket, n, is made by splitting bucket n - half:
 * some seven entries are looked at, nothing else moves, and there is never a second table.
 * Shrinking is the same backwards, at less than SHRINK_AT, so that a number of entries that swings
 * splits and merges nothing. Buckets come in chunks of 64 KB which are touched only as far as there
 * are buckets; what is copied is the directory of chunks, 8 bytes for 3000 entries.
 *
 * Before a split bucket's turn comes it holds up to twice the average. What finds no place among
 * its seven hangs in a list behind the last of them: no allocation, so an entry is never refused.
 */
#include "base/table.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define PLACES 7
#define LAST (PLACES - 1)
#define CHUNK_SHIFT 10
#define CHUNK (1u << CHUNK_SHIFT)
#define MIN_BUCKETS 64u
#define GROW_AT 3
#define SHRINK_AT 1

struct bucket {
	struct table_node *node[PLACES]; /* without gaps */
	uint8_t tag[PLACES];
	uint8_t used; /* places; MORE: all, and a list behind the last */
};
#define MORE (PLACES + 1)
_Static_assert(sizeof(struct bucket) == 64, "one cache line");

struct table {
	struct bucket **chunk;
	uint32_t n, half;
	uint32_t count;
	uint32_t chunks, chunks_most; /* in use, room for */
	struct pool *pool;
};

static inline struct bucket *bucket_at(const struct table *t, uint32_t i)
{
	return &t->chunk[i >> CHUNK_SHIFT][i & (CHUNK - 1)];
}

static inline struct bucket *bucket_of(const struct table *t, uint32_t hash)
{
	uint32_t i = hash & (2 * t->half - 1);

	return bucket_at(t, i < t->n ? i : i - t->half);
}

/* Buckets are chosen by the low bits. */
static inline uint8_t tag_of(uint32_t hash)
{
	return (uint8_t)(hash >> 24);
}

static bool chunk_add(struct table *t)
{
	struct bucket *b;

	if (t->chunks == t->chunks_most) {
		uint32_t most = t->chunks_most ? t->chunks_most * 2 : 4;
		struct bucket **chunk = realloc(t->chunk, most * sizeof(struct bucket *));

		if (!chunk)
			return false;
		t->chunk = chunk;
		t->chunks_most = most;
	}
	b = pool_get(t->pool, CHUNK * sizeof(*b));
	if (!b)
		return false;
	t->chunk[t->chunks++] = b;
	return true;
}

static void chunk_drop(struct table *t)
{
	pool_put(t->pool, t->chunk[--t->chunks], CHUNK * sizeof(struct bucket));
}

struct table *table_new(struct pool *pool)
{
	struct table *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->pool = pool;
	t->n = t->half = MIN_BUCKETS;
	if (!chunk_add(t)) {
		table_free(t);
		return NULL;
	}
	memset(t->chunk[0], 0, MIN_BUCKETS * sizeof(struct bucket));
	return t;
}

void table_free(struct table *t)
{
	if (!t)
		return;
	while (t->chunks)
		chunk_drop(t);
	free(t->chunk);
	free(t);
}

/*
 * Which places have @tag? The top bit of byte i says so of place i. Seldom one is said to have it that has
 * not, never the other way round.
 */
static inline uint64_t same_tags(const struct bucket *b, uint8_t tag)
{
	const uint64_t ones = 0x0101010101010101ull;
	const unsigned used = MIN(b->used, PLACES);
	uint64_t tags;

	memcpy(&tags, (const char *)b + offsetof(struct bucket, tag), sizeof(tags));
	tags = le64toh(tags) ^ ones * tag;
	return (tags - ones) & ~tags & ones << 7 & ((1ull << 8 * used) - 1);
}

static inline unsigned first_place(uint64_t places)
{
	return (unsigned)__builtin_ctzll(places) / 8;
}

static void bucket_put(struct bucket *b, struct table_node *n)
{
	if (b->used < PLACES) {
		n->next = NULL;
		b->tag[b->used] = tag_of(n->hash);
		b->node[b->used++] = n;
		return;
	}
	n->next = b->node[LAST]->next;
	b->node[LAST]->next = n;
	b->used = MORE;
}

/* Everything in @b, as a list. */
static struct table_node *bucket_empty(struct bucket *b)
{
	struct table_node *list = b->used == MORE ? b->node[LAST]->next : NULL;

	for (unsigned i = 0; i < MIN(b->used, PLACES); i++) {
		b->node[i]->next = list;
		list = b->node[i];
	}
	memset(b, 0, sizeof(*b));
	return list;
}

static void bucket_put_all(struct table *t, struct table_node *list)
{
	while (list) {
		struct table_node *n = list;

		list = n->next;
		bucket_put(bucket_of(t, n->hash), n);
	}
}

static void split(struct table *t)
{
	struct bucket *from = bucket_at(t, t->n - t->half);

	if (t->n >> CHUNK_SHIFT == t->chunks && !chunk_add(t))
		return; /* longer buckets, then */
	memset(bucket_at(t, t->n), 0, sizeof(*from));
	t->n++;
	bucket_put_all(t, bucket_empty(from));
	if (t->n == 2 * t->half)
		t->half = t->n;
}

static void merge(struct table *t)
{
	struct table_node *list = bucket_empty(bucket_at(t, t->n - 1));

	if (t->n == t->half)
		t->half /= 2;
	t->n--;
	bucket_put_all(t, list);
	if ((t->chunks - 1) << CHUNK_SHIFT == t->n)
		chunk_drop(t);
}

void table_add(struct table *t, struct table_node *n, uint32_t hash)
{
	n->hash = hash;
	bucket_put(bucket_of(t, hash), n);
	if (++t->count / GROW_AT > t->n)
		split(t);
}

/* Takes out what lies at place @i; the gap is filled from behind. */
static void bucket_take(struct bucket *b, unsigned i)
{
	if (b->used == MORE) {
		struct table_node *n = b->node[LAST]->next;

		if (i != LAST)
			b->node[LAST]->next = n->next;
		b->node[i] = n;
		b->tag[i] = tag_of(n->hash);
		b->used = b->node[LAST]->next ? MORE : PLACES;
		return;
	}
	b->used--;
	b->node[i] = b->node[b->used];
	b->tag[i] = b->tag[b->used];
}

static bool bucket_remove(struct bucket *b, struct table_node *n)
{
	struct table_node **p;

	for (uint64_t same = same_tags(b, tag_of(n->hash)); same; same &= same - 1)
		if (b->node[first_place(same)] == n) {
			bucket_take(b, first_place(same));
			return true;
		}
	if (b->used < MORE)
		return false;
	for (p = &b->node[LAST]->next; *p; p = &(*p)->next)
		if (*p == n) {
			*p = n->next;
			b->used = b->node[LAST]->next ? MORE : PLACES;
			return true;
		}
	return false;
}

bool table_remove(struct table *t, struct table_node *n)
{
	if (!bucket_remove(bucket_of(t, n->hash), n))
		return false;
	t->count--;
	if (t->n > MIN_BUCKETS && t->count / SHRINK_AT < t->n)
		merge(t);
	return true;
}

struct table_node *table_find(const struct table *t, uint32_t hash,
			      bool (*eq)(struct table_node *n, const void *key), const void *key)
{
	const struct bucket *b = bucket_of(t, hash);

	for (uint64_t same = same_tags(b, tag_of(hash)); same; same &= same - 1) {
		struct table_node *n = b->node[first_place(same)];

		if (n->hash == hash && eq(n, key))
			return n;
	}
	if (b->used < MORE)
		return NULL;
	for (struct table_node *n = b->node[LAST]->next; n; n = n->next)
		if (n->hash == hash && eq(n, key))
			return n;
	return NULL;
}

void table_prefetch(const struct table *t, uint32_t hash)
{
	__builtin_prefetch(bucket_of(t, hash));
}

struct table_node *table_likely(const struct table *t, uint32_t hash)
{
	const struct bucket *b = bucket_of(t, hash);
	const uint64_t same = same_tags(b, tag_of(hash));

	return same ? b->node[first_place(same)] : NULL;
}

uint32_t table_count(const struct table *t)
{
	return t->count;
}

size_t table_bytes(const struct table *t)
{
	return (size_t)t->n * sizeof(struct bucket);
}
