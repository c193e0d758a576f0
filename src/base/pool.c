/*
 * Blocks in size classes, four to each doubling, carved from slabs that come from mmap.
 *
 *     pool ── class 64 ── slabs with a free block (partial)
 *          ── class 80    slabs with all blocks free (empty)  slab: header | block | block | ...
 *          ── ...           full slabs: only on the list of all
 *
 * Classes are 64, 80, 96, 112, 128, 160, ...: a block is at most a quarter larger than what was
 * asked for, a tenth on average; with powers of two it was a third.
 *
 * A slab is aligned to its own size, so a block finds its slab by masking its address, and a block
 * needs no header of its own. Slabs of small classes are 64 KB; of large ones eight places or more, of
 * which the header takes one. A fresh slab is carved lazily, block by block, so that pages never
 * used are never touched.
 *
 * Who owns what: the pool owns its slabs, the caller a block between get and put (pool_free() takes
 * it back). A slab whose last block comes back stays, because the kernel takes as long to clear its
 * pages again as they take to be filled: a load that comes in waves would spend a third of its time
 * on page faults. pool_trim(), called about once a second, gives back those that were empty all the
 * time since the call before, so that memory falls again after a burst. One a class always stays.
 *
 * Under AddressSanitizer every byte that nobody may use is poisoned, so that overruns and late uses
 * show up as they would with malloc.
 *
 * The limit counts what was touched of the slabs, of empty ones too: it is about memory that the machine
 * gave us. A slab of a large class is a megabyte, and a small limit must not be used up by slabs of which
 * one block is in use. Before a request is refused, the empty slabs of other classes are given up.
 */
#include "base/pool.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/poison.h"
#include "base/util.h"

#define MIN_SHIFT 6
#define MAX_SHIFT 17
#define STEPS_SHIFT 2 /* four classes to each doubling */
#define STEPS (1u << STEPS_SHIFT)
#define CLASSES (((MAX_SHIFT - MIN_SHIFT) << STEPS_SHIFT) + 1)
#define TRIM_BYTES (8u << 20) /* given back by one call, in less than a millisecond */
#define SLAB_MIN (64u * 1024u)

struct slab {
	struct slab *next, **pprev;         /* in the class's list of partial slabs; pprev NULL: not in it.
			  * next: in that of empty ones, too */
	struct slab *all_next, **all_pprev; /* in the class's list of all slabs */
	void *free;                         /* blocks that were returned, linked through their first word */
	unsigned used;                      /* blocks handed out */
	unsigned carved;                    /* blocks that were ever handed out; those behind are untouched */
};

struct size_class {
	struct slab *all;
	struct slab *partial;
	struct slab *empty;
	unsigned n_empty, spare; /* spare: the fewest that were empty since the last trim */
	uint32_t block, most;    /* bytes of a block; blocks of a slab */
	size_t slab;             /* bytes of a slab, a power of two */
};

struct pool {
	struct pool_bytes n; /* first, see pool.h */
	struct size_class class[CLASSES];
};

_Static_assert(POOL_MIN == 1u << MIN_SHIFT && POOL_MAX == 1u << MAX_SHIFT, "classes");
_Static_assert(sizeof(struct slab) <= POOL_MIN, "the header takes the first place of a slab");

/* The blocks of the classes above 2^shift are 2^shift and a number of steps of 2^(shift - 2). */
static unsigned class_of(size_t size)
{
	unsigned shift;

	if (size <= POOL_MIN)
		return 0;
	shift = 63 - (unsigned)__builtin_clzll((unsigned long long)(size - 1));
	return ((shift - MIN_SHIFT) << STEPS_SHIFT) + (unsigned)((size - 1) >> (shift - STEPS_SHIFT)) -
	       STEPS + 1;
}

static inline size_t block_size(unsigned class)
{
	return (size_t)(STEPS + class % STEPS) << (MIN_SHIFT - STEPS_SHIFT + class / STEPS);
}

/* A power of two. */
static inline size_t slab_size(unsigned class)
{
	unsigned doublings = (class + STEPS - 1) / STEPS;

	return MAX(SLAB_MIN, (size_t)POOL_MIN * 8 << doublings);
}

/* Places in a slab, the first of which is the header's. */
static inline unsigned slab_places(unsigned class)
{
	return (unsigned)(slab_size(class) / block_size(class));
}

/* The pages of @s that were written: the header, blocks, and the rest at the end, which no block has. */
static inline size_t slab_touched(unsigned class, const struct slab *s)
{
	return slab_size(class) - (size_t)(slab_places(class) - s->carved) * block_size(class);
}

static void slab_link(struct size_class *c, struct slab *s)
{
	s->next = c->partial;
	if (s->next)
		s->next->pprev = &s->next;
	s->pprev = &c->partial;
	c->partial = s;
}

static void slab_unlink(struct slab *s)
{
	*s->pprev = s->next;
	if (s->next)
		s->next->pprev = s->pprev;
	s->pprev = NULL;
}

static void slab_release(struct pool *p, unsigned class, struct slab *s)
{
	*s->all_pprev = s->all_next;
	if (s->all_next)
		s->all_next->all_pprev = s->all_pprev;
	unpoison(s, slab_size(class));
	p->n.touched -= slab_touched(class, s);
	unreachable(s, slab_size(class));
	munmap(s, slab_size(class));
	p->n.held -= slab_size(class);
}

/* The slab that became empty last: its pages are the likeliest to be in a cache. */
static struct slab *empty_pop(struct pool *p, unsigned class)
{
	struct size_class *c = &p->class[class];
	struct slab *s = c->empty;

	if (!s)
		return NULL;
	c->empty = s->next;
	c->n_empty--;
	c->spare = MIN(c->spare, c->n_empty);
	p->n.idle -= slab_touched(class, s);
	return s;
}

static bool fits(const struct pool *p, size_t touched, size_t size)
{
	return !p->n.limit || (size <= p->n.limit && touched <= p->n.limit - size);
}

/* Gives up empty slabs until @size more bytes fit under the limit. */
static bool make_room(struct pool *p, size_t size)
{
	struct slab *s;

	if (fits(p, p->n.touched, size))
		return true;
	if (!fits(p, p->n.touched - p->n.idle, size))
		return false;
	for (unsigned i = 0; i < CLASSES; i++)
		while (!fits(p, p->n.touched, size) && (s = empty_pop(p, i)))
			slab_release(p, i, s);
	return true;
}

/* What the first block of a fresh slab touches. */
static size_t slab_cost(unsigned class)
{
	return slab_size(class) - (size_t)(slab_places(class) - 2) * block_size(class);
}

static char *map_bytes(size_t size)
{
	void *map =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return map == MAP_FAILED ? NULL : map;
}

/*
 * @size bytes aligned to @size. mmap() aligns to pages only; but it mostly places what it gives
 * right below what it gave before, which is then aligned, too, and one mapping with it (their
 * number is limited). Else ask for twice as much and give back what sticks out at either end.
 */
static char *map_aligned(size_t size)
{
	char *map = map_bytes(size);
	size_t before;

	if (!map || !((uintptr_t)map & (size - 1)))
		return map;
	munmap(map, size);
	map = map_bytes(size * 2);
	if (!map)
		return NULL;
	before = -(uintptr_t)map & (size - 1);
	if (before)
		munmap(map, before);
	if (size - before)
		munmap(map + before + size, size - before);
	return map + before;
}

static struct slab *slab_new(struct pool *p, unsigned class)
{
	size_t size = slab_size(class);
	struct slab *s;

	s = (struct slab *)(void *)map_aligned(size);
	if (!s)
		return NULL;
	reachable(s, size);
	s->carved = 1;
	s->all_next = p->class[class].all;
	if (s->all_next)
		s->all_next->all_pprev = &s->all_next;
	s->all_pprev = &p->class[class].all;
	p->class[class].all = s;
	poison((char *)s + block_size(class), size - block_size(class));
	p->n.held += size;
	p->n.touched += slab_touched(class, s);
	return s;
}

struct pool *pool_new(size_t limit)
{
	struct pool *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->n.limit = limit;
	for (unsigned i = 0; i < CLASSES; i++) {
		p->class[i].block = (uint32_t)block_size(i);
		p->class[i].most = slab_places(i) - 1;
		p->class[i].slab = slab_size(i);
	}
	return p;
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	for (unsigned i = 0; i < CLASSES; i++) {
		while (p->class[i].all)
			slab_release(p, i, p->class[i].all);
	}
	free(p);
}

void *pool_get(struct pool *p, size_t size)
{
	unsigned class = class_of(size);
	struct size_class *c;
	struct slab *s;
	void *block;

	if (size > POOL_MAX)
		return NULL;
	c = &p->class[class];
	s = c->partial;
	if (!s) {
		s = empty_pop(p, class);
		if (!s)
			s = make_room(p, slab_cost(class)) ? slab_new(p, class) : NULL;
		if (!s)
			return NULL;
		slab_link(c, s);
	}
	if (!s->free && !make_room(p, c->block))
		return NULL;
	if (s->free) {
		block = s->free;
		unpoison(block, sizeof(void *));
		s->free = *(void **)block;
		poison(block, sizeof(void *));
	} else {
		block = (char *)s + (size_t)c->block * s->carved++;
		p->n.touched += c->block;
	}
	if (++s->used == c->most)
		slab_unlink(s);
	p->n.used += c->block;
	unpoison(block, size);
	return block;
}

void pool_put(struct pool *p, void *block, size_t size)
{
	unsigned class = class_of(size);
	struct size_class *c = &p->class[class];
	struct slab *s;

	if (!block)
		return;
	s = (struct slab *)((uintptr_t)block & ~(uintptr_t)(c->slab - 1));
	assert(s->used > 0 && p->n.used >= c->block);
	unpoison(block, sizeof(void *));
	*(void **)block = s->free;
	s->free = block;
	poison(block, c->block);
	p->n.used -= c->block;
	if (!s->pprev)
		slab_link(c, s);
	if (--s->used)
		return;
	slab_unlink(s);
	s->next = c->empty;
	c->empty = s;
	c->n_empty++;
	p->n.idle += slab_touched(class, s);
}

bool pool_trim(struct pool *p)
{
	size_t given = 0;
	bool more = false;

	for (unsigned i = 0; i < CLASSES; i++) {
		struct size_class *c = &p->class[i];
		struct slab *s;
		unsigned n = c->n_empty > 1 ? MIN(c->spare, c->n_empty - 1) : 0;

		for (; n > 0 && given < TRIM_BYTES && (s = empty_pop(p, i)); n--) {
			slab_release(p, i, s);
			given += slab_size(i);
		}
		c->spare = n > 0 ? n : c->n_empty; /* n: left for the next call */
		more = more || c->n_empty > 1;
	}
	return more;
}

bool pool_has_room(const struct pool *p, size_t size)
{
	unsigned class = class_of(size);
	const struct size_class *c = &p->class[class];

	if (size > POOL_MAX)
		return false;
	if (c->partial ? c->partial->free != NULL : c->empty != NULL)
		return true;
	return fits(p, p->n.touched - p->n.idle, c->partial ? block_size(class) : slab_cost(class));
}
