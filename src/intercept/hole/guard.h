#ifndef INTERCEPT_HOLE_GUARD_H
#define INTERCEPT_HOLE_GUARD_H

#include <stdbool.h>
#include <stddef.h>

#include "packet/addr.h"

#define GUARD_TABLE "tcpcopy_intercept" /* of family inet */

/*
 * --guard: an nft table of our own that drops, before routing, TCP segments from known targets that
 * are not addressed to this host. One for each network namespace.
 */
struct guard;

/* Is there what it needs? */
bool guard_possible(void);

/* NULL with words in @err: no nft, no permission, or another intercept has it. A table left by a
 * crash is replaced, with a warning. */
struct guard *guard_open(char *err, size_t err_size);

/* Drop what @n endpoints at @e send from now on. 0; or -1 with @err. Takes some milliseconds: nft
 * is run. */
int guard_add(struct guard *g, const struct endpoint *e, unsigned n, char *err, size_t err_size);

/* Take the table away. */
void guard_close(struct guard *g);

#endif
