/*
 * A queue of packets in memory.
 *
 *     map  | ...free... | taken | waiting | waiting | ...free... |
 *                       ^first  ^next               ^end
 *
 * In: packets out of a capture ring, which fills while we are short of processor time. Out: the
 * same, in order. They lie one behind the other, each behind a head that knows its length, so that
 * what was a block of the ring with a few small packets in it takes no more room than they have
 * bytes. What does not fit before the end of the map goes to its front, if that is free.
 *
 * Pages are touched as the queue reaches them. When it has run empty it begins anew at the front,
 * and what it had touched beyond KEEP goes back to the kernel.
 */
#include "io/capture/aside.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/util.h"

#define ALIGN 16u
#define KEEP (256u << 10)

struct record {
	_Alignas(ALIGN) struct raw_packet packet; /* data: in here */
	size_t bytes; /* of the record; 0: what follows is at the front of the map */
};

struct aside {
	uint8_t *map;
	size_t size;
	size_t first, next, end; /* offsets; the queue is empty where next == end */
	size_t touched;          /* bytes from the front on */
};

struct aside *aside_new(size_t bytes)
{
	struct aside *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->size = bytes / ALIGN * ALIGN;
	a->map = mmap(NULL, a->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		      0);
	if (a->map == MAP_FAILED) {
		free(a);
		return NULL;
	}
	return a;
}

void aside_free(struct aside *a)
{
	if (!a)
		return;
	munmap(a->map, a->size);
	free(a);
}

static struct record *record_at(const struct aside *a, size_t offset)
{
	return (void *)(a->map + offset);
}

/* Where @bytes fit, with a record's head behind them for the mark that leads to the front. */
static bool find_room(struct aside *a, size_t bytes)
{
	const size_t need = bytes + sizeof(struct record);

	if (a->end >= a->first) {
		if (need <= a->size - a->end)
			return true;
		if (need > a->first) /* not up to it: that would look empty */
			return false;
		record_at(a, a->end)->bytes = 0;
		a->touched = a->size;
		if (a->next == a->end)
			a->next = 0;
		a->end = 0;
		return true;
	}
	return need < a->first - a->end;
}

bool aside_put(struct aside *a, const struct raw_packet *p)
{
	/* where the bytes were aligned, they are aligned here */
	const size_t shift = (uintptr_t)p->data % ALIGN;
	const size_t head = sizeof(struct record) + shift;
	const size_t bytes = (head + p->captured + ALIGN - 1) / ALIGN * ALIGN;
	struct record *r;
	uint8_t *data;

	if (!find_room(a, bytes))
		return false;
	r = record_at(a, a->end);
	data = a->map + a->end + head;
	memcpy(data, p->data, p->captured);
	r->packet = *p;
	r->packet.data = data;
	r->bytes = bytes;
	a->end += bytes;
	a->touched = MAX(a->touched, a->end);
	return true;
}

bool aside_empty(const struct aside *a)
{
	return a->next == a->end;
}

bool aside_take(struct aside *a, struct raw_packet *p)
{
	const struct record *r;

	if (aside_empty(a))
		return false;
	if (!record_at(a, a->next)->bytes)
		a->next = 0;
	r = record_at(a, a->next);
	*p = r->packet;
	a->next += r->bytes;
	return true;
}

void aside_release(struct aside *a)
{
	a->first = a->next;
	if (!aside_empty(a) || !a->end)
		return;
	a->first = a->next = a->end = 0;
	if (a->touched > KEEP)
		madvise(a->map + KEEP, a->size - KEEP, MADV_DONTNEED);
	a->touched = MIN(a->touched, KEEP);
}
