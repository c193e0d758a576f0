/*
 * Letters between threads.
 *
 * In: functions and some bytes, from any thread. Out: calls of these functions by the one thread whose
 * event loop has the mailbox. Letters lie in a ring under a lock that is held for a copy only, never
 * during a call. An eventfd wakes the loop when the first letter comes; the reader takes no more
 * than were there when it began, so that letters which bring letters do not starve the loop.
 */
#include "program/mailbox.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct letter {
	void (*fn)(void *arg, const void *data);
	void *arg;
	_Alignas(16) unsigned char data[MAILBOX_DATA];
};

struct mailbox {
	int fd;
	struct event *event;
	pthread_mutex_t lock; /* for what follows */
	unsigned head, count;
	struct letter ring[MAILBOX_MAX];
};

static void ring(int fd)
{
	const uint64_t one = 1;

	while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static bool take(struct mailbox *m, struct letter *l)
{
	bool any;

	pthread_mutex_lock(&m->lock);
	any = m->count > 0;
	if (any) {
		*l = m->ring[m->head];
		m->head = (m->head + 1) % MAILBOX_MAX;
		m->count--;
	}
	pthread_mutex_unlock(&m->lock);
	return any;
}

static void on_letters(evutil_socket_t fd, short what, void *arg)
{
	struct mailbox *m = arg;
	struct letter l;
	unsigned n;
	uint64_t rings;

	(void)what;
	while (read((int)fd, &rings, sizeof(rings)) < 0 && errno == EINTR)
		;
	pthread_mutex_lock(&m->lock);
	n = m->count;
	pthread_mutex_unlock(&m->lock);
	for (; n && take(m, &l); n--)
		l.fn(l.arg, l.data);
}

bool mailbox_post(struct mailbox *m, void (*fn)(void *arg, const void *data), void *arg, const void *data,
		  size_t size)
{
	struct letter *l;
	bool room;

	assert(size <= MAILBOX_DATA);
	pthread_mutex_lock(&m->lock);
	room = m->count < MAILBOX_MAX;
	if (room) {
		l = &m->ring[(m->head + m->count++) % MAILBOX_MAX];
		l->fn = fn;
		l->arg = arg;
		if (size)
			memcpy(l->data, data, size);
	}
	pthread_mutex_unlock(&m->lock);
	if (room)
		ring(m->fd);
	return room;
}

struct mailbox *mailbox_new(struct event_base *base)
{
	struct mailbox *m = calloc(1, sizeof(*m)); /* its pages are touched when they are needed */

	if (!m)
		return NULL;
	pthread_mutex_init(&m->lock, NULL);
	m->fd = eventfd(0, EFD_CLOEXEC);
	m->event = m->fd < 0 ? NULL : event_new(base, m->fd, EV_READ | EV_PERSIST, on_letters, m);
	if (m->event && !event_add(m->event, NULL))
		return m;
	mailbox_free(m);
	return NULL;
}

void mailbox_free(struct mailbox *m)
{
	if (!m)
		return;
	if (m->event)
		event_free(m->event);
	if (m->fd >= 0)
		close(m->fd);
	pthread_mutex_destroy(&m->lock);
	free(m);
}
