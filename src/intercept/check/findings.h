#ifndef INTERCEPT_CHECK_FINDINGS_H
#define INTERCEPT_CHECK_FINDINGS_H

#include "intercept/hole/announce.h"
#include "intercept/config.h"
#include "intercept/clients/clients.h"

struct event_base;
struct probe;

/* What becomes of one tuple on this host (doc/PROTOCOL.md, PROBE). NULL: no memory. */
struct probe *probe_new(struct event_base *base, const struct config *c, const struct announce *a);
void probe_free(struct probe *p);

/* @client asks; it is answered at once. */
void probe_ask(struct probe *p, struct client *client, const struct msg_watch *m);
/* @client goes. */
void probe_end(struct probe *p, const struct client *client);

#endif
