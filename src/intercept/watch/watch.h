#ifndef INTERCEPT_WATCH_WATCH_H
#define INTERCEPT_WATCH_WATCH_H

#include "intercept/clients/clients.h"
#include "packet/response.h"

struct pipeline;

/*
 * Handles the messages and the ends of the tcpcopys' connections. Its argument is the pipeline of their
 * worker.
 */
extern const struct clients_handler watch_handler;

/* @client's connection is lost: its targets are released, and its watches end and become orphans. */
void watch_release_all(struct pipeline *p, struct client *client);

/*
 * No owner has come in time for the response @r with the tuple @t: counts it, and sends a STRAY if it belongs
 * to an orphan. The callback of early_new(), with the pipeline as its argument.
 */
void watch_given_up(const struct tuple *t, const struct response *r, void *pipeline);

#endif
