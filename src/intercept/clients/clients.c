/*
 * The connections of tcpcopy workers: listening, accepting, and their messages by kind.
 *
 * In: what the channel delivers. Out: calls of the pipeline's handlers. A client is allocated when its socket
 * is accepted and freed when the channel says that the connection is down; before that, the pipeline's down()
 * removes what the pipeline and the relay have attached to it. An error on one connection ends only that
 * connection.
 *
 * admission.c decides who may connect, and how many may. A client that sends no HELLO is closed after three
 * seconds (channel/conn.c), or sooner if too many are waiting like that: then the oldest is closed, so that
 * silent clients cannot keep out the others.
 */
#include "intercept/clients/clients.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "program/log.h"
#include "program/sandbox.h"
#include "build/config.h"
#include "intercept/clients/arrivals.h"

SANDBOX_CALLS("accept4");

#define ACCEPT_AT_ONCE 64
#define ACCEPT_PAUSE_S 1 /* when the descriptors have run out */

struct listener {
	int fd;
	struct event *event;
};

struct clients {
	struct event_base *base;
	const struct clients_handler *handler;
	void *arg;
	struct client *first;
	struct admission *admission; /* of all workers; not owned */
	struct arrivals *arrivals;   /* NULL: there is one worker only */
	struct channel_options channel;
	unsigned greeting; /* without a HELLO yet */
	struct listener listeners[CONFIG_MAX_BINDS + 2];
	unsigned n_listeners;
	struct event *resume;
};

static void drop(struct client *p)
{
	struct clients *all = p->clients;

	if (p->prev)
		p->prev->next = p->next;
	else
		all->first = p->next;
	if (p->next)
		p->next->prev = p->prev;
	all->greeting -= !p->up;
	admission_leave(all->admission, &p->from);
	free(p);
}

static void on_up(struct channel_conn *conn, const struct msg_hello *hello, uint16_t version, void *arg)
{
	struct client *p = arg;
	char at[ENDPOINT_TEXT_LEN];

	endpoint_format(at, sizeof(at), channel_conn_peer(conn));
	snprintf(p->name, sizeof(p->name), "%s %s", hello->program, at);
	p->up = true;
	p->spreads = hello->features & CHANNEL_WORKERS;
	p->takes_first = p->clients->channel.secret && hello->features & CHANNEL_FIRST;
	p->process = hello->seed;
	p->clients->greeting--;
	log_info("%s connected: release %s, worker %u, protocol version %u", p->name, hello->release,
		 hello->worker, version);
	p->clients->handler->up(p, p->clients->arg);
}

/* A WATCH, together with the EXPECT before it. */
static void take_watch(struct client *p, const struct msg_watch *m)
{
	struct msg_watch w = *m;

	w.has_number = p->expects && p->expected.id == w.id;
	w.number = w.has_number ? p->expected.number : 0;
	p->expects = false;
	p->clients->handler->watch(p, &w, p->clients->arg);
}

static void on_message(struct channel_conn *conn, const struct message *m, void *arg)
{
	struct client *p = arg;
	const struct clients_handler *h = p->clients->handler;

	(void)conn;
	if (m->type == MSG_WATCH)
		take_watch(p, &m->watch);
	else if (m->type == MSG_EXPECT)
		p->expected = m->watch, p->expects = true;
	else if (m->type == MSG_UNWATCH)
		h->unwatch(p, m->watch.id, p->clients->arg);
	else if (m->type == MSG_TARGET)
		h->target(p, &m->target, p->clients->arg);
	else if (m->type == MSG_PROBE)
		h->probe(p, &m->watch, p->clients->arg);
}

static void on_batch_end(struct channel_conn *conn, void *arg)
{
	struct client *p = arg;

	(void)conn;
	p->clients->handler->batch_end(p->clients->arg);
}

static void on_drained(struct channel_conn *conn, void *arg)
{
	struct client *p = arg;

	(void)conn;
	p->clients->handler->drained(p, p->clients->arg);
}

/* nc -z, or a monitor: no reason for an alarm. */
static void say_port_check(const char *from)
{
	log_limited(LOGL_INFO, "connection from %s ended: it said nothing, as a port check does", from);
}

static void on_down(struct channel_conn *conn, const char *why, void *arg)
{
	struct client *p = arg;

	if (p->up) {
		log_info("%s disconnected: %s", p->name, why);
		p->clients->handler->down(p, p->clients->arg);
	} else if (channel_conn_left(conn)) {
		say_port_check(p->name);
	} else {
		log_limited(LOGL_WARN, "connection from %s refused: %s", p->name, why);
		p->clients->handler->refused(false, p->clients->arg);
	}
	drop(p);
}

static const struct channel_handler handler = {
	.up = on_up,
	.message = on_message,
	.batch_end = on_batch_end,
	.drained = on_drained,
	.down = on_down,
};

/* The newest is first in the list, so the oldest is the last. */
static void drop_oldest_greeting(struct clients *all)
{
	struct client *oldest = NULL;

	for (struct client *p = all->first; p; p = p->next)
		if (!p->up)
			oldest = p;
	if (!oldest)
		return;
	log_limited(LOGL_WARN, "connection from %s refused: no HELLO yet, and %u others are newer",
		    oldest->name, all->greeting - 1);
	channel_conn_close(oldest->conn, "no HELLO yet, and too many others are newer");
	drop(oldest);
	all->handler->refused(false, all->arg);
}

static bool admit(struct clients *all, int fd, const struct endpoint *from)
{
	const enum admission_verdict verdict = admission_enter(all->admission, &from->addr);
	char at[ENDPOINT_TEXT_LEN], why[CHANNEL_WHY_LEN];

	if (verdict == ADMISSION_OK)
		return true;
	endpoint_format(at, sizeof(at), from);
	if (verdict == ADMISSION_FOREIGN)
		snprintf(why, sizeof(why), "not allowed by --allow");
	else
		snprintf(
			why, sizeof(why),
			"intercept is full: it has %u connections, of one address or IPv6 /64 %u and no more "
			"than are left",
			ADMISSION_MAX, ADMISSION_MAX_PER_NEIGHBOUR);
	log_limited(LOGL_WARN, "connection from %s refused: %s", at, why);
	if (verdict == ADMISSION_FOREIGN)
		close(fd); /* strangers are told nothing */
	else
		channel_refuse(fd, why);
	all->handler->refused(verdict == ADMISSION_FOREIGN, all->arg);
	return false;
}

void clients_serve(struct clients *all, int fd, const struct endpoint *from)
{
	struct client *p = calloc(1, sizeof(*p));

	if (!p)
		close(fd);
	else
		p->conn = channel_accept(all->base, fd, &all->channel, &handler, p);
	if (!p || !p->conn) {
		log_limited(LOGL_ERROR, "cannot serve a connection: out of memory");
		admission_leave(all->admission, &from->addr);
		free(p);
		return;
	}
	p->clients = all;
	p->from = from->addr;
	endpoint_format(p->name, sizeof(p->name), from);
	p->next = all->first;
	if (p->next)
		p->next->prev = p;
	all->first = p;
	if (++all->greeting > ADMISSION_MAX_GREETING)
		drop_oldest_greeting(all);
}

static void on_arrived(int fd, const struct endpoint *from, unsigned worker, void *arg)
{
	struct clients *all = arg;

	if (!worker)
		clients_serve(all, fd, from);
	else if (!all->handler->elsewhere(fd, from, worker, all->arg)) {
		log_limited(LOGL_WARN, "connection refused: there is no worker %u, or it is overloaded",
			    worker);
		close(fd);
		admission_leave(all->admission, &from->addr);
		all->handler->refused(false, all->arg);
	}
}

static void on_left(const struct endpoint *from, const char *why, void *arg)
{
	struct clients *all = arg;
	char at[ENDPOINT_TEXT_LEN];

	endpoint_format(at, sizeof(at), from);
	admission_leave(all->admission, &from->addr);
	if (!why) {
		say_port_check(at);
		return;
	}
	log_limited(LOGL_WARN, "connection from %s refused: %s", at, why);
	all->handler->refused(false, all->arg);
}

static const struct arrivals_handler on_arrival = { .arrived = on_arrived, .left = on_left };

static void take(struct clients *all, int fd, const struct endpoint *from)
{
	if (!admit(all, fd, from))
		return;
	if (all->arrivals)
		arrivals_add(all->arrivals, fd, from);
	else
		clients_serve(all, fd, from);
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg)
{
	struct clients *all = arg;

	(void)what;
	for (unsigned i = 0; i < ACCEPT_AT_ONCE; i++) {
		struct sockaddr_storage ss;
		socklen_t len = sizeof(ss);
		struct endpoint from;
		int conn = accept4(fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (conn >= 0) {
			if (addr_from_sockaddr(&from, (struct sockaddr *)&ss))
				take(all, conn, &from);
			else
				close(conn);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			/* The socket stays readable: without a pause the loop would spin on it. */
			log_limited(LOGL_ERROR, "cannot accept a connection: %s", strerror(errno));
			for (unsigned j = 0; j < all->n_listeners; j++)
				event_del(all->listeners[j].event);
			event_add(all->resume, &(struct timeval){ ACCEPT_PAUSE_S, 0 });
			return;
		} else if (errno == EAGAIN) {
			return;
		}
	}
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct clients *all = arg;

	(void)fd;
	(void)what;
	for (unsigned i = 0; i < all->n_listeners; i++)
		event_add(all->listeners[i].event, NULL);
}

/* Returns 0 or errno. */
static int listen_on(struct clients *all, const struct endpoint *e, bool v6)
{
	const int on = 1;
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(&ss, &e->addr, e->port);
	struct listener *l = &all->listeners[all->n_listeners];
	int error;

	l->fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		return errno;
	setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (v6)
		setsockopt(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(l->fd, (struct sockaddr *)&ss, len) || listen(l->fd, 128)) {
		error = errno;
		close(l->fd);
		return error;
	}
	l->event = event_new(all->base, l->fd, EV_READ | EV_PERSIST, on_acceptable, all);
	if (!l->event || event_add(l->event, NULL)) {
		close(l->fd);
		return ENOMEM;
	}
	all->n_listeners++;
	return 0;
}

static void words_for(int error, const struct endpoint *e, char *err, size_t err_size)
{
	char at[ENDPOINT_TEXT_LEN], addr[ADDR_TEXT_LEN];

	endpoint_format(at, sizeof(at), e);
	addr_format(addr, sizeof(addr), &e->addr);
	if (error == EADDRINUSE)
		snprintf(err, err_size,
			 "port %u is in use (%s): \"ss -ltnp sport = :%u\" shows by which program; choose "
			 "another port with -p, and name it in tcpcopy -s",
			 e->port, at, e->port);
	else if (error == EADDRNOTAVAIL)
		snprintf(err, err_size,
			 "option -b \"%s\": this is not an address of this host; accepted: those that \"ip "
			 "address\" shows",
			 addr);
	else if (error == EACCES)
		snprintf(err, err_size, "cannot listen on %s: ports below 1024 need root", at);
	else
		snprintf(err, err_size, "cannot listen on %s: %s", at, strerror(error));
}

struct clients *clients_new(struct event_base *base, const struct config *c, struct admission *admission,
			    const struct clients_handler *h, void *arg)
{
	struct clients *all = calloc(1, sizeof(*all));

	if (!all)
		return NULL;
	all->base = base;
	all->handler = h;
	all->arg = arg;
	all->admission = admission;
	all->channel = (struct channel_options){
		.program = "intercept", .release = VERSION, .secret = c->secret, .first = true
	};
	return all;
}

void clients_spread(struct clients *all, const struct fanout *spread, unsigned worker)
{
	all->channel.spreads = true;
	all->channel.workers = (uint16_t)spread->workers;
	all->channel.seed = spread->seed;
	all->channel.worker = (uint16_t)worker;
}

int clients_listen(struct clients *all, const struct config *c, char *where, size_t where_size, char *err,
		   size_t err_size)
{
	static const struct addr any6;
	struct addr binds[CONFIG_MAX_BINDS + 2];
	unsigned n_binds = c->n_binds;
	char at[ENDPOINT_TEXT_LEN];
	size_t n = 0;

	memcpy(binds, c->binds, sizeof(c->binds));
	if (!n_binds) {
		binds[n_binds++] = addr_from_v4("\0\0\0\0");
		binds[n_binds++] = any6;
	}
	snprintf(err, err_size, "out of memory");
	all->resume = event_new(all->base, -1, 0, on_resume, all);
	if (all->channel.workers > 1)
		all->arrivals = arrivals_new(all->base, &on_arrival, all);
	if (!all->resume || (all->channel.workers > 1 && !all->arrivals))
		return -1;
	for (unsigned i = 0; i < n_binds; i++) {
		const struct endpoint e = { binds[i], c->port };
		int error = listen_on(all, &e, !addr_is_v4(&e.addr));

		/* Without IPv6 on this host, "all addresses" are those of IPv4. */
		if ((error == EAFNOSUPPORT || error == EADDRNOTAVAIL) && !c->n_binds && i)
			continue;
		if (error) {
			words_for(error, &e, err, err_size);
			return -1;
		}
		if (n < where_size)
			n += (size_t)snprintf(where + n, where_size - n, "%s%s", n ? ", " : "",
					      endpoint_format(at, sizeof(at), &e));
	}
	return 0;
}

void clients_close(struct clients *all, const char *why)
{
	if (!all)
		return;
	for (struct client *p = all->first, *next; p; p = next) {
		next = p->next;
		channel_conn_close(p->conn, why);
		drop(p);
	}
	for (unsigned i = 0; i < all->n_listeners; i++) {
		event_free(all->listeners[i].event);
		close(all->listeners[i].fd);
	}
	if (all->resume)
		event_free(all->resume);
	arrivals_free(all->arrivals);
	free(all);
}

struct client *clients_next(const struct clients *all, const struct client *after)
{
	struct client *p = after ? after->next : all->first;

	while (p && !p->up)
		p = p->next;
	return p;
}

unsigned clients_watches(const struct clients *all, const struct addr *a)
{
	unsigned n = 0;

	for (const struct client *p = all->first; p; p = p->next)
		if (addr_neighbours(&p->from, a))
			n += p->n_watches;
	return n;
}
