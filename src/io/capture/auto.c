/*
 * Live capture that is quick while packets are few and cheap when they are many.
 *
 * It takes packets from a socket that wakes us for each packet, and from a ring that wakes us once a
 * block. It gives them out as one source, each packet once.
 *
 * Both are members of the fan-out group of the interface, whose program says which of them has this
 * worker's packets (capture_group.c). Another program turns the stream from one socket to the
 * other: no packet is missed and none is seen twice, and the idle socket costs nothing.
 *
 * Order: after a turn each poll empties the socket that was left before it looks at the other one. So
 * packets are delivered in the order of their capture. This ends when no processor runs the old program any
 * more and the socket was then found empty. A ring is empty when its block in the making is also empty; the
 * kernel retires that block within the block timer's time, and the packets behind it wait for so long.
 *
 * When to turn: packets are counted over a window of time. A wake-up for each packet costs a fixed
 * sum; the ring saves most of these from 1000 packets/s on, but lets packets wait for their block.
 * So the rate from which the ring is worth it grows with the retire time. That time is measured,
 * because it may be longer than asked for. The stream turns back at half that rate, which is above
 * the rates at which a quick delivery is promised, and when it has been below that for CALM windows: a busy
 * machine sends and reads in bursts, and would turn at each of them. The count has only the packets that we
 * had time for. So packets that are old when they are read go by the ring, however few they are: it is the
 * cheaper way.
 *
 * Traffic that waits for what we do with it slows down in the ring: a copy's next request leaves when the
 * answer to the last one was read, and here answers may be captured, too. Such traffic is dense without the
 * ring and thin with it, so by the rate alone it would turn all the time, and crawl. It is
 * known by its rate, which falls to a fraction as soon as it is in the ring and yet goes on. Then the stream
 * turns back at once, and stays for a while, which doubles each time.
 *
 * Beside the requests of an original that does not wait for us this does not show in the rate. But who
 * captures answers can tell that only few connections wait for them (source.prompt). Then no rate leads into
 * the ring, where each of them could do no more than one request a block.
 *
 * Super-packets are the exception. One wake-up and one system call for 64 KB is little, and a ring
 * costs a copy, too, within the kernel's work for the application. A ring of tens of MB lasts tens of
 * milliseconds of them, and all of it is memory at rest. A socket only keeps what waits, so its buffer can
 * be many times larger. So they stay with the socket, unless its buffer is no larger than the ring, as it is
 * without the right to set it. There bytes count as packets, because large packets fill the buffer at few
 * packets a second.
 *
 * When an interface was down its sockets join the group anew, on some kernels in the other order.
 * Packets that come by the idle socket show that; this source tells the group, and so all its workers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "io/capture/capture.h"

#define UP_RATE 12000u        /* packets/s at a retire time of 1 ms */
#define BYTES_AS_PACKET 8192u /* so many bytes weigh as much as one more packet */
#define BULK 8192u            /* bytes captured of a packet, in the mean, that make it a super-packet */
#define LATE (10 * NS_PER_MS) /* older than a packet should be when it is delivered */
#define WINDOW (50 * NS_PER_MS)
#define CALM 10                          /* windows, half a second */
#define SLOWED 3                         /* its rate fell to less than a third: it waits for us */
#define SLOWED_WINDOWS 2                 /* in a row, the first in the ring; a sender may stall for one */
#define SLOWED_LEAST 10                  /* packets in each: what ceased does not wait */
#define STAY_FIRST 8                     /* windows */
#define STAY_MOST 200                    /* windows, ten seconds */
#define ALTERNATE_WINDOW (5 * NS_PER_MS) /* CAPTURE_ALTERNATE */
#define TURN_MOST (50 * NS_PER_MS)       /* waiting for the last block of a ring */

enum half { PACKET, RING };

struct pair {
	struct source source;
	struct capture *half[2];
	struct capture_group *group;
	unsigned worker;
	unsigned on;        /* the half that packets go to, or soon will */
	unsigned reversals; /* of the group, as far as known here */
	struct capture_turn turn;
	bool turning;    /* the other half may still have packets that are older */
	uint64_t turned; /* when that began, ns */
	bool fixed;      /* turning failed once: not again */
	bool alternate;
	bool roomy;        /* the socket's buffer is larger than the ring */
	uint64_t up, down; /* packets/s */
	unsigned calm;     /* windows in a row that need no ring */
	uint64_t dense;  /* packets/s that led into the ring; 0: it is not to be seen any more if they wait */
	unsigned slowed; /* windows in the ring in which it was a fraction of that */
	unsigned stay;   /* windows without a ring, whatever the rate */
	unsigned stays;  /* so many the last time */
	uint64_t window_start, window_packets;
	uint64_t window_bytes; /* delivered by both when the window began */
	uint64_t window_held;  /* and captured of them */
	uint64_t turns;
};

static void turn(struct pair *p, unsigned to, uint64_t now)
{
	if (!capture_group_turn(p->group, p->worker, to, &p->turn)) {
		p->fixed = true;
		return;
	}
	p->on = to;
	p->turning = true;
	p->turns++;
	p->turned = now;
}

/* Packets come by the idle half, or another worker found that they do. */
static void reverse(struct pair *p)
{
	capture_group_reverse(p->group, p->reversals);
	p->reversals = capture_group_reversals(p->group);
	turn(p, p->on, clock_now());
}

static uint64_t delivered(const struct pair *p)
{
	return p->half[PACKET]->counters.bytes + p->half[RING]->counters.bytes;
}

static uint64_t held(const struct pair *p)
{
	return p->half[PACKET]->held + p->half[RING]->held;
}

static void window_begins(struct pair *p)
{
	p->window_held = held(p);
	p->window_packets = 0;
	p->window_bytes = delivered(p);
	p->half[PACKET]->oldest = p->half[RING]->oldest = 0;
}

/* Were packets of this window late? */
static bool is_late(const struct pair *p)
{
	return MAX(p->half[PACKET]->oldest, p->half[RING]->oldest) > LATE;
}

static void turn_is_over(struct pair *p)
{
	p->turning = false;
	p->window_start = clock_now();
	window_begins(p);
	if (!p->turn.error)
		return;
	snprintf(p->source.error, sizeof(p->source.error),
		 "capture on %s cannot change its mode any more: %s", p->source.name,
		 strerror(p->turn.error));
	p->fixed = true;
	p->on = p->turn.before;
}

/* A window in the ring is over, with @weight in it at @rate packets/s. True: what comes waits for us. */
static bool waits(struct pair *p, uint64_t weight, uint64_t rate)
{
	if (!p->dense)
		return false;
	if (weight < SLOWED_LEAST || rate >= p->down || rate >= p->dense / SLOWED) {
		p->dense = 0;
		p->stays = 0;
		return false;
	}
	if (++p->slowed < SLOWED_WINDOWS)
		return false;
	p->dense = 0;
	p->stays = MIN(MAX(2 * p->stays, STAY_FIRST), STAY_MOST);
	p->stay = p->stays;
	return true;
}

/* Count @n more, and turn where the rate says so. */
static void adapt(struct pair *p, unsigned n)
{
	uint64_t now, passed, bytes, weight, rate;
	bool late, burst, bulk, to_ring;

	p->window_packets += n;
	if (p->turning || p->fixed)
		return;
	now = clock_now();
	passed = MAX(now - p->window_start, 1u);
	bytes = delivered(p) - p->window_bytes;
	weight = p->window_packets + bytes / BYTES_AS_PACKET;
	bulk = p->roomy && p->window_packets && (held(p) - p->window_held) / p->window_packets >= BULK;
	/*
	 * as much as it takes to turn has come before the window is over: a socket's buffer may not last so
	 * long
	 */
	burst = p->on == PACKET && !bulk && weight > p->up * WINDOW / NS_PER_SEC;
	if (passed < (p->alternate ? ALTERNATE_WINDOW : WINDOW) && !burst)
		return;
	rate = weight * NS_PER_SEC / passed;
	late = is_late(p);
	p->window_start = now;
	window_begins(p);
	to_ring = !bulk && (late || rate > (p->on == PACKET ? p->up : p->down));
	if (p->on == PACKET && p->stay && !late) {
		p->stay--;
		to_ring = false;
	}
	p->calm = to_ring ? 0 : p->calm + 1;
	if (p->source.prompt && !late)
		to_ring = false;
	if (p->on == RING && (waits(p, weight, rate) || (p->source.prompt && !late)))
		p->calm = CALM;
	if (p->on == RING && !to_ring && !bulk && p->calm < CALM && !p->alternate)
		return;
	if (p->alternate || to_ring != (p->on == RING)) {
		p->dense = to_ring ? rate : 0;
		p->slowed = 0;
		turn(p, !p->on, now);
	}
}

static unsigned poll_half(struct pair *p, unsigned half, unsigned budget, source_fn fn, void *arg)
{
	struct source *s = &p->half[half]->source;

	return s->ops->poll(s, budget, fn, arg); /* released by auto_release() */
}

/* While turning: the half that was left, until it is empty, then the other. */
static unsigned poll_turning(struct pair *p, unsigned budget, source_fn fn, void *arg)
{
	bool last_chance = !capture_turn_busy(&p->turn); /* asked first: nothing comes after it */
	unsigned left = !p->on, n;

	if (left == PACKET)
		capture_ring_relieve(p->half[RING]);
	n = poll_half(p, left, budget, fn, arg);
	if (!p->half[left]->drained && (n || clock_now() - p->turned < TURN_MOST))
		return n;
	if (n < budget)
		n += poll_half(p, p->on, budget - n, fn, arg);
	if (last_chance)
		turn_is_over(p);
	return n;
}

static unsigned poll_idle(struct pair *p, unsigned budget, source_fn fn, void *arg)
{
	unsigned n = poll_half(p, !p->on, budget, fn, arg);

	if (!p->fixed && (n || capture_group_reversals(p->group) != p->reversals))
		reverse(p);
	return n;
}

static unsigned auto_poll(struct source *s, unsigned budget, source_fn fn, void *arg)
{
	struct pair *p = CONTAINER_OF(s, struct pair, source);
	unsigned n;

	if (p->turning) {
		n = poll_turning(p, budget, fn, arg);
	} else {
		n = poll_half(p, p->on, budget, fn, arg);
		if (!n)
			n = poll_idle(p, budget, fn, arg);
	}
	adapt(p, n);
	return n;
}

static void auto_release(struct source *s)
{
	struct pair *p = CONTAINER_OF(s, struct pair, source);

	source_release(&p->half[RING]->source);
}

static void auto_counters(struct source *s, struct source_counters *out)
{
	struct pair *p = CONTAINER_OF(s, struct pair, source);
	struct source_counters c;

	source_counters(&p->half[RING]->source, out);
	source_counters(&p->half[PACKET]->source, &c);
	for (int i = 0; i < 2; i++)
		if (p->half[i]->counters.errors)
			memcpy(s->error, p->half[i]->source.error, sizeof(s->error));
	out->turns = p->turns;
	out->packets += c.packets;
	out->bytes += c.bytes;
	out->truncated += c.truncated;
	out->kernel_drops += c.kernel_drops;
	out->let_in += c.let_in;
	out->outdated += c.outdated;
	out->errors = MAX(out->errors, c.errors); /* both sockets hear of an interface going down */
}

static int auto_set_filter(struct source *s, const char *filter, char *err, size_t err_size)
{
	struct pair *p = CONTAINER_OF(s, struct pair, source);

	return capture_refilter(p->half, 2, filter, err, err_size);
}

static void auto_close(struct source *s)
{
	struct pair *p = CONTAINER_OF(s, struct pair, source);

	capture_group_put(p->group); /* first: its thread uses the sockets */
	if (p->source.fd >= 0)
		close(p->source.fd);
	source_close(&p->half[PACKET]->source);
	source_close(&p->half[RING]->source);
	free(p);
}

static const struct source_ops auto_ops = {
	.poll = auto_poll,
	.release = auto_release,
	.counters = auto_counters,
	.set_filter = auto_set_filter,
	.close = auto_close,
};

static int watch(const struct pair *p)
{
	struct epoll_event e = { .events = EPOLLIN };

	for (int i = 0; i < 2; i++)
		if (epoll_ctl(p->source.fd, EPOLL_CTL_ADD, p->half[i]->source.fd, &e) < 0)
			return -1;
	return 0;
}

struct source *capture_auto_new(struct capture *packet, struct capture *ring, const struct capture_options *o,
				struct capture_group *g, unsigned worker, char *err, size_t err_size)
{
	struct pair *p = calloc(1, sizeof(*p));

	if (!p) {
		snprintf(err, err_size, "capture on %s: out of memory", o->interface);
		return NULL;
	}
	p->source.ops = &auto_ops;
	p->half[PACKET] = packet;
	p->half[RING] = ring;
	p->group = g;
	p->worker = worker;
	p->on = PACKET;
	p->alternate = o->mode == CAPTURE_ALTERNATE;
	p->roomy = packet->buffer_bytes > ring->buffer_bytes;
	p->up = UP_RATE * capture_ring_retire_time() / NS_PER_MS;
	p->down = p->up / 2;
	p->window_start = clock_now();
	snprintf(p->source.name, sizeof(p->source.name), "%s", o->interface);
	memcpy(p->source.error, packet->source.error[0] ? packet->source.error : ring->source.error,
	       sizeof(p->source.error));
	p->source.fd = epoll_create1(EPOLL_CLOEXEC);
	if (p->source.fd >= 0 && watch(p) == 0)
		return &p->source;
	capture_fail(packet, "epoll", err, err_size);
	if (p->source.fd >= 0)
		close(p->source.fd);
	free(p);
	return NULL;
}
