#ifndef TCPCOPY_RETURNS_H
#define TCPCOPY_RETURNS_H

#include "channel/message.h"
#include "packet/response.h"

/*
 * The way back from the target to a worker's engine. A return path is what delivers the responses: the
 * assistants (assistants.h). It belongs to one worker, and its functions are in terms of sessions: watch the
 * responses of a session, stop watching them, how many more may be watched now. It reports to the pipeline
 * with the functions below, which are in pipeline.c. It calls them on the worker's thread, from the event
 * loop, and never from inside a call that the pipeline made, because the engine must not be called from its
 * own actions.
 */
struct pipeline;

/* The return path is up, or up again: announce all live sessions to it, and each new one from now on. */
void returns_up(struct pipeline *p);

/* It has been down for so long (seconds) that new sessions would wait in vain. */
void returns_down(struct pipeline *p);

/*
 * The first attempt to bring up all of it is over. Called once. @failed: NULL if it works, else the reason in
 * words for the user.
 */
void returns_tried(struct pipeline *p, const char *failed);

/* A response of a watched session has arrived. They come in the order of capture. */
void returns_response(struct pipeline *p, const struct response *r);

/* A response has arrived on a connection that an earlier tcpcopy on this host left on the target. */
void returns_stray(struct pipeline *p, const struct msg_stray *m);

/* Another tcpcopy has the source of the session @id towards its target. */
void returns_taken(struct pipeline *p, uint64_t id);

/* All responses that arrived together were delivered: send what they have released. */
void returns_batch_end(struct pipeline *p);

#endif
