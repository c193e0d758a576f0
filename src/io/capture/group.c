/*
 * All capture sockets of an interface: one fan-out group, and which member has which packets.
 *
 * In: options and a number of workers. Out: a source for each worker, whose packets come with a
 * wake-up for each (packet.c), from a ring (ring.c), or by whichever of both suits the
 * worker's rate (auto.c). A program of the group (fanout.c) says for each packet whose it
 * is, and which of that worker's two sockets takes it. So each packet is seen once, a connection
 * stays with its worker, and each worker goes from one socket to the other as it likes.
 *
 * Every socket joins under a drop-all filter, in the order in which it was made, before any lets
 * packets in: then no packet meets a group that is not complete.
 *
 * Replacing the program takes effect at once, but the system call returns only when no processor
 * can still be running the old one, some 10 ms later. So a thread of the group makes the call. It is
 * started at the first turn and sleeps in between; requests that come meanwhile are served together
 * by the next call. Workers meet here at their turns only, not at their packets.
 *
 * The group has another use: its flag PACKET_FANOUT_FLAG_DEFRAG makes the kernel reassemble IPv4
 * fragments, once for all members, before filter and program look at them, or a filter on ports would
 * drop all but the first. There must be one group only: fragments of all groups meet in one queue,
 * so of two groups on an interface the first would get every reassembled packet and the second
 * none.
 *
 * When an interface was down and comes up again the kernel has its sockets join anew: in the order
 * in which they were made, or, before Linux 4.20, in the opposite one. Which of the two is found out
 * from what arrives at idle sockets, and the program then counts members from the other end.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "io/capture/capture.h"
#include "program/sandbox.h"

#ifndef PACKET_FANOUT_FLAG_IGNORE_OUTGOING
#define PACKET_FANOUT_FLAG_IGNORE_OUTGOING 0x4000u
#endif

struct capture_group {
	struct fanout fanout;
	unsigned users;
	int fd; /* of the first member */
	pthread_t thread;
	bool started;
	pthread_mutex_t lock; /* for all below */
	pthread_cond_t wanted;
	struct fanout_members members;                 /* as wanted; the kernel follows */
	unsigned reversals;                            /* atomic: read without the lock */
	struct capture_turn *turn[FANOUT_MAX_WORKERS]; /* asked for, and not yet begun */
	bool stop;
};

/*
 * Join a fan-out group: of @type (PACKET_FANOUT_), a new one if *@group is 0, which then becomes
 * its number for those who follow. -1 with errno. Upper half of the option: type and flags; lower
 * half: the group's number.
 */
static int join(struct capture *c, unsigned type, unsigned *group)
{
	unsigned value = *group;
	socklen_t len = sizeof(value);
	int fd = c->source.fd;

	if (!value) {
		value = (0u | type | PACKET_FANOUT_FLAG_UNIQUEID | PACKET_FANOUT_FLAG_DEFRAG) << 16;
		if (c->direction != CAPTURE_BOTH && c->direction != CAPTURE_FROM_HOST)
			value |= PACKET_FANOUT_FLAG_IGNORE_OUTGOING << 16;
	}
	if (setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &value, sizeof(value)) < 0) {
		/* Older kernels know fewer flags. */
		value &= ~(PACKET_FANOUT_FLAG_IGNORE_OUTGOING << 16);
		if (setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &value, sizeof(value)) < 0)
			return -1;
	}
	return getsockopt(fd, SOL_PACKET, PACKET_FANOUT, group, &len);
}

static int set_program(int fd, const struct fanout *f, const struct fanout_members *m)
{
	struct sock_filter code[FANOUT_PROGRAM_MAX];
	struct sock_fprog program = { .len = (unsigned short)fanout_program(code, f, m), .filter = code };

	return setsockopt(fd, SOL_PACKET, PACKET_FANOUT_DATA, &program, sizeof(program));
}

/* A group of @n sockets, those of a worker side by side. NULL with errno. */
static struct capture_group *group_new(struct capture *list[], unsigned n, const struct fanout *f)
{
	struct capture_group *g = calloc(1, sizeof(*g));
	unsigned number = 0;

	if (!g)
		return NULL;
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->wanted, NULL);
	g->fanout = *f;
	g->users = 1;
	g->fd = list[0]->source.fd;
	g->members = (struct fanout_members){
		.each = n / f->workers,
		.both_ways = list[0]->direction == CAPTURE_BOTH,
		.link = list[0]->link == LINK_ETHERNET ? 14 : 0,
	};
	for (unsigned i = 0; i < n; i++) {
		if (join(list[i], PACKET_FANOUT_CBPF, &number) < 0 ||
		    (i == 0 && set_program(g->fd, &g->fanout, &g->members) < 0)) {
			capture_group_put(g);
			return NULL;
		}
	}
	return g;
}

static void stop(struct capture_group *g)
{
	if (!g->started)
		return;
	pthread_mutex_lock(&g->lock);
	g->stop = true;
	pthread_cond_signal(&g->wanted);
	pthread_mutex_unlock(&g->lock);
	pthread_join(g->thread, NULL);
	g->started = false;
}

void capture_group_put(struct capture_group *g)
{
	stop(g); /* its socket goes, and others are not polled any more */
	if (--g->users)
		return;
	pthread_cond_destroy(&g->wanted);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

static void point(struct fanout_members *m, unsigned worker, unsigned half)
{
	m->turned = (m->turned & ~(1u << worker)) | half << worker;
}

/* Take what is asked for off the list; false when nothing is. */
static bool take_turns(struct capture_group *g, struct capture_turn *taken[FANOUT_MAX_WORKERS])
{
	bool any = false;

	for (unsigned i = 0; i < g->fanout.workers; i++) {
		taken[i] = g->turn[i];
		g->turn[i] = NULL;
		any |= taken[i] != NULL;
	}
	return any;
}

static void *run(void *arg)
{
	struct capture_turn *taken[FANOUT_MAX_WORKERS] = { NULL };
	struct capture_group *g = arg;
	struct fanout_members m;
	int error;

	pthread_mutex_lock(&g->lock);
	while (!g->stop) {
		if (!take_turns(g, taken)) {
			pthread_cond_wait(&g->wanted, &g->lock);
			continue;
		}
		m = g->members;
		pthread_mutex_unlock(&g->lock);
		error = set_program(g->fd, &g->fanout, &m) < 0 ? errno : 0;
		pthread_mutex_lock(&g->lock);
		for (unsigned i = 0; i < g->fanout.workers; i++) {
			if (!taken[i])
				continue;
			if (error)
				point(&g->members, i, taken[i]->before);
			taken[i]->error = error;
			__atomic_store_n(&taken[i]->busy, false, __ATOMIC_RELEASE);
		}
	}
	pthread_mutex_unlock(&g->lock);
	return NULL;
}

/* The thread must not take the signals that others wait for. Under the lock. */
static bool start(struct capture_group *g)
{
	sigset_t all, before;

	if (g->started || g->stop)
		return g->started;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	g->started = !pthread_create(&g->thread, NULL, run, g);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return g->started;
}

bool capture_group_turn(struct capture_group *g, unsigned worker, unsigned half, struct capture_turn *t)
{
	bool can;

	pthread_mutex_lock(&g->lock);
	can = start(g);
	if (can) {
		t->before = g->members.turned >> worker & 1;
		t->error = 0;
		point(&g->members, worker, half);
		__atomic_store_n(&t->busy, true, __ATOMIC_RELAXED);
		g->turn[worker] = t;
		pthread_cond_signal(&g->wanted);
	}
	pthread_mutex_unlock(&g->lock);
	return can;
}

void capture_group_reverse(struct capture_group *g, unsigned seen)
{
	pthread_mutex_lock(&g->lock);
	if (g->reversals == seen) {
		g->members.reversed = !g->members.reversed;
		__atomic_store_n(&g->reversals, seen + 1, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&g->lock);
}

unsigned capture_group_reversals(const struct capture_group *g)
{
	return __atomic_load_n(&g->reversals, __ATOMIC_RELAXED);
}

/* What is being opened: the sockets of worker w are list[w * each] and the one behind it. */
struct opening {
	const struct capture_options *o;
	const struct fanout *fanout;
	unsigned each, n;
	struct capture *list[2 * FANOUT_MAX_WORKERS];
	char *err;
	size_t err_size;
};

static void give_up_rings(struct opening *s, const char *why)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < s->n; i++) {
		if (i % 2) {
			source_close(&s->list[i]->source);
			continue;
		}
		s->list[kept] = s->list[i];
		snprintf(s->list[kept]->source.error, sizeof(s->list[kept]->source.error),
			 "%.120s; continuing without a ring", why);
		kept++;
	}
	s->n = kept;
	s->each = 1;
}

static int open_sockets(struct opening *s)
{
	char why[256];

	for (unsigned w = 0; w < s->fanout->workers; w++) {
		struct capture *c = s->o->mode == CAPTURE_RING
					    ? capture_ring_new(s->o, s->err, s->err_size)
					    : capture_packet_new(s->o, s->err, s->err_size);

		if (!c)
			return -1;
		s->list[s->n++] = c;
		if (s->each == 1)
			continue;
		c = capture_ring_new(s->o, why, sizeof(why));
		if (c)
			s->list[s->n++] = c;
		else
			give_up_rings(s, why);
	}
	return 0;
}

static int let_all_in(struct opening *s)
{
	for (unsigned i = 0; i < s->n; i++)
		if (capture_let_in(s->list[i], s->err, s->err_size) < 0)
			return -1;
	return 0;
}

/*
 * Lock the filters, but for the socket by which the group's program is replaced: the kernel would refuse
 * that, too. The sandbox guards that one.
 */
static int settle_filters(struct opening *s)
{
	for (unsigned i = 0; i < s->n; i++) {
		if (s->o->filter_changes)
			sandbox_keep_changing(s->list[i]->source.fd);
		else if ((i > 0 || s->each == 1) && capture_filter_lock(s->list[i]->source.fd) < 0)
			return capture_fail(s->list[i], "SO_LOCK_FILTER", s->err, s->err_size);
	}
	return 0;
}

/* One source of each worker from its two sockets, which are then the source's. */
static int pair_up(struct opening *s, struct capture_group *g, struct source *out[])
{
	for (unsigned w = 0; w < s->fanout->workers; w++) {
		out[w] =
			capture_auto_new(s->list[2 * w], s->list[2 * w + 1], s->o, g, w, s->err, s->err_size);
		if (!out[w])
			return -1;
		g->users++;
		s->list[2 * w] = s->list[2 * w + 1] = NULL;
	}
	return 0;
}

static int finish(struct opening *s, struct source *out[])
{
	struct capture_group *g = NULL;
	unsigned number = 0;
	int rc;

	if (s->n == 1) {
		/* Without the group only fragments are missed. */
		(void)join(s->list[0], PACKET_FANOUT_CPU, &number);
	} else {
		g = group_new(s->list, s->n, s->fanout);
		if (!g)
			return capture_fail(s->list[0], "PACKET_FANOUT", s->err, s->err_size);
	}
	rc = let_all_in(s);
	if (rc == 0)
		rc = settle_filters(s);
	if (rc == 0 && s->each == 2)
		rc = pair_up(s, g, out);
	if (g)
		capture_group_put(g);
	for (unsigned w = 0; rc == 0 && s->each == 1 && w < s->n; w++) {
		out[w] = &s->list[w]->source;
		s->list[w] = NULL;
	}
	return rc;
}

int capture_open_workers(const struct capture_options *o, const struct fanout *f, struct source *list[],
			 char *err, size_t err_size)
{
	struct opening s = { .o = o, .fanout = f, .err = err, .err_size = err_size };
	int rc;

	if (!o->interface[0] || strlen(o->interface) >= IFNAMSIZ) {
		snprintf(err, err_size, "interface \"%s\": a name has 1 to %d characters", o->interface,
			 IFNAMSIZ - 1);
		return -1;
	}
	memset(list, 0, f->workers * sizeof(list[0]));
	s.each = o->mode == CAPTURE_RING || o->mode == CAPTURE_PACKET ? 1 : 2;
	rc = open_sockets(&s);
	if (rc == 0)
		rc = finish(&s, list);
	if (rc == 0)
		return 0;
	for (unsigned w = 0; w < f->workers; w++)
		if (list[w])
			source_close(list[w]);
	for (unsigned i = 0; i < s.n; i++)
		if (s.list[i])
			source_close(&s.list[i]->source);
	return -1;
}

struct source *capture_open(const struct capture_options *o, char *err, size_t err_size)
{
	static const struct fanout alone = { .workers = 1 };
	struct source *s;

	return capture_open_workers(o, &alone, &s, err, err_size) < 0 ? NULL : s;
}
