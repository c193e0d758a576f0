#ifndef TCPCOPY_GOVERN_GOVERN_H
#define TCPCOPY_GOVERN_GOVERN_H

#include "tcpcopy/choice/breaker.h"
#include "tcpcopy/choice/gates.h"
#include "tcpcopy/choice/strain.h"

struct event_base;
struct govern;
struct workers;

/* A breaker, and what it has tripped of last. */
struct govern_breaker {
	struct breaker state;
	char strain[STRAIN_TEXT]; /* "": it has never tripped */
};

/* How they stand. */
struct govern_state {
	struct govern_breaker breaker[CONFIG_MAX_RULES]; /* for each rule */
	struct govern_breaker yield;
};

/*
 * Look at the targets and at this host once a second, from @base's loop, as *c says, and shut *gates,
 * which is open, and open it again. Call it before the sandbox, which lets nobody open what is read of
 * this host. Where *c says nothing, nothing is looked at. *c, @w and *gates must outlive it. Returns NULL
 * with words in @err on failure.
 */
struct govern *govern_new(struct event_base *base, struct workers *w, const struct config *c,
			  struct gates *gates, char *err, size_t err_size);

/* How they stand. Valid as long as @g, and until the loop goes on. */
const struct govern_state *govern_state(const struct govern *g);

/* End it, before the workers end. @g may be NULL. */
void govern_free(struct govern *g);

#endif
