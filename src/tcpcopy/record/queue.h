#ifndef TCPCOPY_RECORD_QUEUE_H
#define TCPCOPY_RECORD_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Packets on their way from a worker, which puts them and never waits, to the thread that writes them, which
 * takes them in order. No locks: each end belongs to one thread.
 */
struct record_queue;

/* A packet in the queue. Whoever puts it fills in all but `size`. */
struct queued {
	uint32_t size; /* the queue's: bytes with this head */
	uint16_t interface;
	bool outgoing;
	bool bare;              /* it has no link-layer header */
	uint16_t ip;            /* where its IP header is */
	bool begins;            /* it opens a connection */
	uint64_t time;          /* ns */
	uint64_t rules;         /* a set of bits, by the number of the rule */
	uint32_t captured, len; /* bytes at @data, and of the packet */
	uint8_t data[];
};

/* @bytes: a power of 2. NULL: out of memory. */
struct record_queue *record_queue_new(size_t bytes);
/* Free it. @q may be NULL. */
void record_queue_free(struct record_queue *q);

/*
 * The worker: room for a packet of which @captured bytes are kept, or NULL: the queue is full. It is put by
 * record_queue_put(), or given up by the next call of this.
 */
struct queued *record_queue_room(struct record_queue *q, uint32_t captured);
/* Put what has that room. Returns whether so much waits that the reader should be woken. */
bool record_queue_put(struct record_queue *q);

/* The reader: the oldest packet, or NULL. It stays until record_queue_take(). */
const struct queued *record_queue_next(struct record_queue *q);
/* The packet of record_queue_next() is done with. */
void record_queue_take(struct record_queue *q);
/* Is it more than half full? */
bool record_queue_is_pressed(const struct record_queue *q);

#endif
