#ifndef INTERCEPT_CHECK_FINDINGS_H
#define INTERCEPT_CHECK_FINDINGS_H

#include "intercept/hole/announce.h"
#include "intercept/config.h"
#include "intercept/clients/clients.h"

struct event_base;
struct findings;

/* What becomes of one tuple on this host (doc/PROTOCOL.md, PROBE). NULL: no memory. */
struct findings *findings_new(struct event_base *base, const struct config *c, const struct announce *a);
void findings_free(struct findings *p);

/* @client asks; it is answered at once. */
void findings_ask(struct findings *p, struct client *client, const struct msg_watch *m);
/* @client goes. */
void findings_end(struct findings *p, const struct client *client);

#endif
