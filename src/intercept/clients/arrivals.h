#ifndef INTERCEPT_CLIENTS_ARRIVALS_H
#define INTERCEPT_CLIENTS_ARRIVALS_H

#include "packet/addr.h"

struct event_base;

/* Accepted connections that have not yet said which worker they are for. */
struct arrivals;

struct arrivals_handler {
	/*
	 * The connection @fd from @from is for @worker (0 if it named none). @fd now belongs to the callee.
	 */
	void (*arrived)(int fd, const struct endpoint *from, unsigned worker, void *arg);
	/*
	 * The connection ended, or said nothing in time, and was closed. @why says which; NULL: its peer
	 * ended it and had said nothing.
	 */
	void (*left)(const struct endpoint *from, const char *why, void *arg);
};

/*
 * @h and @arg must stay valid; @h's functions are called from @base's loop. Returns NULL if memory ran out.
 */
struct arrivals *arrivals_new(struct event_base *base, const struct arrivals_handler *h, void *arg);
/* Closes the connections that still wait, without calling a handler. @a may be NULL. */
void arrivals_free(struct arrivals *a);

/*
 * Takes the accepted connection @fd from @from. One of the handlers is called for it, once; that may be
 * before this returns. May close the oldest connection that waits (ADMISSION_MAX_GREETING).
 */
void arrivals_add(struct arrivals *a, int fd, const struct endpoint *from);

#endif
