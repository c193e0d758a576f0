#ifndef PROGRAM_MAILBOX_H
#define PROGRAM_MAILBOX_H

#include <stdbool.h>
#include <stddef.h>

struct event_base;

/* Letters from other threads to a thread with an event loop. It has a lock, so it is for rare things. */
struct mailbox;

#define MAILBOX_MAX 2048u /* waiting letters */
#define MAILBOX_DATA 512u /* bytes in a letter */

/* A mailbox whose letters @base's loop reads. NULL with errno on failure. */
struct mailbox *mailbox_new(struct event_base *base);

/* Free the mailbox. Letters that wait are thrown away. @m may be NULL. */
void mailbox_free(struct mailbox *m);

/*
 * Let the loop's thread call @fn with @arg and a copy of the @size bytes at @data (0 to MAILBOX_DATA), in
 * the order of posting. May be called by any thread. Returns false if too many letters wait.
 */
bool mailbox_post(struct mailbox *m, void (*fn)(void *arg, const void *data), void *arg, const void *data,
		  size_t size);

#endif
