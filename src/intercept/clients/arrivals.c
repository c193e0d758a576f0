/*
 * Which worker is a new connection for?
 *
 * In: accepted sockets. Out: the same sockets, each with the number of a worker. A client names its worker
 * with a PLACE frame in front of everything else (doc/PROTOCOL.md); a client that sends none is for worker 0.
 * The socket is handed on before a stream is made of it, so nothing has to move from one event loop to
 * another, whether the channel is encrypted or not.
 *
 * The first bytes are peeked at in the socket's own buffer. SO_RCVLOWAT makes the socket readable when as
 * many bytes are there as PLACE has; anything else that a client may begin with is longer. A client that says
 * nothing is closed when the time for HELLO is over, or sooner if too many wait: then the oldest is closed.
 */
#include "intercept/clients/arrivals.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel/conn.h"
#include "intercept/clients/admission.h"

#define PLACE_LEN (MESSAGE_HEADER_LEN + 2)

struct arrival {
	struct arrivals *all;
	struct arrival *prev, *next; /* in order of arrival */
	struct event *event;
	int fd;
	struct endpoint from;
};

struct arrivals {
	struct event_base *base;
	const struct arrivals_handler *handler;
	void *arg;
	struct arrival *first, *last;
	unsigned count;
};

/* Take @x off the list; returns its socket. */
static int unlink_arrival(struct arrival *x)
{
	struct arrivals *all = x->all;
	int fd = x->fd;

	if (x->prev)
		x->prev->next = x->next;
	else
		all->first = x->next;
	if (x->next)
		x->next->prev = x->prev;
	else
		all->last = x->prev;
	all->count--;
	if (x->event)
		event_free(x->event);
	free(x);
	return fd;
}

static void leave(struct arrival *x, const char *why)
{
	struct arrivals *all = x->all;
	const struct endpoint from = x->from;

	close(unlink_arrival(x));
	all->handler->left(&from, why, all->arg);
}

static void arrive(struct arrival *x, unsigned worker)
{
	static const int one = 1;
	struct arrivals *all = x->all;
	const struct endpoint from = x->from;
	int fd = unlink_arrival(x);

	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
	all->handler->arrived(fd, &from, worker, all->arg);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct arrival *x = arg;
	uint8_t frame[PLACE_LEN];
	struct message m;
	const char *why;
	size_t used;
	ssize_t n = recv((int)fd, frame, sizeof(frame), MSG_PEEK);

	if (what & EV_TIMEOUT)
		leave(x, "no HELLO in time");
	else if (!n)
		leave(x, NULL); /* who looks whether the port is open: nc -z, or a monitor */
	else if (n < 0)
		leave(x, "peer closed before HELLO");
	else if (frame[0] != MSG_PLACE)
		arrive(x, 0);
	else if (n < PLACE_LEN || message_decode(&m, frame, sizeof(frame), &used, &why) != MESSAGE_OK)
		leave(x, "bad frame: PLACE");
	else if (recv((int)fd, frame, sizeof(frame), 0) == PLACE_LEN)
		arrive(x, m.place);
	else
		leave(x, "bad frame: PLACE");
}

void arrivals_add(struct arrivals *a, int fd, const struct endpoint *from)
{
	static const int enough = PLACE_LEN;
	const struct timeval patience = { CHANNEL_HELLO_MS / 1000, CHANNEL_HELLO_MS % 1000 * 1000 };
	struct arrival *x = calloc(1, sizeof(*x));

	if (!x) {
		close(fd);
		a->handler->left(from, "out of memory", a->arg);
		return;
	}
	*x = (struct arrival){ .all = a, .prev = a->last, .fd = fd, .from = *from };
	if (a->last)
		a->last->next = x;
	else
		a->first = x;
	a->last = x;
	a->count++;
	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &enough, sizeof(enough));
	x->event = event_new(a->base, fd, EV_READ, on_readable, x);
	if (!x->event || event_add(x->event, &patience))
		leave(x, "out of memory");
	else if (a->count > ADMISSION_MAX_GREETING)
		leave(a->first, "no HELLO yet, and too many others are newer");
}

struct arrivals *arrivals_new(struct event_base *base, const struct arrivals_handler *h, void *arg)
{
	struct arrivals *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->base = base;
	a->handler = h;
	a->arg = arg;
	return a;
}

void arrivals_free(struct arrivals *a)
{
	if (!a)
		return;
	for (struct arrival *x = a->first, *next; x; x = next) {
		next = x->next;
		close(unlink_arrival(x));
	}
	free(a);
}
