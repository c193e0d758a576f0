/*
 * --write - theory of operation
 *
 *   record_request()  in a worker: a copy of a packet into its queue; without room it is shed, and counted
 *   queue.c           one for each worker, without locks
 *   answers.c         what the online server sends, by sockets of the thread's own
 *   run()             the thread: takes the earliest packet of all these, makes a block of it
 *                     (io/file/pcapng.h) and puts it into the file (io/file/output.h)
 *
 * A worker is never slowed by a disk, nor by what packs a file: it only copies. It makes no system call,
 * unless so much waits that the thread has to be woken, which sleeps a few ms between its turns otherwise.
 *
 * Packets of several queues are put in order by waiting for LAG, by which all of them have shown what was
 * captured until then. If a queue fills up, nothing is waited for: whoever reads a file puts it in order
 * again.
 *
 * What is written is what the engine is given: what no rule matches, and what -F leaves out, is none of it.
 * An answer is written if a request of its connection was, which is remembered in a table without chains: a
 * connection that another one has pushed out of its place comes back with its next request. An answer may
 * overtake its request, where a worker is late; so what has none yet waits for it, in a queue of its own.
 *
 * Packets carry the time of capture, by the clock that is never set. A file has the wall clock's: the
 * difference is measured again and again, and taken over when it has really changed, because somebody has
 * set the clock; otherwise times would jitter by what measuring costs.
 */
#include "tcpcopy/record/record.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/siphash.h"
#include "base/util.h"
#include "io/file/pcapng.h"
#include "packet/build.h"
#include "program/clock.h"
#include "program/log.h"
#include "tcpcopy/record/impl.h"

#define QUEUES_BYTES (32u << 20) /* of all workers together */
#define QUEUE_LEAST (2u << 20)
#define LAG (40 * NS_PER_MS) /* more than answers are late (answers.c) */
#define NAP_MS 5             /* while something waits */
#define SLEEP_MS 20
#define TURN 4096u /* packets, before the clock is looked at again */
#define FLUSH_EVERY (100 * NS_PER_MS)
#define LOOK_EVERY NS_PER_SEC
#define CLOCK_SET (1 * NS_PER_MS) /* by so much it was set; less is how long it takes to read two clocks */
#define CLOCK_READ (100 * NS_PER_US)
#define CONNECTIONS (1u << 18)
#define PATIENCE (800 * NS_PER_MS) /* with LAG, less than the second in which readers put packets in order */
#define WAITING_BYTES (4u << 20)

struct record {
	const struct config *config;
	struct output *output;
	struct record_interfaces interfaces;
	uint8_t *head;
	struct record_answers *answers; /* NULL: they are not written */
	struct record_queue *waiting;   /* of these, those without a request so far */
	struct record_counters n;
	struct siphash_key key;
	uint32_t *connection; /* tags, by hash */
	uint64_t wall;        /* ns from the clock of packets to the wall clock */
	uint64_t flushed_at, looked_at;
	int wake; /* eventfd */
	bool asleep, stop, started, said_shed;
	pthread_t thread;
	struct record_worker worker[RUN_MAX_WORKERS];
};

/* --- the workers' side --- */

static void wake(struct record *r)
{
	const uint64_t one = 1;

	if (__atomic_exchange_n(&r->asleep, false, __ATOMIC_ACQ_REL) && write(r->wake, &one, sizeof(one)) < 0)
		__atomic_store_n(&r->asleep, true, __ATOMIC_RELEASE); /* it wakes by itself, soon */
}

/* The thread looks at it, too. */
static void shed(struct record_worker *w)
{
	__atomic_store_n(&w->shed, w->shed + 1, __ATOMIC_RELAXED);
}

/* Where in *p what is written begins: all of it is, or, without an Ethernet header, what begins at @ip. */
static uint32_t first_byte(const struct raw_packet *p, uint32_t ip)
{
	return p->link == LINK_ETHERNET ? 0 : ip;
}

void record_request(struct record_worker *w, const struct raw_packet *p, unsigned interface, uint64_t rules,
		    bool begins)
{
	struct queued *x;
	uint32_t ip, from, captured;

	if (!parse_ip_offset(p->link, p->data, p->captured, &ip))
		return; /* then it was not parsed before */
	from = first_byte(p, ip);
	captured = MIN(p->captured - from, PCAPNG_PACKET_MOST);
	w->requests++;
	x = record_queue_room(w->queue, captured);
	if (!x) {
		shed(w);
		return;
	}
	x->interface = (uint16_t)interface;
	x->outgoing = false;
	x->begins = begins;
	x->time = p->time;
	x->rules = rules;
	x->captured = captured;
	x->len = p->len - from;
	x->bare = p->link != LINK_ETHERNET;
	x->ip = (uint16_t)(ip - from);
	memcpy(x->data, p->data + from, captured);
	if (record_queue_put(w->queue))
		wake(w->record);
}

void record_copy(struct record_worker *w, const struct tx_segment *t, uint64_t now, uint64_t rules)
{
	const uint32_t len = (uint32_t)build_headers_len(t) + t->len;
	struct queued *x;

	w->copies++;
	x = record_queue_room(w->queue, len);
	if (!x || !build_packet(x->data, len, t)) {
		shed(w);
		return;
	}
	x->interface = 0;
	x->outgoing = x->bare = true;
	x->ip = 0;
	x->begins = t->flags & TCPF_SYN;
	x->time = now;
	x->rules = rules;
	x->captured = x->len = len;
	if (record_queue_put(w->queue))
		wake(w->record);
}

/* --- the thread --- */

static void set_clock(struct record *r)
{
	const uint64_t before = clock_now(), wall = clock_wall(), after = clock_now();
	const uint64_t now = wall - (before + (after - before) / 2);
	const int64_t change = (int64_t)(now - r->wall);

	if (r->wall && after - before > CLOCK_READ)
		return; /* something came between; the next time will tell */
	if (change > (int64_t)CLOCK_SET || change < -(int64_t)CLOCK_SET)
		r->wall = now;
}

/* The place of the connection from *client to *online, and its tag. */
static uint32_t *connection(const struct record *r, const struct endpoint *client,
			    const struct endpoint *online, uint32_t *tag)
{
	uint8_t key[2 * (sizeof(client->addr.b) + sizeof(client->port))];
	uint64_t hash;

	memcpy(key, client->addr.b, 16);
	memcpy(key + 16, online->addr.b, 16);
	memcpy(key + 32, &client->port, 2);
	memcpy(key + 34, &online->port, 2);
	hash = siphash(&r->key, key, sizeof(key));
	*tag = (uint32_t)(hash >> 32) | 1;
	return &r->connection[hash & (CONNECTIONS - 1)];
}

static void put(struct record *r, struct pcapng_packet *p, uint64_t time, const uint8_t *data, uint64_t now)
{
	p->time = time + r->wall;
	output_put(r->output, pcapng_packet(output_room(r->output, now), OUTPUT_BLOCK_MOST, p, data), now);
}

static void write_request(struct record *r, const struct queued *x, uint64_t now)
{
	struct pcapng_packet p = { .interface = x->interface,
				   .captured = x->captured,
				   .len = x->len,
				   .bare = x->bare,
				   .outgoing = x->outgoing };
	char comment[RECORD_COMMENT];
	struct segment s;
	uint32_t tag, *place;

	if ((x->begins || r->answers) && parse_ip(&s, x->data + x->ip, x->captured - x->ip, x->len - x->ip,
						  CHECKSUM_TRUSTED) == PARSE_OK) {
		if (x->begins)
			p.comment = record_comment(comment, r->config, &s.tuple, x->rules);
		if (r->answers) {
			place = connection(r, &s.tuple.src, &s.tuple.dst, &tag);
			*place = tag;
		}
	}
	put(r, &p, x->time, x->data, now);
}

/* Is a request of the connection in the file, to which *s is an answer? */
static bool is_answer(const struct record *r, const struct segment *s)
{
	uint32_t tag;

	return *connection(r, &s->tuple.dst, &s->tuple.src, &tag) == tag;
}

static void put_answer(struct record *r, struct pcapng_packet *p, uint64_t time, const uint8_t *data,
		       uint64_t now)
{
	__atomic_store_n(&r->n.answers, r->n.answers + 1, __ATOMIC_RELEASE);
	put(r, p, time, data, now);
}

/* Of the answers that wait, take the oldest: has a request come meanwhile? */
static void decide(struct record *r, const struct queued *x, uint64_t now)
{
	struct pcapng_packet p = { .interface = x->interface,
				   .captured = x->captured,
				   .len = x->len,
				   .bare = x->bare,
				   .outgoing = true };
	struct segment s;

	if (parse_ip(&s, x->data + x->ip, x->captured - x->ip, x->len - x->ip, CHECKSUM_TRUSTED) ==
		    PARSE_OK &&
	    is_answer(r, &s))
		put_answer(r, &p, x->time, x->data, now);
	record_queue_take(r->waiting);
}

/* Decide about those that have waited long enough. @all: about each. */
static void decide_due(struct record *r, bool all, uint64_t now)
{
	const struct queued *x;

	while ((x = record_queue_next(r->waiting)) && (all || x->time + PATIENCE < now))
		decide(r, x, now);
}

/* Keep an answer, of which no request has come yet. */
static void wait_for_request(struct record *r, const struct pcapng_packet *p, uint64_t time, uint32_t ip,
			     const uint8_t *data, uint64_t now)
{
	struct queued *x;

	while (!(x = record_queue_room(r->waiting, p->captured)))
		decide(r, record_queue_next(r->waiting), now);
	x->interface = (uint16_t)p->interface;
	x->time = time;
	x->captured = p->captured;
	x->len = p->len;
	x->bare = p->bare;
	x->ip = (uint16_t)ip;
	memcpy(x->data, data, p->captured);
	record_queue_put(r->waiting);
}

static void write_answer(struct record *r, const struct record_answer *a, uint64_t now)
{
	const struct raw_packet *x = a->packet;
	struct pcapng_packet p = { .interface = a->interface,
				   .outgoing = true,
				   .bare = x->link != LINK_ETHERNET };
	const uint8_t *data;
	struct segment s;
	uint32_t ip, from;

	if (!parse_ip_offset(x->link, x->data, x->captured, &ip))
		return;
	from = first_byte(x, ip);
	data = x->data + from;
	if (parse_ip(&s, x->data + ip, x->captured - ip, x->len - ip, CHECKSUM_TRUSTED) != PARSE_OK)
		return;
	p.len = x->len - from;
	p.captured = r->config->write_answers == ANSWERS_ALL
			     ? MIN(x->captured - from, PCAPNG_PACKET_MOST)
			     : (uint32_t)(s.raw_options + s.raw_options_len - data);
	if (is_answer(r, &s))
		put_answer(r, &p, x->time, data, now);
	else
		wait_for_request(r, &p, x->time, ip - from, data, now);
}

/* The worker whose queue has the earliest packet; NULL: all are empty. */
static struct record_worker *earliest(struct record *r, const struct queued **packet)
{
	struct record_worker *first = NULL;

	for (unsigned i = 0; i < r->config->run.workers; i++) {
		const struct queued *x = record_queue_next(r->worker[i].queue);

		if (!x || (first && (*packet)->time <= x->time))
			continue;
		first = &r->worker[i];
		*packet = x;
	}
	return first;
}

static bool is_pressed(const struct record *r)
{
	for (unsigned i = 0; i < r->config->run.workers; i++)
		if (record_queue_is_pressed(r->worker[i].queue))
			return true;
	return false;
}

/* Once. */
static void say_shed(struct record *r)
{
	for (unsigned i = 0; i < r->config->run.workers && !r->said_shed; i++)
		r->said_shed = __atomic_load_n(&r->worker[i].shed, __ATOMIC_RELAXED);
	if (r->said_shed)
		log_warn(
			"what is captured cannot be written as fast: packets are missing in %s, which the account "
			"counts as shed; replication goes on",
			output_path(r->output));
}

/*
 * Write what is due. Returns for how long there is nothing to do, ms. @end: 0, or when the record ends: then
 * all that was captured before is due.
 */
static int turn(struct record *r, uint64_t end)
{
	const uint64_t now = clock_now(), due = end ? end : is_pressed(r) ? now : now - LAG;
	int wait = 0; /* there may be more that is due */

	if (r->answers)
		answers_look(r->answers);
	for (unsigned n = 0; n < TURN; n++) {
		const struct queued *x = NULL;
		struct record_worker *w = earliest(r, &x);
		struct record_answer a = { .packet = NULL };

		if (r->answers)
			a = answers_next(r->answers);
		if (w && (end || x->time <= due) && (!a.packet || x->time <= a.packet->time)) {
			write_request(r, x, now);
			record_queue_take(w->queue);
		} else if (a.packet && a.packet->time <= due) {
			write_answer(r, &a, now);
			answers_taken(r->answers);
		} else {
			wait = w || a.packet ? NAP_MS : SLEEP_MS;
			break;
		}
	}
	if (r->answers)
		decide_due(r, end && wait, now);
	if (end || now - r->flushed_at >= FLUSH_EVERY) {
		output_flush(r->output, now);
		r->flushed_at = now;
	}
	if (end || now - r->looked_at >= LOOK_EVERY) {
		set_clock(r);
		r->looked_at = now;
		if (!r->said_shed)
			say_shed(r);
		if (r->answers)
			__atomic_store_n(&r->n.answers_dropped, answers_dropped(r->answers),
					 __ATOMIC_RELEASE);
	}
	return wait;
}

static void nap(struct record *r, int ms)
{
	struct pollfd p = { .fd = r->wake, .events = POLLIN };
	uint64_t none;

	__atomic_store_n(&r->asleep, true, __ATOMIC_RELEASE);
	if (poll(&p, 1, ms) > 0 && read(r->wake, &none, sizeof(none)) < 0 && errno != EAGAIN)
		log_debug("the thread of --write: %s", strerror(errno));
	__atomic_store_n(&r->asleep, false, __ATOMIC_RELEASE);
}

static void *run(void *arg)
{
	struct record *r = arg;

	while (!__atomic_load_n(&r->stop, __ATOMIC_ACQUIRE)) {
		const int wait = turn(r, 0);

		if (wait)
			nap(r, wait);
	}
	return NULL;
}

/* --- start and end --- */

static int open_queues(struct record *r)
{
	const unsigned n = r->config->run.workers;
	size_t bytes = QUEUES_BYTES;

	while (bytes > QUEUE_LEAST && bytes * n > QUEUES_BYTES)
		bytes /= 2;
	for (unsigned i = 0; i < n; i++) {
		r->worker[i] = (struct record_worker){ .record = r, .queue = record_queue_new(bytes) };
		if (!r->worker[i].queue)
			return -1;
	}
	return 0;
}

/* Where the answers come from; they have interfaces of their own, and a table of connections. */
static int open_answers(struct record *r, char *err, size_t err_size)
{
	if (r->config->write_answers == ANSWERS_NONE || r->config->dry_run)
		return 0;
	r->connection = calloc(CONNECTIONS, sizeof(*r->connection));
	if (!r->connection || getrandom(&r->key, sizeof(r->key), 0) != sizeof(r->key)) {
		snprintf(err, err_size, "out of memory, or the kernel gives no random bytes");
		return -1;
	}
	r->waiting = record_queue_new(WAITING_BYTES);
	if (!r->waiting) {
		snprintf(err, err_size, "out of memory");
		return -1;
	}
	r->answers = answers_open(r->config, &r->interfaces, err, err_size);
	return r->answers ? 0 : -1;
}

static int open_file(struct record *r, char *err, size_t err_size)
{
	const struct config *c = r->config;
	struct output_options o = { .path = c->write,
				    .rotate_bytes = c->write_rotate_bytes,
				    .rotate_time = c->write_rotate_time,
				    .most = c->write_max };
	char why[512];

	r->head = record_head(c, &r->interfaces, &o.head_len);
	o.head = r->head;
	if (!r->head) {
		snprintf(err, err_size, "out of memory");
		return -1;
	}
	r->output = output_open(&o, why, sizeof(why));
	if (r->output)
		return 0;
	snprintf(err, err_size,
		 "option --write \"%s\": %s; accepted: a new name in an existing, writable directory",
		 c->write, why);
	return -1;
}

struct record *record_open(const struct config *c, const char *const interface[], unsigned n, char *err,
			   size_t err_size)
{
	struct record *r = calloc(1, sizeof(*r));

	if (!r) {
		snprintf(err, err_size, "out of memory");
		return NULL;
	}
	r->config = c;
	r->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (unsigned i = 0; i < n; i++)
		record_interface(&r->interfaces, interface[i]);
	if (r->wake < 0 || open_queues(r))
		snprintf(err, err_size, "out of memory or file descriptors");
	else if (!open_answers(r, err, err_size) && !open_file(r, err, err_size))
		return r;
	record_free(r);
	return NULL;
}

const char *record_path(const struct record *r)
{
	return output_path(r->output);
}

bool record_is_series(const struct record *r)
{
	return r->config->write_rotate_bytes || r->config->write_rotate_time;
}

int record_start(struct record *r, char *err, size_t err_size)
{
	sigset_t all, before;
	int rc;

	if (output_check(r->output)) {
		snprintf(
			err, err_size,
			"option --write \"%s\": this user cannot make files in the directory: %s; accepted: a "
			"directory that belongs to the user of --user, or without it to root",
			r->config->write, strerror(errno));
		return -1;
	}
	set_clock(r);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&r->thread, NULL, run, r);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	r->started = rc == 0;
	if (rc)
		snprintf(err, err_size, "option --write: cannot start a thread: %s", strerror(rc));
	else
		log_info("writing what %s to %s", r->config->dry_run ? "would be sent" : "is captured",
			 output_path(r->output));
	return rc ? -1 : 0;
}

struct record_worker *record_worker(struct record *r, unsigned worker)
{
	return &r->worker[worker];
}

void record_end(struct record *r)
{
	const uint64_t end = clock_now();

	if (!r->started)
		return;
	__atomic_store_n(&r->stop, true, __ATOMIC_RELEASE);
	__atomic_store_n(&r->asleep, true, __ATOMIC_RELEASE);
	wake(r);
	pthread_join(r->thread, NULL);
	r->started = false;
	while (!turn(r, end)) /* the online server goes on, and what it sends from now on is not written */
		;
	output_end(r->output);
}

void record_counters(const struct record *r, struct record_counters *n)
{
	output_counters(r->output, &n->files); /* before what they are parts of */
	n->answers = __atomic_load_n(&r->n.answers, __ATOMIC_ACQUIRE);
	n->answers_dropped = __atomic_load_n(&r->n.answers_dropped, __ATOMIC_ACQUIRE);
}

void record_free(struct record *r)
{
	if (!r)
		return;
	output_close(r->output);
	if (r->answers)
		answers_close(r->answers);
	for (unsigned i = 0; i < RUN_MAX_WORKERS; i++)
		record_queue_free(r->worker[i].queue);
	if (r->wake >= 0)
		close(r->wake);
	record_queue_free(r->waiting);
	free(r->connection);
	free(r->head);
	free(r);
}
