/*
 * Blocks of time - theory of operation
 *
 * In: the times of exchanges of both sides, one after the other. Out: for each block of time their
 * histograms, which the rules resample (compare/rule.h). Neighbouring requests share their luck, so it is the
 * block that is a sample, never the request.
 *
 * The open block is dense: an array of counts for each class, metric and side (a series), so adding is an
 * increment. A closed block is sparse: an entry for each bucket that is not empty, in a slot of fixed size,
 * one slot a block. When the last slot is taken, blocks 2k and 2k + 1 become block k: both are loaded into
 * the open block, which is empty just then, and stored again. So the memory is the same after a minute and
 * after a month, and blocks become longer as the run does.
 *
 * A slot always has room for the total. What is left is for the classes in their order, so those that rules
 * name come first. With 64 classes that is 824 entries for each, and what the total leaves of its 12,808:
 * enough for 64 of them whose first and last times spread over 200 buckets. A class that has not found room
 * is marked for good: half of its times would be worse than none.
 *
 * An entry has the bucket in its upper 11 bits and the count - 1 below; a greater count takes several
 * entries.
 *
 * Exchanges are counted where they are closed, not where they began: a slow one belongs to the same block on
 * both sides, so the pair stays together.
 */
#include "compare/blocks.h"

#include <string.h>

#include "base/util.h"

#define SERIES_PER_CLASS (BLOCKS_SIDES * BLOCKS_METRIC_COUNT)
#define COUNT_BITS 21
#define COUNT_MOST (1u << COUNT_BITS)
#define ENTRIES_TOTAL (SERIES_PER_CLASS * SCALE_BUCKETS)
#define ENTRIES_CLASS 824u
#define INDEX 256 /* places for the hashes of classes, a power of 2 */

struct class
{
	uint64_t hash, exchanges;
	char name[BLOCKS_NAME];
	bool kept, cut;
};

struct blocks {
	uint64_t warm;   /* until then */
	uint64_t begins; /* the open block */
	uint64_t length;
	uint64_t warming, elsewhere;
	unsigned room, classes; /* without the total */
	unsigned closed;
	struct class class[1 + BLOCKS_CLASSES];
	uint8_t index[INDEX];
	uint32_t *open;       /* [series][SCALE_BUCKETS] */
	uint32_t *entry;      /* [BLOCKS_MOST][entries_of()] */
	uint32_t *start;      /* [BLOCKS_MOST][series + 1], places in the slot */
	uint16_t *low, *high; /* [series]: the open block's buckets in use; low > high: none */
};

static unsigned series_of(unsigned classes)
{
	return (1 + classes) * SERIES_PER_CLASS;
}

static unsigned entries_of(unsigned classes)
{
	return ENTRIES_TOTAL + classes * ENTRIES_CLASS;
}

size_t blocks_size(unsigned classes)
{
	const size_t series = series_of(classes);

	return sizeof(struct blocks) + series * SCALE_BUCKETS * sizeof(uint32_t) +
	       BLOCKS_MOST * (size_t)entries_of(classes) * sizeof(uint32_t) +
	       BLOCKS_MOST * (series + 1) * sizeof(uint32_t) + 2 * series * sizeof(uint16_t);
}

struct blocks *blocks_init(void *memory, unsigned classes, uint64_t warm, uint64_t length)
{
	const size_t series = series_of(classes);
	struct blocks *b = memory;

	memset(b, 0, blocks_size(classes));
	b->room = classes;
	b->warm = b->begins = warm;
	b->length = length;
	b->open = (uint32_t *)(b + 1);
	b->entry = b->open + series * SCALE_BUCKETS;
	b->start = b->entry + BLOCKS_MOST * (size_t)entries_of(classes);
	b->low = (uint16_t *)(b->start + BLOCKS_MOST * (series + 1));
	b->high = b->low + series;
	memset(b->low, 0xff, series * sizeof(*b->low));
	return b;
}

/* --- classes ------------------------------------------------------------------------------------------ */

/* The place of @hash in the index, or the empty one where it would be. */
static unsigned place_of(const struct blocks *b, uint64_t hash)
{
	unsigned at = (unsigned)(hash % INDEX);

	while (b->index[at] && b->class[b->index[at]].hash != hash)
		at = (at + 1) % INDEX;
	return at;
}

static void set_class(struct blocks *b, unsigned i, uint64_t hash, const char *name)
{
	struct class *c = &b->class[i];
	size_t len = strnlen(name, BLOCKS_NAME - 1);

	c->hash = hash;
	memcpy(c->name, name, len);
	c->name[len] = '\0';
}

/* Class @i is another one now. */
static void replace(struct blocks *b, unsigned i, uint64_t hash, const char *name)
{
	set_class(b, i, hash, name);
	memset(b->index, 0, sizeof(b->index));
	for (unsigned k = 1; k <= b->classes; k++)
		b->index[place_of(b, b->class[k].hash)] = (uint8_t)k;
}

static unsigned append(struct blocks *b, uint64_t hash, const char *name)
{
	const unsigned at = place_of(b, hash);

	set_class(b, ++b->classes, hash, name);
	b->index[at] = (uint8_t)b->classes;
	return b->classes;
}

/* The quietest that no rule names, or 0. */
static unsigned quietest(const struct blocks *b)
{
	unsigned least = 0;

	for (unsigned i = 1; i <= b->classes; i++) {
		if (!b->class[i].kept && (!least || b->class[i].exchanges < b->class[least].exchanges))
			least = i;
	}
	return least;
}

unsigned blocks_keep(struct blocks *b, uint64_t hash, const char *name)
{
	unsigned i = b->index[place_of(b, hash)];

	if (!i && b->classes < b->room)
		i = append(b, hash, name);
	if (i)
		b->class[i].kept = true;
	return i;
}

unsigned blocks_class(struct blocks *b, uint64_t now, uint64_t hash, const char *name)
{
	unsigned i = b->index[place_of(b, hash)];

	if (!i && b->classes < b->room) {
		i = append(b, hash, name);
	} else if (!i && now < b->warm) {
		/*
		 * it takes over the count as well: one that comes often stays, whenever it began (space
		 * saving)
		 */
		i = quietest(b);
		if (i)
			replace(b, i, hash, name);
	}
	if (i)
		b->class[i].exchanges++;
	else
		b->elsewhere++;
	return i;
}

/* --- the open block ----------------------------------------------------------------------------------- */

static void put(struct blocks *b, unsigned series, unsigned bucket, uint32_t count)
{
	uint32_t *n = &b->open[(size_t)series * SCALE_BUCKETS + bucket];

	if (__builtin_add_overflow(*n, count, n))
		*n = UINT32_MAX;
	if (bucket < b->low[series])
		b->low[series] = (uint16_t)bucket;
	if (bucket > b->high[series])
		b->high[series] = (uint16_t)bucket;
}

/* --- closed blocks ------------------------------------------------------------------------------------ */

static uint32_t *starts(const struct blocks *b, unsigned slot)
{
	return b->start + (size_t)slot * (series_of(b->room) + 1);
}

static uint32_t *entries(const struct blocks *b, unsigned slot)
{
	return b->entry + (size_t)slot * entries_of(b->room);
}

/*
 * Write the entries of one series of the open block behind @at, and empty it. Returns where they end; 0: no
 * room.
 */
static uint32_t store_series(struct blocks *b, unsigned slot, unsigned series, uint32_t at)
{
	uint32_t *n = &b->open[(size_t)series * SCALE_BUCKETS], *e = entries(b, slot);
	const uint32_t room = entries_of(b->room);

	for (unsigned i = b->low[series]; i <= b->high[series]; i++) {
		while (n[i] && at < room) {
			const uint32_t count = MIN(n[i], COUNT_MOST);

			e[at++] = i << COUNT_BITS | (count - 1);
			n[i] -= count;
		}
		if (n[i])
			return 0;
	}
	return at;
}

static void clear_series(struct blocks *b, unsigned series)
{
	if (b->low[series] <= b->high[series])
		memset(&b->open[(size_t)series * SCALE_BUCKETS + b->low[series]], 0,
		       (b->high[series] - b->low[series] + 1u) * sizeof(*b->open));
	b->low[series] = UINT16_MAX;
	b->high[series] = 0;
}

/* The open block becomes that of @slot, and is empty. */
static void store(struct blocks *b, unsigned slot)
{
	uint32_t *start = starts(b, slot), at = 0;

	for (unsigned c = 0; c <= b->room; c++) {
		const unsigned first = c * SERIES_PER_CLASS;
		const uint32_t before = at;

		for (unsigned s = first; s < first + SERIES_PER_CLASS; s++) {
			const uint32_t end = b->class[c].cut ? at : store_series(b, slot, s, at);

			b->class[c].cut |= end < at;
			start[s] = at;
			at = MAX(at, end);
			clear_series(b, s);
		}
		for (unsigned s = first; b->class[c].cut && s < first + SERIES_PER_CLASS; s++)
			start[s] = at = before;
	}
	start[series_of(b->room)] = at;
}

/* Add the block of @slot to the open one. */
static void load(struct blocks *b, unsigned slot)
{
	const uint32_t *start = starts(b, slot), *e = entries(b, slot);

	for (unsigned s = 0; s < series_of(b->room); s++) {
		for (uint32_t i = start[s]; i < start[s + 1]; i++)
			put(b, s, e[i] >> COUNT_BITS, (e[i] & (COUNT_MOST - 1)) + 1);
	}
}

static void close_open(struct blocks *b)
{
	store(b, b->closed++);
	b->begins += b->length;
	if (b->closed < BLOCKS_MOST)
		return;
	for (unsigned k = 0; k < BLOCKS_MOST / 2; k++) {
		load(b, 2 * k);
		load(b, 2 * k + 1);
		store(b, k);
	}
	b->closed = BLOCKS_MOST / 2;
	b->length *= 2;
}

void blocks_advance(struct blocks *b, uint64_t now)
{
	while (now >= b->begins && now - b->begins >= b->length)
		close_open(b);
}

void blocks_add(struct blocks *b, uint64_t now, unsigned class, const struct blocks_times *t)
{
	unsigned metrics;

	if (now < b->warm) {
		b->warming++;
		return;
	}
	blocks_advance(b, now);
	b->class[BLOCKS_TOTAL].exchanges++;
	metrics = b->class[class].kept ? BLOCKS_METRIC_COUNT : BLOCKS_LAST + 1;
	for (unsigned side = 0; side < BLOCKS_SIDES; side++) {
		for (unsigned m = 0; m < BLOCKS_METRIC_COUNT; m++) {
			const unsigned bucket = scale_bucket(t->ns[side][m]), s = m * BLOCKS_SIDES + side;

			put(b, s, bucket, 1);
			if (class && m < metrics)
				put(b, class * SERIES_PER_CLASS + s, bucket, 1);
		}
	}
}

void blocks_end(struct blocks *b, uint64_t now)
{
	blocks_advance(b, now);
	if (b->low[0] > b->high[0])
		return;
	if (b->closed && now - b->begins < b->length / 2) {
		load(b, b->closed - 1);
		store(b, b->closed - 1);
	} else {
		close_open(b);
	}
}

/* --- what the rules see ------------------------------------------------------------------------------- */

/* One side of block @slot, as column @column. Returns how many exchanges it has. */
static uint64_t fill(const struct blocks *b, unsigned slot, unsigned series,
		     uint64_t at_most[SCALE_BUCKETS][BLOCKS_MOST], unsigned column)
{
	const uint32_t *start = starts(b, slot), *e = entries(b, slot);
	uint32_t i = start[series];
	uint64_t sum = 0;

	for (unsigned bucket = 0; bucket < SCALE_BUCKETS; bucket++) {
		for (; i < start[series + 1] && e[i] >> COUNT_BITS == bucket; i++)
			sum += (e[i] & (COUNT_MOST - 1)) + 1;
		at_most[bucket][column] = sum;
	}
	return sum;
}

void blocks_view(const struct blocks *b, unsigned class, enum blocks_metric m, struct blocks_view *v)
{
	const unsigned series = class * SERIES_PER_CLASS + (unsigned)m * BLOCKS_SIDES;

	v->blocks = 0;
	v->length = b->length;
	v->span = b->closed * b->length;
	v->exchanges = 0;
	for (unsigned slot = 0; slot < b->closed; slot++) {
		const uint32_t *start = starts(b, slot);

		if (start[series] == start[series + 1])
			continue;
		for (unsigned side = 1; side < BLOCKS_SIDES; side++)
			fill(b, slot, series + side, v->at_most[side], v->blocks);
		v->exchanges += fill(b, slot, series, v->at_most[0], v->blocks);
		v->blocks++;
	}
}

void blocks_view_pair(struct blocks_view *v)
{
	const unsigned half = v->blocks / 2;

	if (!half)
		return;
	for (unsigned side = 0; side < BLOCKS_SIDES; side++) {
		for (unsigned i = 0; i < SCALE_BUCKETS; i++) {
			uint64_t *at = v->at_most[side][i];
			const uint64_t odd = v->blocks % 2 ? at[v->blocks - 1] : 0;

			for (unsigned k = 0; k < half; k++)
				at[k] = at[2 * k] + at[2 * k + 1];
			at[half - 1] += odd;
		}
	}
	v->blocks = half;
	v->length *= 2;
}

unsigned blocks_count(const struct blocks *b)
{
	return b->closed;
}

uint64_t blocks_length(const struct blocks *b)
{
	return b->length;
}

uint64_t blocks_warming(const struct blocks *b)
{
	return b->warming;
}

unsigned blocks_classes(const struct blocks *b)
{
	return b->classes;
}

const char *blocks_class_name(const struct blocks *b, unsigned class)
{
	return b->class[class].name;
}

uint64_t blocks_class_exchanges(const struct blocks *b, unsigned class)
{
	return b->class[class].exchanges;
}

bool blocks_class_cut(const struct blocks *b, unsigned class)
{
	return b->class[class].cut;
}

uint64_t blocks_elsewhere(const struct blocks *b)
{
	return b->elsewhere;
}

#define NAME(id, name, text) #name,
#define TEXT(id, name, text) text,

const char *blocks_metric_name(enum blocks_metric m)
{
	static const char *const names[] = { BLOCKS_METRICS(NAME) };

	return names[m];
}

const char *blocks_metric_text(enum blocks_metric m)
{
	static const char *const texts[] = { BLOCKS_METRICS(TEXT) };

	return texts[m];
}
