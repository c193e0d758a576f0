/*
 * One end of a channel connection: HELLO, frames, PING, bounded output (doc/PROTOCOL.md, "A connection").
 *
 * It takes a socket, and gives out whole messages by callback, and the reason for the end. The connection
 * owns its bufferevent, its timer and its socket. The caller owns only the pointer, until down() has
 * returned or it has called channel_conn_close(). Both may happen inside any callback, so the memory goes
 * when the outermost callback is left (busy, dead).
 *
 * A batch gathers everything that a callback sends. The first message makes an event active, which writes
 * the batch to the socket right after the callback: that is one system call, where waiting for the socket to
 * be writable costs four and a turn of the loop. What the socket does not take, and what comes while
 * something is left, goes through the bufferevent's output. Time needs no clock: one timer runs, first as
 * the deadline of HELLO, then ticking at the PING interval and looking whether anything was heard since the
 * tick before. A process that was stopped for a minute therefore misses one tick, and does not take its
 * peers for dead.
 *
 * With a secret, the bytes of the socket pass through tls.c, in front of the frames on the way in and behind
 * the batch on the way out. Everything else is the same. Each end knows from the peer's first byte whether
 * it speaks TLS, and says so to the peer, if it can, and to its owner.
 */
#include "channel/conn.h"

#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include "program/sandbox.h"
#include "base/util.h"
#include "channel/tls.h"

/* A connection, made anew when it was lost, and what libevent calls for it. */
SANDBOX_CALLS("connect", "getpeername", "setsockopt", "getsockopt", "readv", "writev", "recvfrom", "sendto",
	      "shutdown");

#define DEFAULT_MAX_OUTPUT (1u << 20)
#define CONTROL_RESERVE 4096u /* PING, PONG and BYE find room above the bound */
#define UNACKED_MS 3000u      /* of what the connecting side has sent: the way is cut */
#define READ_AT_ONCE 65536u   /* bytes of one callback: other work waits no longer */

struct channel_conn {
	struct bufferevent *bev;
	struct event *timer;
	struct evbuffer *batch; /* messages of the callback at hand; empty while output is not */
	struct tls *tls;        /* NULL: plain */
	struct msg_hello me;
	struct event *flush;
	const struct channel_handler *handler;
	void *arg;
	struct endpoint peer;
	size_t max_output;
	bool connected;   /* TCP is through */
	bool greeted;     /* our HELLO is on its way */
	bool up;          /* HELLO was exchanged */
	bool blocked;     /* a send was refused: drained() is owed */
	bool heard, left; /* since the last tick; by a peer that had said nothing */
	bool gave;        /* messages to the owner: batch_end() is owed */
	bool dead;
	bool closed;   /* by the owner, who must not be told anything more */
	unsigned busy; /* callbacks on the stack */
	unsigned quiet_ticks;
	unsigned timeout_ms; /* of connect and HELLO together; 0 on the accepting side */
	int connect_errno;   /* connect() failed at once: reported by the timer */
	uint64_t pings;
};

static void enter(struct channel_conn *c)
{
	c->busy++;
}

static void leave(struct channel_conn *c)
{
	if (--c->busy || !c->dead)
		return;
	if (c->bev)
		bufferevent_free(c->bev);
	if (c->timer)
		event_free(c->timer);
	if (c->flush)
		event_free(c->flush);
	if (c->batch)
		evbuffer_free(c->batch);
	tls_free(c->tls);
	free(c);
}

static void die(struct channel_conn *c)
{
	c->dead = true;
	if (c->bev)
		bufferevent_disable(c->bev, EV_READ | EV_WRITE);
	if (c->timer)
		event_del(c->timer);
	if (c->flush)
		event_del(c->flush);
}

static void batch_end(struct channel_conn *c)
{
	if (c->gave && !c->closed && c->handler->batch_end)
		c->handler->batch_end(c, c->arg);
	c->gave = false;
}

/* The end as seen from here: tell the owner, once. Called inside enter() and leave(). */
static void down(struct channel_conn *c, const char *why)
{
	if (c->dead)
		return;
	die(c);
	batch_end(c); /* in mid-read: what it was given is to be acted upon all the same */
	if (!c->closed)
		c->handler->down(c, why, c->arg);
}

static void down_errno(struct channel_conn *c, int error)
{
	char why[128];

	snprintf(why, sizeof(why), "%s", error ? strerror(error) : "connection failed");
	why[0] = (char)tolower((unsigned char)why[0]);
	down(c, why);
}

static size_t output_len(const struct channel_conn *c)
{
	return evbuffer_get_length(bufferevent_get_output(c->bev));
}

/* What the batch holds is encrypted, in its place. */
static void seal(struct channel_conn *c)
{
	if (!c->tls || !evbuffer_get_length(c->batch) || tls_seal(c->tls, c->batch))
		return;
	evbuffer_drain(c->batch, evbuffer_get_length(c->batch));
	shutdown(bufferevent_getfd(c->bev), SHUT_RDWR); /* told as any other end of the stream */
}

static void put(struct channel_conn *c, const struct message *m)
{
	uint8_t frame[MESSAGE_MAX_LEN];
	const size_t len = message_encode(frame, m);

	/* not past the batch: who gets a PONG has all that was sent before it */
	evbuffer_add(c->batch, frame, len);
	seal(c);
	bufferevent_write_buffer(c->bev, c->batch);
}

static void put_control(struct channel_conn *c, const struct message *m)
{
	if (channel_conn_unsent(c) < c->max_output + CONTROL_RESERVE)
		put(c, m);
}

/*
 * One attempt to hand the output to the kernel: the bufferevent is about to go, and with it what it still
 * holds. Its own writing freezes the front of its buffer, which is lifted here for the last time.
 */
static void last_write(struct channel_conn *c)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);

	evbuffer_unfreeze(out, 1);
	evbuffer_write(out, bufferevent_getfd(c->bev));
}

/* And the reason, if it can be said: not before a TLS handshake is through. */
static void put_bye(struct channel_conn *c, const char *why)
{
	struct message m = { .type = MSG_BYE };

	if (!c->connected || c->dead || !c->greeted)
		return;
	snprintf(m.bye, sizeof(m.bye), "%s", why);
	seal(c);
	bufferevent_write_buffer(c->bev, c->batch);
	put_control(c, &m);
	last_write(c);
}

static void fault(struct channel_conn *c, const char *why)
{
	put_bye(c, why);
	down(c, why);
}

static void greet(struct channel_conn *c)
{
	struct message m = { .type = MSG_HELLO, .hello = c->me };

	c->greeted = true;
	put(c, &m);
}

/* What the socket brought, decrypted. A peer without a secret is told so in its own language, for its log. */
static struct evbuffer *decrypt(struct channel_conn *c, struct evbuffer *in)
{
	const char *why = tls_receive(c->tls, in, bufferevent_get_output(c->bev));
	const struct message bye = {
		.type = MSG_BYE, .bye = "a secret is needed here; give both ends the same --secret FILE"
	};
	uint8_t frame[MESSAGE_MAX_LEN];
	char text[sizeof(bye.bye) + 32];
	const char *wrong;
	struct message said;
	size_t used;

	if (!c->greeted && !why && tls_is_open(c->tls))
		greet(c);
	if (why && tls_peer_is_plain(c->tls)) {
		/* it turns us away before it cares for secrets: whoever says that in its place can no more */
		if (message_decode(&said, evbuffer_pullup(in, -1), evbuffer_get_length(in), &used, &wrong) ==
			    MESSAGE_OK &&
		    said.type == MSG_BYE) {
			snprintf(text, sizeof(text), "peer closed, not encrypted: %s", said.bye);
			why = text;
		}
	}
	if (why) {
		if (tls_peer_is_plain(c->tls))
			bufferevent_write(c->bev, frame, message_encode(frame, &bye));
		last_write(c); /* also an alert */
		down(c, why);
	}
	return tls_clear(c->tls);
}

static void hello(struct channel_conn *c, const struct msg_hello *h)
{
	const uint16_t version = MIN(h->version_max, CHANNEL_VERSION_MAX);
	char why[128];

	if (version < h->version_min || version < CHANNEL_VERSION_MIN) {
		snprintf(why, sizeof(why), "no common protocol version: %u to %u here, %u to %u at the peer",
			 CHANNEL_VERSION_MIN, CHANNEL_VERSION_MAX, h->version_min, h->version_max);
		fault(c, why);
		return;
	}
	c->up = true;
	event_del(c->timer);
	event_add(c->timer, &(struct timeval){ CHANNEL_PING_MS / 1000, CHANNEL_PING_MS % 1000 * 1000 });
	c->handler->up(c, h, version, c->arg);
}

static void take(struct channel_conn *c, const struct message *m)
{
	struct message pong = { .type = MSG_PONG, .ping = m->ping };
	char why[sizeof(m->bye) + 16];

	if (m->type == MSG_BYE) {
		snprintf(why, sizeof(why), "peer closed: %s", m->bye);
		down(c, why);
	} else if (!c->up) {
		hello(c, &m->hello);
	} else if (m->type == MSG_HELLO) {
		fault(c, "bad frame: a second HELLO");
	} else if (m->type == MSG_PING) {
		put_control(c, &pong);
	} else if (m->type == MSG_RESPONSE && m->response.n_first && !(c->me.features & CHANNEL_FIRST)) {
		fault(c, "bad frame: RESPONSE with first bytes, which were not agreed on");
	} else if (m->type != MSG_PONG) {
		c->gave = true;
		c->handler->message(c, m, c->arg);
	}
}

/* Take the frames that lie in one piece at @data; returns the bytes used. */
static size_t take_frames(struct channel_conn *c, const uint8_t *data, size_t len)
{
	const char *why = NULL;
	struct message m;
	size_t done = 0, used;
	char text[160];

	while (!c->dead) {
		/* Judged by its first byte: a stray HTTP or TLS client is not waited for. */
		if (!c->up && done < len && data[done] != MSG_HELLO && data[done] != MSG_BYE) {
			if (!c->tls && data[done] == TLS_RECORD_HANDSHAKE)
				fault(c, "the peer has a secret and this end has none; give both the same "
					 "--secret FILE");
			else
				fault(c, "bad frame: the peer does not begin with HELLO");
			return done;
		}
		switch (message_decode(&m, data + done, len - done, &used, &why)) {
		case MESSAGE_MORE:
			return done;
		case MESSAGE_OK:
			done += used;
			take(c, &m);
			break;
		case MESSAGE_UNKNOWN:
			done += used;
			break;
		case MESSAGE_BAD:
			snprintf(text, sizeof(text), "bad frame: %s", why);
			fault(c, text);
			return done;
		}
	}
	return done;
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct channel_conn *c = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	size_t len, piece, used;

	enter(c);
	c->heard = true;
	if (c->tls)
		in = decrypt(c, in);
	while (!c->dead && (len = evbuffer_get_length(in)) > 0) {
		piece = evbuffer_get_contiguous_space(in);
		used = take_frames(c, evbuffer_pullup(in, (ev_ssize_t)piece), piece);
		if (used) {
			evbuffer_drain(in, used);
			continue;
		}
		/* A frame that is cut by the edge of a chunk is made whole; a part of one is waited for. */
		if (piece == len || piece >= MESSAGE_MAX_LEN)
			break;
		if (!evbuffer_pullup(in, (ev_ssize_t)MIN(len, MESSAGE_MAX_LEN)))
			down(c, "out of memory");
	}
	batch_end(c);
	leave(c);
}

/* Called when the output has drained to the low-water mark, half of the bound. */
static void on_write(struct bufferevent *bev, void *arg)
{
	struct channel_conn *c = arg;

	(void)bev;
	if (!c->blocked)
		return;
	c->blocked = false;
	enter(c);
	if (!c->dead && c->handler->drained)
		c->handler->drained(c, c->arg);
	leave(c);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct channel_conn *c = arg;
	const int error = EVUTIL_SOCKET_ERROR();

	(void)bev;
	enter(c);
	c->left = !(what & BEV_EVENT_CONNECTED) && !c->up && !c->heard;
	if (what & BEV_EVENT_CONNECTED) {
		c->connected = true;
		if (c->tls && !tls_begin(c->tls, bufferevent_get_output(c->bev)))
			down(c, "out of memory");
	} else if (what & BEV_EVENT_EOF) {
		down(c, c->up ? "peer closed" : "peer closed before HELLO");
	} else {
		down_errno(c, error);
	}
	leave(c);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct channel_conn *c = arg;
	struct message ping = { .type = MSG_PING };
	char why[64];

	(void)fd;
	(void)what;
	enter(c);
	if (c->connect_errno) {
		down_errno(c, c->connect_errno);
	} else if (!c->up) {
		unsigned ms = c->timeout_ms ? c->timeout_ms : CHANNEL_HELLO_MS;

		snprintf(why, sizeof(why), c->connected ? "no HELLO within %g s" : "no answer within %g s",
			 ms / 1e3);
		fault(c, why);
	} else if (c->heard) {
		c->heard = false;
		c->quiet_ticks = 0;
	} else if (++c->quiet_ticks >= CHANNEL_SILENT_PINGS) {
		snprintf(why, sizeof(why), "silent for %g s", CHANNEL_PING_MS * CHANNEL_SILENT_PINGS / 1e3);
		fault(c, why);
	} else {
		ping.ping = ++c->pings;
		put_control(c, &ping);
	}
	leave(c);
}

/* The callback that sent is over. A faulty socket is left for the bufferevent to find out about. */
static void on_flush(evutil_socket_t fd, short what, void *arg)
{
	struct channel_conn *c = arg;

	(void)fd;
	(void)what;
	enter(c);
	seal(c);
	if (!output_len(c))
		evbuffer_write(c->batch, bufferevent_getfd(c->bev));
	if (evbuffer_get_length(c->batch))
		bufferevent_write_buffer(c->bev, c->batch);
	else if (c->blocked && !output_len(c))
		on_write(c->bev, c); /* the bound was reached by the batch alone */
	leave(c);
}

/* The stream over @fd, which it owns from here on. */
static struct bufferevent *bufferevent_of(struct event_base *base, int fd)
{
	const int on = 1;

	/* Fails, harmlessly, on the socketpairs of tests. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
}

/* In clear, and before TLS begins: who accepts must know it before the connection has an owner. */
static void send_place(struct channel_conn *c, uint16_t place)
{
	const struct message m = { .type = MSG_PLACE, .place = place };
	uint8_t frame[MESSAGE_MAX_LEN];

	bufferevent_write(c->bev, frame, message_encode(frame, &m));
}

/* @fd is consumed, also on failure. */
static struct channel_conn *conn_new(struct event_base *base, int fd, bool accepting, unsigned first_timer_ms,
				     const struct channel_options *o, const struct channel_handler *h,
				     void *arg)
{
	struct channel_conn *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		return NULL;
	}
	c->handler = h;
	c->arg = arg;
	c->max_output = o->max_output ? o->max_output : DEFAULT_MAX_OUTPUT;
	c->me = (struct msg_hello){ .version_min = CHANNEL_VERSION_MIN,
				    .version_max = CHANNEL_VERSION_MAX,
				    .features = (o->spreads ? CHANNEL_WORKERS : 0u) |
						(o->secret && o->first ? CHANNEL_FIRST : 0u),
				    .worker = o->worker,
				    .workers = o->workers,
				    .seed = o->seed };
	snprintf(c->me.program, sizeof(c->me.program), "%s", o->program);
	snprintf(c->me.release, sizeof(c->me.release), "%s", o->release);
	c->bev = bufferevent_of(base, fd);
	if (!c->bev)
		close(fd);
	c->timer = event_new(base, -1, EV_PERSIST, on_timer, c);
	c->batch = evbuffer_new();
	c->tls = o->secret ? tls_new(o->secret, accepting) : NULL;
	c->flush = event_new(base, -1, 0, on_flush, c);
	enter(c);
	if (!c->bev || !c->timer || !c->batch || !c->flush || (o->secret && !c->tls)) {
		c->dead = true;
		leave(c);
		return NULL;
	}
	bufferevent_setcb(c->bev, on_read, on_write, on_event, c);
	bufferevent_setwatermark(c->bev, EV_WRITE, c->max_output / 2, 0);
	bufferevent_set_max_single_read(c->bev, READ_AT_ONCE);
	bufferevent_set_max_single_write(c->bev, READ_AT_ONCE);
	event_add(c->timer, &(struct timeval){ first_timer_ms / 1000, first_timer_ms % 1000 * 1000 });
	if (o->place)
		send_place(c, o->place);
	if (!c->tls)
		greet(c);
	leave(c);
	return c;
}

struct channel_conn *channel_accept(struct event_base *base, int fd, const struct channel_options *o,
				    const struct channel_handler *h, void *arg)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct channel_conn *c = conn_new(base, fd, true, CHANNEL_HELLO_MS, o, h, arg);

	if (!c)
		return NULL;
	if (getpeername(fd, (struct sockaddr *)&ss, &len) ||
	    !addr_from_sockaddr(&c->peer, (struct sockaddr *)&ss))
		memset(&c->peer, 0, sizeof(c->peer));
	c->connected = true;
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
	return c;
}

void channel_refuse(int fd, const char *why)
{
	struct message m = { .type = MSG_BYE };
	uint8_t frame[MESSAGE_MAX_LEN], hello[MESSAGE_MAX_LEN];

	snprintf(m.bye, sizeof(m.bye), "%s", why);
	/* what has come already is read, for the reset that answers unread bytes could overtake the BYE */
	if (write(fd, frame, message_encode(frame, &m)) > 0)
		while (read(fd, hello, sizeof(hello)) > 0)
			;
	close(fd);
}

struct channel_conn *channel_connect(struct event_base *base, const struct endpoint *to, unsigned timeout_ms,
				     const struct channel_options *o, const struct channel_handler *h,
				     void *arg)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(&ss, &to->addr, to->port);
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	const unsigned unacked_ms = UNACKED_MS;
	int error = 0;
	struct channel_conn *c;

	if (fd < 0)
		return NULL;
	/* A cut is waited out no longer than a new connection is quicker than TCP's next attempt. */
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked_ms, sizeof(unacked_ms));
	if (connect(fd, (struct sockaddr *)&ss, len) && errno != EINPROGRESS)
		error = errno;
	c = conn_new(base, fd, false, error ? 0 : timeout_ms, o, h, arg);
	if (!c)
		return NULL;
	c->peer = *to;
	c->timeout_ms = timeout_ms;
	c->connect_errno = error;
	if (error) {
		bufferevent_disable(c->bev, EV_READ | EV_WRITE); /* the timer tells why */
	} else {
		/* NULL: connecting is under way on the socket that it has. */
		bufferevent_socket_connect(c->bev, NULL, 0);
		bufferevent_enable(c->bev, EV_READ | EV_WRITE);
	}
	return c;
}

bool channel_conn_send(struct channel_conn *c, const struct message *m)
{
	uint8_t frame[MESSAGE_MAX_LEN];

	if (!c->up || c->dead)
		return false;
	if (channel_conn_unsent(c) >= c->max_output) {
		c->blocked = true;
		return false;
	}
	if (!c->tls && output_len(c)) {
		put(c, m);
		return true;
	}
	evbuffer_add(c->batch, frame, message_encode(frame, m));
	event_active(c->flush, 0, 0); /* no system call; does nothing if it is active already */
	return true;
}

size_t channel_conn_unsent(const struct channel_conn *c)
{
	return output_len(c) + evbuffer_get_length(c->batch);
}

const struct endpoint *channel_conn_peer(const struct channel_conn *c)
{
	return &c->peer;
}

bool channel_conn_left(const struct channel_conn *c)
{
	return c->left;
}

bool channel_conn_reached(const struct channel_conn *c)
{
	return c->connected;
}

void channel_conn_close(struct channel_conn *c, const char *why)
{
	enter(c);
	put_bye(c, why);
	c->closed = true;
	die(c); /* once more does no harm */
	leave(c);
}
