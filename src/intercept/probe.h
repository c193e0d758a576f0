#ifndef INTERCEPT_PROBE_H
#define INTERCEPT_PROBE_H

#include "intercept/announce.h"
#include "intercept/config.h"
#include "intercept/peers.h"

struct event_base;
struct probe;

/* What becomes of one tuple on this host (doc/PROTOCOL.md, PROBE). NULL: no memory. */
struct probe *probe_new(struct event_base *base, const struct config *c, const struct announce *a);
void probe_free(struct probe *p);

/* @peer asks; it is answered at once. */
void probe_ask(struct probe *p, struct peer *peer, const struct msg_watch *m);
/* @peer goes. */
void probe_end(struct probe *p, const struct peer *peer);

#endif
