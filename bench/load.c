/*
 * Load - theory of operation
 *
 * What redis-benchmark and wrk cannot do: requests at a rate, whatever the server answers, and very
 * many connections.
 *
 * load sink PORT [PROCESSES]
 *	A server that reads and never answers.
 * load answer PORT [PROCESSES]
 *	A server that answers +OK to whatever it reads at once. Both need little memory a connection,
 *	and as many processes as the limit of open files makes necessary.
 * load send ADDRESS PORT CONNECTIONS RATE SECONDS TEXT [SOURCE...]
 *	Opens all connections (from each source address in turn), says "ready", waits for a line on
 *	standard input, then sends TEXT on one connection after the other, RATE a second, waiting for
 *	no answer; prints the result; holds the connections until standard input ends.
 * load http ADDRESS PORT CLIENTS RATE SECONDS PATH keep-alive|close
 *	Clients that each ask for PATH at fixed times, RATE a second together. A client that is still
 *	waiting for its answer asks again as soon as it has it. A request's latency counts from the
 *	time at which it should have been sent, so that a server that stalls cannot hide it.
 *
 * One thread and one epoll; times are those of CLOCK_MONOTONIC in ns. Results are one line of JSON.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000ULL
#define GRACE (5 * SECOND)       /* for the last answers */
#define QUIET (200 * 1000000ULL) /* no answer for so long: there is none to come */
#define STALL (100 * 1000000ULL) /* a request that took longer is counted as stalled */
#define EVENTS 256

static int poller;
static char buffer[1 << 16];

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct sockaddr_in address(const char *text, int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

	if (inet_pton(AF_INET, text, &to.sin_addr) != 1)
		die(text);
	return to;
}

/* @data comes back in the event. */
static void watch(int fd, uint32_t events, uint64_t data)
{
	struct epoll_event event = { .events = events, .data.u64 = data };

	if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event))
		die("epoll");
}

/* The events until @deadline, or fewer; how many. */
static int wait_events(struct epoll_event *events, uint64_t deadline)
{
	uint64_t t = now(), left = deadline > t ? deadline - t : 0;
	struct timespec timeout = {
		.tv_sec = (time_t)(left / SECOND),
		.tv_nsec = (long)(left % SECOND),
	};
	int n = epoll_pwait2(poller, events, EVENTS, &timeout, NULL);

	return n < 0 ? 0 : n;
}

/* ---- servers ---- */

static _Noreturn void serve(int port, int processes, bool answers)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	struct epoll_event events[EVENTS];
	int one = 1, listener;

	/* the kernel spreads connections over the listeners of one port */
	while (--processes > 0 && fork())
		;
	prctl(PR_SET_PDEATHSIG, processes > 0 ? SIGKILL : 0, 0UL, 0UL, 0UL);
	poller = epoll_create1(0);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	if (listener < 0 || bind(listener, (struct sockaddr *)&any, sizeof(any)) || listen(listener, 4096))
		die("listen");
	watch(listener, EPOLLIN, (uint64_t)listener);
	for (;;) {
		int n = wait_events(events, now() + SECOND);

		for (int i = 0; i < n; i++) {
			int fd = (int)events[i].data.u64;

			if (fd == listener) {
				while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
					watch(fd, EPOLLIN, (uint64_t)fd);
				continue;
			}
			ssize_t got = read(fd, buffer, sizeof(buffer));

			if (got > 0 && answers)
				got = write(fd, "+OK\r\n", 5);
			if (got == 0 || (got < 0 && errno != EAGAIN))
				close(fd);
		}
	}
}

/* ---- send ---- */

static int *open_all(struct sockaddr_in to, unsigned count, char **sources, unsigned n_sources)
{
	/* no flood: what is to be measured is what follows */
	const struct timespec pause = { .tv_nsec = 10 * 1000000L };
	int one = 1, *fds = calloc(count, sizeof(*fds));

	if (!fds)
		die("memory");
	for (unsigned i = 0; i < count; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		if (fd < 0)
			die("socket");
		if (n_sources) {
			struct sockaddr_in from = address(sources[i % n_sources], 0);

			setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
			if (bind(fd, (struct sockaddr *)&from, sizeof(from)))
				die(sources[i % n_sources]);
		}
		if (connect(fd, (struct sockaddr *)&to, sizeof(to)))
			die("connect");
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		fcntl(fd, F_SETFL, O_NONBLOCK);
		watch(fd, EPOLLIN, (uint64_t)fd);
		fds[i] = fd;
		if (i % 100 == 99)
			nanosleep(&pause, NULL);
	}
	return fds;
}

static int send_at_rate(const int *fds, unsigned count, double rate, double seconds, const char *text)
{
	uint64_t start, end, next, interval = (uint64_t)(1e9 / rate);
	uint64_t sent = 0, refused = 0, answers = 0;
	size_t len = strlen(text);
	struct epoll_event events[EVENTS];

	puts("ready");
	fflush(stdout);
	if (!fgets(buffer, sizeof(buffer), stdin))
		return 0;
	start = next = now();
	end = start + (uint64_t)(seconds * 1e9);
	for (unsigned i = 0; next < end && now() < end + SECOND;) {
		int n = wait_events(events, next);

		for (int k = 0; k < n; k++)
			answers += read((int)events[k].data.u64, buffer, sizeof(buffer)) > 0;
		for (uint64_t t = now(); next <= t && next < end; next += interval) {
			if (write(fds[i], text, len) == (ssize_t)len)
				sent++;
			else
				refused++;
			i = (i + 1) % count;
		}
	}
	end = now();
	/* what is not read when a connection is closed makes the kernel reset it */
	for (int n; (n = wait_events(events, now() + QUIET)) > 0;)
		for (int k = 0; k < n; k++)
			answers += read((int)events[k].data.u64, buffer, sizeof(buffer)) > 0;
	printf("{\"sent\": %llu, \"refused\": %llu, \"answers\": %llu, \"seconds\": %.3f}\n",
	       (unsigned long long)sent, (unsigned long long)refused, (unsigned long long)answers,
	       (double)(end - start) / 1e9);
	fflush(stdout);
	while (fgets(buffer, sizeof(buffer), stdin))
		;
	return 0;
}

/* ---- http ---- */

struct client {
	int fd;
	bool busy, connecting;
	uint64_t done;      /* requests, well or ill */
	uint64_t due;       /* requests whose time has come */
	size_t got, wanted; /* bytes of the answer; wanted is 0 until its header is complete */
	char head[1024];
};

static struct http {
	struct sockaddr_in to;
	struct client *clients;
	unsigned count;
	bool closes;
	uint64_t start, interval;
	char request[512];
	uint64_t *latency;
	uint64_t answered, room, errors, stalled;
} http;

static void drop(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->connecting = false;
}

static void begin(struct client *c);

/* The request of @c that is under way is over. */
static void finish(struct client *c, bool well)
{
	uint64_t index = (uint64_t)(c - http.clients), t = now();
	uint64_t took = t - (http.start + (index + c->done * http.count) * http.interval);

	if (!well || http.closes)
		drop(c);
	if (well && http.answered < http.room)
		http.latency[http.answered++] = took;
	http.errors += !well;
	http.stalled += took > STALL;
	c->done++;
	c->busy = false;
	if (c->done < c->due)
		begin(c);
}

static void ask(struct client *c)
{
	size_t len = strlen(http.request);

	c->got = c->wanted = 0;
	if (write(c->fd, http.request, len) != (ssize_t)len)
		finish(c, false);
}

static void begin(struct client *c)
{
	c->busy = true;
	if (c->fd >= 0) {
		ask(c);
		return;
	}
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		die("socket");
	c->connecting = true;
	if (connect(c->fd, (struct sockaddr *)&http.to, sizeof(http.to)) && errno != EINPROGRESS)
		die("connect");
	watch(c->fd, EPOLLIN | EPOLLOUT | EPOLLET, (uint64_t)(c - http.clients));
}

/* Its header says how long the answer is; 0 while it does not yet. */
static size_t answer_length(struct client *c)
{
	char *end, *field;

	c->head[c->got < sizeof(c->head) ? c->got : sizeof(c->head) - 1] = '\0';
	end = strstr(c->head, "\r\n\r\n");
	field = strcasestr(c->head, "Content-Length:");
	if (!end || !field || field > end)
		return 0;
	return (size_t)(end + 4 - c->head) + strtoul(field + 15, NULL, 10);
}

static void receive(struct client *c)
{
	for (;;) {
		ssize_t got = read(c->fd, buffer, sizeof(buffer));

		if (got < 0 && errno == EAGAIN)
			return;
		if (got <= 0) {
			if (c->busy)
				finish(c, http.closes && c->wanted && c->got >= c->wanted);
			else
				drop(c);
			return;
		}
		if (c->got + (size_t)got < sizeof(c->head))
			memcpy(c->head + c->got, buffer, (size_t)got);
		c->got += (size_t)got;
		if (!c->wanted)
			c->wanted = answer_length(c);
		if (c->wanted && c->got >= c->wanted && !http.closes) {
			finish(c, !strncmp(c->head, "HTTP/1.1 200", 12));
			return;
		}
	}
}

static void on_event(struct client *c, uint32_t events)
{
	if (c->fd < 0)
		return;
	if (c->connecting && events & (EPOLLERR | EPOLLHUP)) {
		finish(c, false);
		return;
	}
	if (c->connecting && events & EPOLLOUT) {
		c->connecting = false;
		ask(c);
		return;
	}
	if (!c->connecting && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		receive(c);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static double quantile(double share)
{
	uint64_t i = (uint64_t)((double)http.answered * share);

	if (!http.answered)
		return 0;
	return (double)http.latency[i < http.answered ? i : http.answered - 1] / 1e6;
}

static int ask_at_rate(double rate, double seconds)
{
	struct epoll_event events[EVENTS];
	uint64_t total = (uint64_t)(rate * seconds), issued = 0, over = 0, end;

	http.interval = (uint64_t)(1e9 / rate);
	http.room = total;
	http.latency = calloc(total, sizeof(*http.latency));
	http.clients = calloc(http.count, sizeof(*http.clients));
	if (!http.latency || !http.clients)
		die("memory");
	for (unsigned i = 0; i < http.count; i++)
		http.clients[i].fd = -1;
	http.start = now();
	end = http.start + (uint64_t)(seconds * 1e9) + GRACE;
	while (over < total && now() < end) {
		uint64_t next = issued < total ? http.start + issued * http.interval : end;
		int n = wait_events(events, next);

		for (int i = 0; i < n; i++)
			on_event(&http.clients[events[i].data.u64], events[i].events);
		for (uint64_t t = now(); issued < total; issued++) {
			struct client *c = &http.clients[issued % http.count];

			if (http.start + issued * http.interval > t)
				break;
			c->due++;
			if (!c->busy)
				begin(c);
		}
		over = http.answered + http.errors;
	}
	qsort(http.latency, http.answered, sizeof(*http.latency), by_value);
	printf("{\"requests\": %llu, \"answered\": %llu, \"errors\": %llu, \"stalled\": %llu, "
	       "\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f}\n",
	       (unsigned long long)total, (unsigned long long)http.answered,
	       (unsigned long long)(total - http.answered), (unsigned long long)http.stalled, quantile(0.5),
	       quantile(0.99), quantile(1));
	return 0;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	struct rlimit files = { .rlim_cur = 1 << 20, .rlim_max = 1 << 20 };

	setrlimit(RLIMIT_NOFILE, &files); /* where we may not, as many as we have */
	prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
	poller = epoll_create1(0);
	if ((argc == 3 || argc == 4) && (!strcmp(mode, "sink") || !strcmp(mode, "answer")))
		serve(atoi(argv[2]), argc == 4 ? atoi(argv[3]) : 1, mode[0] == 'a');
	if (argc >= 8 && !strcmp(mode, "send")) {
		unsigned count = (unsigned)atoi(argv[4]);
		int *fds = open_all(address(argv[2], atoi(argv[3])), count, argv + 8, (unsigned)argc - 8);

		return send_at_rate(fds, count, atof(argv[5]), atof(argv[6]), argv[7]);
	}
	if (argc == 9 && !strcmp(mode, "http")) {
		http.to = address(argv[2], atoi(argv[3]));
		http.count = (unsigned)atoi(argv[4]);
		http.closes = !strcmp(argv[8], "close");
		snprintf(http.request, sizeof(http.request), "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", argv[7],
			 argv[2], http.closes ? "Connection: close\r\n" : "");
		return ask_at_rate(atof(argv[5]), atof(argv[6]));
	}
	fprintf(stderr, "usage: load sink|answer|send|http ...; see the head of load.c\n");
	return 2;
}
