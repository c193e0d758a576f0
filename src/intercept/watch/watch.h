#ifndef INTERCEPT_WATCH_WATCH_H
#define INTERCEPT_WATCH_WATCH_H

#include "intercept/clients/clients.h"
#include "packet/response.h"

struct pipeline;
struct watch;

/*
 * Handles the messages and the ends of the tcpcopys' connections. Its argument is the pipeline of their
 * worker.
 */
extern const struct clients_handler watch_handler;

/* @client's connection is lost: its targets are released, and its watches end and become orphans. */
void watch_release_all(struct pipeline *p, struct client *client);

/* Is a segment with @flags and @ack of none of the watches of a tuple, of which @first is the oldest? */
bool watch_is_of_others(const struct watch *first, uint8_t flags, uint32_t ack);

/*
 * The response @r, whose id is not used, of the tuple of @first, its oldest watch: to whom the tuple is
 * proved to be, by this response or an earlier one, or to all who ask for it. @first may be gone afterwards.
 */
void watch_deliver(struct pipeline *p, struct watch *first, const struct response *r);

/*
 * No owner has come in time for the response @r with the tuple @t: whoever has asked for the tuple gets it
 * after all; or it is counted, and sent as a STRAY if it belongs to an orphan. The callback of early_new(),
 * with the pipeline as its argument.
 */
void watch_given_up(const struct tuple *t, const struct response *r, void *pipeline);

#endif
