/*
 * Recorded traffic - theory of operation
 *
 * A disk, a pipe or what unpacks a file may keep its reader waiting, and whoever replays must not wait: so a
 * thread of its own reads, and hands the packets over by a list. It reads ahead by AHEAD bytes at most,
 * however large the files are, and then sleeps until half of them are taken. The other side takes all that is
 * there at once, so a lock is taken for many packets together.
 *
 * If a pipe is silent, what waits to be put in order is handed over: nothing else may come for long.
 *
 * Loops: the files are read again from the beginning, and the times go on from where they ended.
 */
#include "io/file/recording.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/util.h"
#include "io/file/merge.h"

#define AHEAD (16u << 20)
#define PORTION (256u << 10) /* handed over together */
#define COMPLAINTS 8

struct list {
	struct recorded *first, **end;
	size_t bytes;
};

struct recording {
	struct merge *merge;
	struct merge_events events;
	uint64_t loops;
	int fd;
	pthread_t thread;
	bool started;
	/* of the reader alone */
	struct list portion;
	uint64_t loop, origin, shift, last; /* times, ns: of the first packet; what is added; the latest */
	bool any;
	/* under the lock */
	pthread_mutex_t lock;
	pthread_cond_t room;
	struct list ready;
	bool waiting; /* the other side has found nothing */
	bool at_end, stop;
	struct recording_counters n;
	uint64_t done, all; /* bytes of the files, over all loops; all 0: not known */
	uint64_t read;      /* bytes of memory of all packets so far */
	char complaint[COMPLAINTS][512];
	unsigned complaints;
	/* of the other side alone */
	struct recorded *next;
	struct recorded *taken;
	uint64_t taken_bytes;
};

static void list_reset(struct list *l)
{
	l->first = NULL;
	l->end = &l->first;
	l->bytes = 0;
}

static void free_all(struct recorded *x)
{
	while (x) {
		struct recorded *next = x->next;

		free(x);
		x = next;
	}
}

static void wake(struct recording *r)
{
	const uint64_t one = 1;

	if (r->waiting && write(r->fd, &one, sizeof(one)) == sizeof(one))
		r->waiting = false;
}

/* Hand the portion over. Returns false if nobody wants more. */
static bool hand_over(struct recording *r)
{
	bool go_on;

	pthread_mutex_lock(&r->lock);
	if (r->portion.first) {
		*r->ready.end = r->portion.first;
		r->ready.end = r->portion.end;
		r->ready.bytes += r->portion.bytes;
		r->read += r->portion.bytes;
		list_reset(&r->portion);
		wake(r);
	}
	r->n = *merge_counters(r->merge);
	merge_progress(r->merge, &r->done, &r->all);
	r->done += r->loop * r->all;
	r->all *= r->loops;
	while (r->ready.bytes > AHEAD && !r->stop)
		pthread_cond_wait(&r->room, &r->lock);
	go_on = !r->stop;
	pthread_mutex_unlock(&r->lock);
	return go_on;
}

static void put(struct recording *r, struct recorded *x)
{
	if (!r->any)
		r->origin = x->raw.time;
	r->any = true;
	x->raw.time += r->shift;
	x->loop = (uint32_t)r->loop;
	x->shift = r->shift;
	x->next = NULL;
	r->last = MAX(r->last, x->raw.time);
	*r->portion.end = x;
	r->portion.end = &x->next;
	r->portion.bytes += x->bytes;
}

/* A pipe is silent. */
static bool on_idle(void *arg)
{
	struct recording *r = arg;
	struct recorded *x;

	while ((x = merge_flush(r->merge)))
		put(r, x);
	return !hand_over(r);
}

static void on_complaint(void *arg, const char *words)
{
	struct recording *r = arg;

	pthread_mutex_lock(&r->lock);
	if (r->complaints < COMPLAINTS)
		snprintf(r->complaint[r->complaints++], sizeof(r->complaint[0]), "%s", words);
	pthread_mutex_unlock(&r->lock);
}

static bool read_once(struct recording *r)
{
	struct recorded *x;

	while ((x = merge_next(r->merge))) {
		put(r, x);
		if (r->portion.bytes >= PORTION && !hand_over(r))
			return false;
	}
	return hand_over(r);
}

static void *run(void *arg)
{
	struct recording *r = arg;

	while (read_once(r) && ++r->loop < r->loops && r->any && !merge_rewind(r->merge))
		r->shift = r->last + NS_PER_MS - r->origin;
	pthread_mutex_lock(&r->lock);
	r->at_end = true;
	wake(r);
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

struct recording *recording_open(const char *const path[], unsigned n, const char *filter, uint64_t loops,
				 char *err, size_t err_size)
{
	struct recording *r = calloc(1, sizeof(*r));

	if (!r) {
		snprintf(err, err_size, "out of memory");
		return NULL;
	}
	r->loops = loops;
	r->waiting = true;
	list_reset(&r->ready);
	list_reset(&r->portion);
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->room, NULL);
	r->events = (struct merge_events){ .idle = NULL, .complain = on_complaint, .arg = r };
	r->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->fd < 0)
		snprintf(err, err_size, "cannot make an eventfd: %s", strerror(errno));
	else
		r->merge = merge_open(path, n, filter, &r->events, err, err_size);
	if (r->merge && (loops == 1 || !merge_pipe(r->merge)))
		return r;
	if (r->merge)
		snprintf(err, err_size, "file %s: a pipe can be read only once; accepted: files, or no -T",
			 merge_pipe(r->merge));
	recording_close(r);
	return NULL;
}

int recording_start(struct recording *r)
{
	sigset_t all, before;
	int rc;

	r->events.idle = on_idle;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&r->thread, NULL, run, r);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	r->started = rc == 0;
	return rc ? -1 : 0;
}

int recording_fd(const struct recording *r)
{
	return r->fd;
}

const struct recorded *recording_next(struct recording *r)
{
	uint64_t none;

	if (r->next)
		return r->next;
	pthread_mutex_lock(&r->lock);
	r->next = r->ready.first;
	list_reset(&r->ready);
	if (!r->next) {
		r->waiting = true;
		if (read(r->fd, &none, sizeof(none)) < 0 && errno != EAGAIN)
			r->waiting = true; /* it stays readable, which costs a look */
		if (r->at_end)
			wake(r);
	}
	pthread_cond_signal(&r->room);
	pthread_mutex_unlock(&r->lock);
	return r->next;
}

void recording_taken(struct recording *r)
{
	struct recorded *x = r->next;

	r->next = x->next;
	r->taken_bytes += x->bytes;
	x->next = r->taken;
	r->taken = x;
}

void recording_release(struct recording *r)
{
	free_all(r->taken);
	r->taken = NULL;
}

bool recording_at_end(struct recording *r)
{
	bool end;

	if (r->next)
		return false;
	pthread_mutex_lock(&r->lock);
	end = r->at_end && !r->ready.first;
	pthread_mutex_unlock(&r->lock);
	return end;
}

double recording_share(struct recording *r)
{
	double share;

	pthread_mutex_lock(&r->lock);
	share = -1;
	if (r->all) /* of what was read; of that, what was taken */
		share = MIN((double)r->done / (double)r->all, 1.0) * (double)r->taken_bytes /
			(double)MAX(r->read, 1u);
	pthread_mutex_unlock(&r->lock);
	return share;
}

void recording_counters(struct recording *r, struct recording_counters *n)
{
	pthread_mutex_lock(&r->lock);
	*n = r->n;
	pthread_mutex_unlock(&r->lock);
}

void recording_complaint(struct recording *r, char *words, size_t size)
{
	words[0] = '\0';
	pthread_mutex_lock(&r->lock);
	if (r->complaints)
		snprintf(words, size, "%s", r->complaint[--r->complaints]);
	pthread_mutex_unlock(&r->lock);
}

void recording_close(struct recording *r)
{
	if (!r)
		return;
	if (r->started) {
		pthread_mutex_lock(&r->lock);
		r->stop = true;
		pthread_cond_signal(&r->room);
		pthread_mutex_unlock(&r->lock);
		pthread_join(r->thread, NULL);
	}
	free_all(r->next);
	free_all(r->taken);
	free_all(r->ready.first);
	free_all(r->portion.first);
	merge_close(r->merge);
	if (r->fd >= 0)
		close(r->fd);
	pthread_cond_destroy(&r->room);
	pthread_mutex_destroy(&r->lock);
	free(r);
}
