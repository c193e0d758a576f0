#ifndef PROGRAM_MAILBOX_H
#define PROGRAM_MAILBOX_H

#include <stdbool.h>
#include <stddef.h>

struct event_base;

/* What other threads ask a thread with an event loop to do. For rare things: there is a lock. */
struct mailbox;

#define MAILBOX_MAX 2048u /* letters that wait */
#define MAILBOX_DATA 512u /* bytes that go with one */

/* Letters are read by @base's loop. NULL with errno. */
struct mailbox *mailbox_new(struct event_base *base);
void mailbox_free(struct mailbox *m); /* letters that wait are thrown away */

/*
 * Have @fn called with @arg and a copy of @size bytes at @data (may be 0), by the loop's thread, in the
 * order of posting. From any thread. False: too many letters wait.
 */
bool mailbox_post(struct mailbox *m, void (*fn)(void *arg, const void *data), void *arg, const void *data,
		  size_t size);

#endif
