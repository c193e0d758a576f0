/*
 * A wire with faults, for the lab: carries frames between two interfaces of
 * one network namespace and delays, loses, duplicates or reorders them.
 *
 *     host eth0 <--veth--> HOST_IF  [relay]  SWITCH_IF <--veth--> bridge port
 *
 * "from" is the direction from the host to the switch, "to" the other one;
 * each has its own faults, its own queue, its own random numbers (so a seed
 * repeats a run as far as the order of the frames repeats) and its own counts.
 *
 * In: frames from two AF_PACKET sockets, which ignore what they themselves
 * send (PACKET_IGNORE_OUTGOING), or a frame would go round for ever. Both use
 * PACKET_VNET_HDR: the virtio header that comes in front of a frame says how a
 * super-packet is to be cut and where a checksum is still to be filled in, and
 * it is handed on untouched, so that the far side sees what it would have seen
 * on a plain link. VLAN tags, which travel beside the frame, are not carried.
 *
 * A frame that is not lost is put on its direction's queue, a heap ordered by
 * the time it is due, then by arrival; the queue owns it until it is sent.
 * Delay and jitter keep the order (a cable does not reorder); only a frame
 * chosen by `reorder` is held back for a further `gap` and thereby overtaken.
 * `rate` serialises frames as a slower link would, in front of the delay.
 *
 * Counts are printed as one line of JSON on SIGUSR1 and at the end (SIGTERM,
 * SIGINT). The lab has no netem to lean on: not every kernel is built with it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

#define NSEC_PER_SEC 1000000000ULL
#define FRAME_MAX (256 * 1024) /* beyond a BIG TCP packet of the usual settings */
#define SOCKET_BUFFER (128 * 1024 * 1024)
#define RECEIVE_BATCH 64 /* frames of one side before the other has its turn */

struct faults {
	double delay;  /* microseconds */
	double jitter; /* microseconds, added evenly from 0 to this */
	double loss;   /* probabilities, 0 to 1 */
	double dup;
	double reorder;
	double gap;   /* microseconds that a reordered frame is held back for */
	double rate;  /* bits per second; 0 is unlimited */
	double limit; /* bytes queued before frames are dropped */
};

struct counts {
	uint64_t received, bytes, sent, lost, duplicated, reordered;
	uint64_t queue_dropped, send_failed, truncated, kernel_dropped;
};

struct frame {
	uint64_t due; /* CLOCK_MONOTONIC, ns */
	uint64_t order;
	size_t len;
	unsigned char bytes[]; /* virtio header, then the frame */
};

struct direction {
	const char *name;
	int in, out;
	struct faults faults;
	struct counts counts;
	uint64_t random;
	uint64_t order;
	uint64_t line_free; /* when the last bit accepted has left a limited link */
	uint64_t last_due;
	struct frame **heap;
	size_t used, room, bytes;
};

static volatile sig_atomic_t stop_wanted, report_wanted;
static unsigned char buffer[FRAME_MAX];

static void on_signal(int signo)
{
	if (signo == SIGUSR1)
		report_wanted = 1;
	else
		stop_wanted = 1;
}

static void die(const char *what)
{
	fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* splitmix64, as a fraction in [0, 1) */
static double random_fraction(struct direction *dir)
{
	uint64_t z = dir->random += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	z ^= z >> 31;
	return (double)(z >> 11) * 0x1.0p-53;
}

static int earlier(const struct frame *a, const struct frame *b)
{
	return a->due != b->due ? a->due < b->due : a->order < b->order;
}

static void heap_push(struct direction *dir, struct frame *frame)
{
	size_t i = dir->used++;

	if (dir->used > dir->room) {
		dir->room = dir->room ? 2 * dir->room : 1024;
		dir->heap = realloc(dir->heap, dir->room * sizeof(*dir->heap));
		if (!dir->heap)
			die("memory");
	}
	while (i > 0 && earlier(frame, dir->heap[(i - 1) / 2])) {
		dir->heap[i] = dir->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	dir->heap[i] = frame;
	dir->bytes += frame->len;
}

static struct frame *heap_pop(struct direction *dir)
{
	struct frame *first = dir->heap[0], *last = dir->heap[--dir->used];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < dir->used) {
		if (child + 1 < dir->used && earlier(dir->heap[child + 1], dir->heap[child]))
			child++;
		if (!earlier(dir->heap[child], last))
			break;
		dir->heap[i] = dir->heap[child];
		i = child;
	}
	dir->heap[i] = last;
	dir->bytes -= first->len;
	return first;
}

static uint64_t due_time(struct direction *dir, uint64_t now, size_t len)
{
	const struct faults *f = &dir->faults;
	uint64_t due = now;

	if (f->rate > 0) {
		if (dir->line_free < now)
			dir->line_free = now;
		dir->line_free += (uint64_t)((double)len * 8e9 / f->rate);
		due = dir->line_free;
	}
	due += (uint64_t)((f->delay + f->jitter * random_fraction(dir)) * 1e3);
	if (due < dir->last_due)
		due = dir->last_due;
	dir->last_due = due;
	if (f->reorder > 0 && random_fraction(dir) < f->reorder) {
		dir->counts.reordered++;
		due += (uint64_t)(f->gap * 1e3);
	}
	return due;
}

static void enqueue(struct direction *dir, uint64_t now, size_t len)
{
	struct frame *frame;

	if ((double)(dir->bytes + len) > dir->faults.limit) {
		dir->counts.queue_dropped++;
		return;
	}
	frame = malloc(sizeof(*frame) + len);
	if (!frame)
		die("memory");
	frame->due = due_time(dir, now, len);
	frame->order = dir->order++;
	frame->len = len;
	memcpy(frame->bytes, buffer, len);
	heap_push(dir, frame);
}

/* Returns whether the socket may hold more. */
static int receive(struct direction *dir)
{
	for (int i = 0; i < RECEIVE_BATCH; i++) {
		ssize_t got = recv(dir->in, buffer, sizeof(buffer), MSG_DONTWAIT | MSG_TRUNC);
		uint64_t now;

		if (got < 0) {
			/* an interface that is set down says so once and may come back */
			if (errno == EAGAIN || errno == EINTR || errno == ENETDOWN)
				return 0;
			die("recv");
		}
		dir->counts.received++;
		dir->counts.bytes += (uint64_t)got;
		if ((size_t)got > sizeof(buffer)) {
			dir->counts.truncated++;
			continue;
		}
		if (dir->faults.loss > 0 && random_fraction(dir) < dir->faults.loss) {
			dir->counts.lost++;
			continue;
		}
		now = now_ns();
		enqueue(dir, now, (size_t)got);
		if (dir->faults.dup > 0 && random_fraction(dir) < dir->faults.dup) {
			dir->counts.duplicated++;
			enqueue(dir, now, (size_t)got);
		}
	}
	return 1;
}

static void send_due(struct direction *dir)
{
	while (dir->used && dir->heap[0]->due <= now_ns()) {
		struct frame *frame = heap_pop(dir);
		ssize_t sent;

		do
			sent = send(dir->out, frame->bytes, frame->len, 0);
		while (sent < 0 && errno == EINTR);
		if (sent < 0)
			dir->counts.send_failed++;
		else
			dir->counts.sent++;
		free(frame);
	}
}

static int open_socket(const char *ifname)
{
	struct sockaddr_ll addr = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct packet_mreq promisc = { .mr_type = PACKET_MR_PROMISC };
	int one = 1, size = SOCKET_BUFFER;
	/* protocol 0: nothing arrives before bind() has named the interface */
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	addr.sll_ifindex = promisc.mr_ifindex = (int)if_nametoindex(ifname);
	if (!addr.sll_ifindex)
		die(ifname);
	if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promisc, sizeof(promisc)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)))
		die("setsockopt");
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)))
		die("bind");
	return fd;
}

static void print_counts(struct direction *dir, const char *end)
{
	struct counts *c = &dir->counts;
	struct tpacket_stats stats;
	socklen_t len = sizeof(stats);

	/* reading the kernel's count resets it */
	if (!getsockopt(dir->in, SOL_PACKET, PACKET_STATISTICS, &stats, &len))
		c->kernel_dropped += stats.tp_drops;
	printf("\"%s\":{\"received\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"sent\":%" PRIu64 ",\"lost\":%" PRIu64
	       ",\"duplicated\":%" PRIu64 ",\"reordered\":%" PRIu64 ",\"queue_dropped\":%" PRIu64
	       ",\"send_failed\":%" PRIu64 ",\"truncated\":%" PRIu64 ",\"kernel_dropped\":%" PRIu64
	       ",\"queued\":%zu}%s",
	       dir->name, c->received, c->bytes, c->sent, c->lost, c->duplicated, c->reordered,
	       c->queue_dropped, c->send_failed, c->truncated, c->kernel_dropped, dir->used, end);
}

static void report(struct direction *from, struct direction *to)
{
	printf("{");
	print_counts(from, ",");
	print_counts(to, "}\n");
	fflush(stdout);
}

static void usage(void)
{
	fprintf(stderr, "usage: relay [--seed N] [--from FAULTS] [--to FAULTS] HOST_IF SWITCH_IF\n"
			"FAULTS: comma-separated delay=US,jitter=US,loss=0..1,dup=0..1,reorder=0..1,\n"
			"        gap=US,rate=BITS_PER_SECOND,limit=BYTES\n");
	exit(2);
}

static void parse_faults(struct faults *f, char *text)
{
	const struct {
		const char *name;
		double *field;
		double max;
	} table[] = { { "delay", &f->delay, 1e9 }, { "jitter", &f->jitter, 1e9 }, { "loss", &f->loss, 1 },
		      { "dup", &f->dup, 1 },       { "reorder", &f->reorder, 1 }, { "gap", &f->gap, 1e9 },
		      { "rate", &f->rate, 1e15 },  { "limit", &f->limit, 1e15 } };
	const size_t names = sizeof(table) / sizeof(table[0]);
	char *save = NULL;

	for (char *item = strtok_r(text, ",", &save); item; item = strtok_r(NULL, ",", &save)) {
		char *value = strchr(item, '='), *end = item;
		double number = 0;
		size_t i = 0;

		if (value) {
			*value++ = '\0';
			number = strtod(value, &end);
		}
		while (i < names && strcmp(table[i].name, item))
			i++;
		/* the range is asked for in a form that a NaN fails too */
		if (i == names || end == value || *end || !(number >= 0 && number <= table[i].max)) {
			fprintf(stderr, "relay: %s=%s: unknown or out of range\n", item, value ? value : "");
			usage();
		}
		*table[i].field = number;
	}
}

static void run(struct direction *dirs)
{
	sigset_t blocked, during_poll;
	struct pollfd fds[2] = { { .fd = dirs[0].in, .events = POLLIN },
				 { .fd = dirs[1].in, .events = POLLIN } };

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGINT);
	sigprocmask(SIG_BLOCK, &blocked, &during_poll);
	while (!stop_wanted) {
		uint64_t next = UINT64_MAX, now;
		struct timespec wait = { 0, 0 };
		int more = 0;

		for (int i = 0; i < 2; i++) {
			more |= receive(&dirs[i]);
			send_due(&dirs[i]);
			if (dirs[i].used && dirs[i].heap[0]->due < next)
				next = dirs[i].heap[0]->due;
		}
		now = now_ns();
		if (!more && next > now) {
			wait.tv_sec = (time_t)((next - now) / NSEC_PER_SEC);
			wait.tv_nsec = (long)((next - now) % NSEC_PER_SEC);
		}
		if (ppoll(fds, 2, !more && next == UINT64_MAX ? NULL : &wait, &during_poll) < 0 &&
		    errno != EINTR)
			die("ppoll");
		if (report_wanted) {
			report_wanted = 0;
			report(&dirs[0], &dirs[1]);
		}
	}
	report(&dirs[0], &dirs[1]);
}

int main(int argc, char **argv)
{
	static const struct option longopts[] = { { "seed", required_argument, NULL, 's' },
						  { "from", required_argument, NULL, 'f' },
						  { "to", required_argument, NULL, 't' },
						  { NULL, 0, NULL, 0 } };
	const struct faults none = { .gap = 1000, .limit = 512e6 };
	struct direction dirs[2] = { { .name = "from", .faults = none }, { .name = "to", .faults = none } };
	struct sigaction action = { .sa_handler = on_signal };
	uint64_t seed = 1;
	char *end;
	int opt;

	while ((opt = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
		if (opt == 's') {
			seed = strtoull(optarg, &end, 10);
			if (!*optarg || *end)
				usage();
		} else if (opt == 'f' || opt == 't') {
			parse_faults(&dirs[opt == 't'].faults, optarg);
		} else {
			usage();
		}
	}
	if (argc - optind != 2)
		usage();
	dirs[0].in = dirs[1].out = open_socket(argv[optind]);
	dirs[1].in = dirs[0].out = open_socket(argv[optind + 1]);
	dirs[0].random = seed;
	dirs[1].random = ~seed;
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	prctl(PR_SET_TIMERSLACK, 1UL);
	printf("ready\n");
	fflush(stdout);
	run(dirs);
	return 0;
}
