#ifndef INTERCEPT_HOLE_ON_TARGET_H
#define INTERCEPT_HOLE_ON_TARGET_H

#include <stdbool.h>
#include <stddef.h>

#include "intercept/config.h"
#include "program/check.h"

/*
 * --on-target: intercept runs on the target itself. Copies are sent to addresses of their own, and what this
 * host sends from these ends in a device that is captured on. There is at most one per network namespace.
 */
struct on_target;

struct event_base;

/* Does an intercept of this network namespace have it? */
bool on_target_running(void);

/* Can this be with the addresses of @c? If not, *r says what is wrong, and what to type. Takes up to 4 s. */
bool on_target_possible(const struct config *c, struct check_result *r);

/*
 * Make the device, the addresses and the rules, and let @c capture on that device alone. Call this before the
 * program starts threads or enters its sandbox, and before it opens sockets. From then on @base's loop calls
 * @lost with @arg if they have gone. Returns NULL with words in @err.
 */
struct on_target *on_target_open(struct event_base *base, struct config *c, void (*lost)(void *arg),
				 void *arg, char *err, size_t err_size);

/* Remove all of it, and free @t. Call this when @base's loop has ended. @t may be NULL. */
void on_target_close(struct on_target *t);

/* --clean: remove what a killed intercept has left, and say so on stdout. Returns an exit status. */
int on_target_clean(void);

#endif
