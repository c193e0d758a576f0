#ifndef INTERCEPT_WATCH_WATCH_H
#define INTERCEPT_WATCH_WATCH_H

#include "intercept/clients/clients.h"
#include "packet/response.h"

struct pipeline;

/* What the connections of tcpcopys say; the argument is their worker's pipeline. */
extern const struct clients_handler watch_handler;

/* @client's connection is lost: its targets are released; its watches end, and are remembered for a while. */
void watch_release_all(struct pipeline *p, struct client *client);

/* No owner has come for the response @r with the tuple @t; a callback of early.h. */
void watch_given_up(const struct tuple *t, const struct response *r, void *pipeline);

#endif
