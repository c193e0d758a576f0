#ifndef TCPCOPY_RETURNS_H
#define TCPCOPY_RETURNS_H

#include "channel/message.h"
#include "packet/response.h"

/*
 * The way back from the target to a worker's engine. A return path is what responses come by: the
 * assistants (assistants.h). It belongs to one worker and is spoken to in terms of sessions: watch the
 * responses of a session, stop watching them, how many more may be watched now. What it has to say it tells
 * by the functions below, straight to the pipeline: from the worker's thread, out of the event loop, and
 * never from inside a call that the pipeline made (the engine must not be called from its own actions).
 * pipeline.c has them.
 */
struct pipeline;

/* It is up, or up again: sessions that live are announced to it, and it hears of each new one. */
void returns_up(struct pipeline *p);

/* Nothing has come by it for so long (seconds) that new sessions would wait in vain. */
void returns_down(struct pipeline *p);

/*
 * The first attempt is over, for the whole of it. Called once. @failed: NULL if it works, or why not, in
 * words for the user.
 */
void returns_tried(struct pipeline *p, const char *failed);

/* A response of a watched session, in the order of capture. */
void returns_response(struct pipeline *p, const struct response *r);

/* A response of a connection that an earlier tcpcopy on this host left on the target. */
void returns_stray(struct pipeline *p, const struct msg_stray *m);

/* After one or more responses that came together: what they have released leaves now. */
void returns_batch_end(struct pipeline *p);

#endif
