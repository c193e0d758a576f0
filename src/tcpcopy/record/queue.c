/*
 * A queue of packets between two threads - theory of operation
 *
 * A ring of bytes, and two counters of bytes that only grow: how much was put, which the worker alone
 * writes, and how much was taken, which the reader alone writes. Each side keeps a copy of the other's
 * counter and looks at the counter itself only when the copy says that there is nothing to be done; so they
 * seldom fetch the same cache line. A packet lies in one piece: where it would not fit before the end of
 * the ring, a filler does, whose size is 0: all that is left.
 */
#include "tcpcopy/record/queue.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define ALIGN 8u     /* so a filler has room for its size */
#define WAKE_PART 4u /* the reader is woken when such a part is full */

struct record_queue {
	/* the worker's */
	uint64_t put, taken_seen;
	struct queued *room;
	uint64_t put_then; /* what `put` becomes */
	/* the reader's */
	uint64_t taken __attribute__((aligned(64)));
	uint64_t put_seen;
	/* of both */
	size_t bytes __attribute__((aligned(64)));
	uint8_t *ring;
};

static uint8_t *at(const struct record_queue *q, uint64_t place)
{
	return q->ring + (place & (q->bytes - 1));
}

struct record_queue *record_queue_new(size_t bytes)
{
	struct record_queue *q = aligned_alloc(64, (sizeof(*q) + 63) & ~(size_t)63);

	if (!q)
		return NULL;
	*q = (struct record_queue){ .bytes = bytes, .ring = malloc(bytes) };
	if (q->ring)
		return q;
	free(q);
	return NULL;
}

void record_queue_free(struct record_queue *q)
{
	if (!q)
		return;
	free(q->ring);
	free(q);
}

struct queued *record_queue_room(struct record_queue *q, uint32_t captured)
{
	const uint64_t size = (sizeof(struct queued) + captured + ALIGN - 1) & ~(uint64_t)(ALIGN - 1);
	const uint64_t to_end = q->bytes - (q->put & (q->bytes - 1));
	const uint64_t filler = size > to_end ? to_end : 0;

	if (q->put + filler + size - q->taken_seen > q->bytes) {
		q->taken_seen = __atomic_load_n(&q->taken, __ATOMIC_ACQUIRE);
		if (q->put + filler + size - q->taken_seen > q->bytes)
			return NULL;
	}
	if (filler)
		memset(at(q, q->put), 0, sizeof(q->room->size));
	q->room = (struct queued *)(void *)at(q, q->put + filler);
	q->room->size = (uint32_t)size;
	q->put_then = q->put + filler + size;
	return q->room;
}

bool record_queue_put(struct record_queue *q)
{
	__atomic_store_n(&q->put, q->put_then, __ATOMIC_RELEASE);
	if (q->put - q->taken_seen < q->bytes / WAKE_PART)
		return false;
	q->taken_seen = __atomic_load_n(&q->taken, __ATOMIC_ACQUIRE);
	return q->put - q->taken_seen >= q->bytes / WAKE_PART;
}

const struct queued *record_queue_next(struct record_queue *q)
{
	for (;;) {
		const struct queued *x;

		if (q->taken == q->put_seen)
			q->put_seen = __atomic_load_n(&q->put, __ATOMIC_ACQUIRE);
		if (q->taken == q->put_seen)
			return NULL;
		x = (const struct queued *)(const void *)at(q, q->taken);
		if (x->size)
			return x;
		__atomic_store_n(&q->taken, q->taken + (q->bytes - (q->taken & (q->bytes - 1))),
				 __ATOMIC_RELEASE);
	}
}

void record_queue_take(struct record_queue *q)
{
	const struct queued *x = (const struct queued *)(const void *)at(q, q->taken);

	__atomic_store_n(&q->taken, q->taken + x->size, __ATOMIC_RELEASE);
}

bool record_queue_is_pressed(const struct record_queue *q)
{
	return __atomic_load_n(&q->put, __ATOMIC_ACQUIRE) - q->taken > q->bytes / 2;
}
