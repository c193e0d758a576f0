#ifndef INTERCEPT_CHECK_FINDINGS_H
#define INTERCEPT_CHECK_FINDINGS_H

#include "intercept/hole/announce.h"
#include "intercept/config.h"
#include "intercept/clients/clients.h"

struct event_base;
struct findings;

/*
 * What happens on this host to the packets of one tuple (doc/PROTOCOL.md, PROBE). Call this before the
 * sandbox is entered: it creates a packet socket, which stays idle until somebody asks. @c and @a must
 * outlive it. Returns NULL if memory ran out; if the socket cannot be created, the answers lack
 * FINDING_LOOKS.
 */
struct findings *findings_new(struct event_base *base, const struct config *c, const struct announce *a);
/* @p may be NULL. */
void findings_free(struct findings *p);

/*
 * Answers @client's PROBE @m at once, with FINDINGS. The first PROBE of an id starts to observe its tuple,
 * and so ends the observation that another client or id had; the next ones bring the counts so far. Without
 * another PROBE the observation ends after a minute. False: it goes without an answer, because there were too
 * many new ids.
 */
bool findings_ask(struct findings *p, struct client *client, const struct msg_watch *m);
/* @client's connection ends, and with it the observation that it may have asked for. */
void findings_end(struct findings *p, const struct client *client);

#endif
