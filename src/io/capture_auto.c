/*
 * Live capture that is quick while packets are few and cheap when they are many.
 *
 * In: a socket with a wake-up for each packet, and a ring that wakes us once a block. Out: one
 * source whose packets come from the one or the other, each packet once.
 *
 * Both are members of one fan-out group of the interface, and a packet is given to the member
 * whose index the group's program returns. The program is "return 0" or "return 1": replacing it
 * turns the stream of packets from one socket to the other. None is missed and none is seen twice,
 * the idle socket costs nothing, and fragments are reassembled once for both.
 *
 * Replacing the program takes effect at once, but the system call returns only when no processor
 * can still be running the old one, some 10 ms later. So a thread of its own makes the call; it is
 * started at the first turn, sleeps in between and touches nothing but the number it is given.
 *
 * Order: until the call has returned, and the socket that was left has then been found empty, each
 * poll empties that one first and looks at the other only afterwards. What was captured earlier is
 * so delivered earlier. A ring is empty when its block in the making is, too; the kernel retires
 * that within the block timer's time, and as long the packets behind it have to wait.
 *
 * When to turn: packets are counted over a window of time. A wake-up for each packet costs a fixed
 * sum; the ring saves most of these from 1000 packets/s on, but lets packets wait for their block.
 * So what is saved is weighed against the retire time, which is measured, because it may be longer
 * than asked for: the rate from which on the ring is worth it grows with it. Back at half that
 * rate, which is above the rates at which a quick delivery is promised. Bytes count, too: large
 * packets fill a socket's buffer at few packets a second, and the ring spares them a copy.
 *
 * When an interface was down its sockets join the group anew, on some kernels in the other order.
 * Packets that come by the wrong socket show that, and the indexes are exchanged.
 */
#include <errno.h>
#include <linux/filter.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/capture.h"

#define UP_RATE 12000u /* packets/s at a retire time of 1 ms */
#define BYTES_AS_PACKET 8192u  /* so many bytes weigh as much as one more packet */
#define WINDOW (50 * NS_PER_MS)
#define ALTERNATE_WINDOW (5 * NS_PER_MS) /* CAPTURE_ALTERNATE */
#define TURN_MOST (50 * NS_PER_MS)       /* waiting for the last block of a ring */

enum half { PACKET, RING };

/* The thread that turns, and what the two threads tell each other. */
struct selector {
	pthread_t thread;
	bool started;
	int fd; /* any member of the group */
	sem_t wanted;
	unsigned index; /* written before wanted, read after it */
	bool stop;      /* likewise */
	bool busy;      /* atomic: set by the worker, cleared by the thread */
	int error;      /* of the last turn; errno */
};

struct pair {
	struct source source;
	struct capture *half[2];
	unsigned on;      /* the half that packets go to, or soon will */
	unsigned swapped; /* 1: the half's index in the group is the other one's */
	bool turning;     /* the other half may still have packets that are older */
	uint64_t turned;  /* when that began, ns */
	bool fixed;       /* turning failed once: not again */
	bool alternate;
	uint64_t up, down; /* packets/s */
	uint64_t window_start, window_packets;
	uint64_t window_bytes; /* delivered by both when the window began */
	uint64_t turns;
	struct selector selector;
};

static int set_index(int fd, unsigned index)
{
	struct sock_filter code = BPF_STMT(BPF_RET | BPF_K, index);
	struct sock_fprog program = { .len = 1, .filter = &code };

	return setsockopt(fd, SOL_PACKET, PACKET_FANOUT_DATA, &program, sizeof(program));
}

static void *selector_run(void *arg)
{
	struct selector *s = arg;

	for (;;) {
		while (sem_wait(&s->wanted) < 0)
			;
		if (s->stop)
			return NULL;
		s->error = set_index(s->fd, s->index) < 0 ? errno : 0;
		__atomic_store_n(&s->busy, false, __ATOMIC_RELEASE);
	}
}

static bool selector_busy(const struct selector *s)
{
	return __atomic_load_n(&s->busy, __ATOMIC_ACQUIRE);
}

/* The thread must not take the signals that the worker waits for. */
static bool selector_start(struct selector *s)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	s->started = !pthread_create(&s->thread, NULL, selector_run, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return s->started;
}

static void selector_stop(struct selector *s)
{
	if (s->started) {
		s->stop = true;
		sem_post(&s->wanted);
		pthread_join(s->thread, NULL);
	}
	sem_destroy(&s->wanted);
}

static void turn(struct pair *p, unsigned to, uint64_t now)
{
	struct selector *s = &p->selector;

	if (!s->started && !selector_start(s)) {
		p->fixed = true;
		return;
	}
	p->on = to;
	p->turning = true;
	p->turns++;
	p->turned = now;
	s->index = to ^ p->swapped;
	__atomic_store_n(&s->busy, true, __ATOMIC_RELEASE);
	sem_post(&s->wanted);
}

static uint64_t delivered(const struct pair *p)
{
	return p->half[PACKET]->counters.bytes + p->half[RING]->counters.bytes;
}

static void window_begins(struct pair *p)
{
	p->window_packets = 0;
	p->window_bytes = delivered(p);
}

static void turn_is_over(struct pair *p)
{
	p->turning = false;
	window_begins(p);
	if (!p->selector.error)
		return;
	snprintf(p->source.error, sizeof(p->source.error), "capture on %s stays as it is: %s",
		 p->source.name, strerror(p->selector.error));
	p->fixed = true;
	p->on = !p->on;
}

/* Count @n more, and turn where the rate says so. */
static void adapt(struct pair *p, unsigned n)
{
	uint64_t now, passed, weight, rate;

	p->window_packets += n;
	if (p->turning || p->fixed)
		return;
	now = capture_clock_ns(CLOCK_MONOTONIC);
	passed = now - p->window_start;
	if (passed < (p->alternate ? ALTERNATE_WINDOW : WINDOW))
		return;
	weight = p->window_packets + (delivered(p) - p->window_bytes) / BYTES_AS_PACKET;
	rate = weight * NS_PER_SEC / passed;
	p->window_start = now;
	window_begins(p);
	if (p->alternate || (p->on == PACKET ? rate > p->up : rate < p->down))
		turn(p, !p->on, now);
}

static unsigned poll_half(struct pair *p, unsigned half, unsigned budget, source_fn fn, void *arg)
{
	return source_poll(&p->half[half]->source, budget, fn, arg);
}

/* While turning: the half that was left, until it is empty, then the other. */
static unsigned poll_turning(struct pair *p, unsigned budget, source_fn fn, void *arg)
{
	bool last_chance = !selector_busy(&p->selector); /* asked first: nothing comes after it */
	unsigned left = !p->on, n = poll_half(p, left, budget, fn, arg);

	if (!p->half[left]->drained &&
	    (n || capture_clock_ns(CLOCK_MONOTONIC) - p->turned < TURN_MOST))
		return n;
	if (n < budget)
		n += poll_half(p, p->on, budget - n, fn, arg);
	if (last_chance)
		turn_is_over(p);
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
		if (!n && (n = poll_half(p, !p->on, budget, fn, arg)) && !p->fixed) {
			p->swapped = !p->swapped;
			turn(p, p->on, capture_clock_ns(CLOCK_MONOTONIC));
		}
	}
	adapt(p, n);
	return n;
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

	selector_stop(&p->selector);
	if (p->source.fd >= 0)
		close(p->source.fd);
	source_close(&p->half[PACKET]->source);
	source_close(&p->half[RING]->source);
	free(p);
}

static const struct source_ops auto_ops = {
	.poll = auto_poll,
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

/* One group, whose program gives the packets to the member that joined first. */
static int make_group(const struct pair *p)
{
	unsigned group = 0;

	if (capture_join(p->half[PACKET], PACKET_FANOUT_CBPF, &group) < 0 ||
	    set_index(p->half[PACKET]->source.fd, PACKET) < 0)
		return -1;
	return capture_join(p->half[RING], PACKET_FANOUT_CBPF, &group);
}

static int set_up(struct pair *p, char *err, size_t err_size)
{
	p->source.fd = epoll_create1(EPOLL_CLOEXEC);
	if (p->source.fd < 0)
		return capture_fail(p->half[PACKET], "epoll", err, err_size);
	if (make_group(p) < 0)
		return capture_fail(p->half[PACKET], "PACKET_FANOUT", err, err_size);
	for (int i = 0; i < 2; i++)
		if (capture_let_in(p->half[i], err, err_size) < 0)
			return -1;
	if (watch(p) < 0)
		return capture_fail(p->half[PACKET], "epoll", err, err_size);
	return 0;
}

struct source *capture_auto_new(struct capture *packet, struct capture *ring,
				const struct capture_options *o, char *err, size_t err_size)
{
	struct pair *p = calloc(1, sizeof(*p));

	if (!p) {
		snprintf(err, err_size, "capture on %s: out of memory", o->interface);
		source_close(&packet->source);
		source_close(&ring->source);
		return NULL;
	}
	p->source.ops = &auto_ops;
	p->half[PACKET] = packet;
	p->half[RING] = ring;
	p->on = PACKET;
	p->alternate = o->mode == CAPTURE_ALTERNATE;
	p->up = UP_RATE * capture_ring_retire_time() / NS_PER_MS;
	p->down = p->up / 2;
	p->window_start = capture_clock_ns(CLOCK_MONOTONIC);
	p->selector.fd = packet->source.fd;
	sem_init(&p->selector.wanted, 0, 0);
	snprintf(p->source.name, sizeof(p->source.name), "%s", o->interface);
	memcpy(p->source.error, packet->source.error[0] ? packet->source.error : ring->source.error,
	       sizeof(p->source.error));
	if (set_up(p, err, err_size) < 0) {
		auto_close(&p->source);
		return NULL;
	}
	return &p->source;
}
