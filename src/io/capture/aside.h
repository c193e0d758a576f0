#ifndef IO_CAPTURE_ASIDE_H
#define IO_CAPTURE_ASIDE_H

#include <stdbool.h>
#include <stddef.h>

#include "packet/parse.h"

/* Packets copied aside, first in, first out, in memory that is bounded; see aside.c. */
struct aside;

/* Room for @bytes, none of which is touched before it is needed. NULL: no memory. */
struct aside *aside_new(size_t bytes);
void aside_free(struct aside *a);

bool aside_put(struct aside *a, const struct raw_packet *p); /* false: there is no room for it */

/* The oldest that was not taken yet; its bytes stay until aside_release(). False: there is none. */
bool aside_take(struct aside *a, struct raw_packet *p);
void aside_release(struct aside *a); /* the room of those that were taken is free again */

bool aside_empty(const struct aside *a); /* all were taken */

#endif
