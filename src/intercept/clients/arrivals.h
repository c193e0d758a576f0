#ifndef INTERCEPT_CLIENTS_ARRIVALS_H
#define INTERCEPT_CLIENTS_ARRIVALS_H

#include "packet/addr.h"

struct event_base;

/* Accepted connections that have not yet said which worker they are for. */
struct arrivals;

struct arrivals_handler {
	/* @fd is for @worker: 0 where nothing was said. It is the receiver's now. */
	void (*arrived)(int fd, const struct endpoint *from, unsigned worker, void *arg);
	/* It ended, or said nothing in time, and was closed. */
	void (*left)(const struct endpoint *from, const char *why, void *arg);
};

/* NULL: no memory. */
struct arrivals *arrivals_new(struct event_base *base, const struct arrivals_handler *h, void *arg);
void arrivals_free(struct arrivals *a); /* closes those that wait; no handler is called */

/* @fd is taken; a handler follows. */
void arrivals_add(struct arrivals *a, int fd, const struct endpoint *from);

#endif
