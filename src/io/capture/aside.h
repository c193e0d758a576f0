#ifndef IO_CAPTURE_ASIDE_H
#define IO_CAPTURE_ASIDE_H

#include <stdbool.h>
#include <stddef.h>

#include "packet/parse.h"

/* Packets copied aside, first in, first out, in bounded memory; see aside.c. */
struct aside;

/*
 * Room for @bytes of packets and their heads. Memory is touched only when it is needed. NULL if there is
 * none.
 */
struct aside *aside_new(size_t bytes);

/* Free it with the packets that it holds. @a may be NULL. */
void aside_free(struct aside *a);

/* Copy the packet *p aside. Returns false, and copies nothing, if there is no room for it. */
bool aside_put(struct aside *a, const struct raw_packet *p);

/*
 * Fill *p with the oldest packet that was not taken yet. Its bytes stay until aside_release(). Returns false
 * if there is none.
 */
bool aside_take(struct aside *a, struct raw_packet *p);

/* Free the room of all packets that were taken. */
void aside_release(struct aside *a);

/* Were all packets taken? */
bool aside_empty(const struct aside *a);

#endif
