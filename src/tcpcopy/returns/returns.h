#ifndef TCPCOPY_RETURNS_RETURNS_H
#define TCPCOPY_RETURNS_RETURNS_H

#include <limits.h>

#include "channel/message.h"
#include "packet/response.h"

/*
 * The way back from the target to a worker's engine. A return path is what delivers the responses: the
 * assistants (assistants.h). It belongs to one worker, and only the worker's thread may call it. Its
 * functions are in terms of sessions: watch the responses of a session, stop watching them, how many more
 * may be watched now. It reports to the pipeline with the functions at the end, which are in pipeline.c. It
 * calls them on the worker's thread, from the event loop, and never from inside a call that the pipeline
 * made, because the engine must not be called from its own actions.
 */
struct pipeline;
struct returns;

/* What a return path has counted since the start. Of what it does not have, it has counted 0. */
struct returns_counters {
	/* connections to assistants */
	uint64_t connects, losses_of_connection, attempts_failed, messages_dropped;
	uint64_t watches_refused;
	struct msg_loss remote; /* sums over assistants and connections */
};

struct returns_ops {
	/*
	 * Ask for the responses of the session @id, whose tuple is *response (src: the target). @number + 1
	 * is what the target acknowledges next.
	 */
	void (*watch)(struct returns *r, uint64_t id, const struct tuple *response, uint32_t number);
	/*
	 * The same, but only by what has come up since announced(). Returns true if these responses come by
	 * that.
	 */
	bool (*announce)(struct returns *r, uint64_t id, const struct tuple *response, uint32_t number);
	/* All live sessions have been announced to all that is up. NULL: that is of no interest. */
	void (*announced)(struct returns *r);
	/* Ask for no more responses of the session @id, whose tuple is *response. */
	void (*unwatch)(struct returns *r, uint64_t id, const struct tuple *response);
	/* How many calls of announce() may follow now: none while an output is far behind. NULL: any. */
	unsigned (*room)(struct returns *r);
	/*
	 * How many of its parts are up, such as assistants with all of their workers. 0: nothing comes back.
	 * NULL: there is one, and it is up.
	 */
	unsigned (*up)(struct returns *r);
	void (*close)(struct returns *r);
};

/* Common head of every return path. */
struct returns {
	const struct returns_ops *ops;
	struct returns_counters n;
};

static inline void returns_watch(struct returns *r, uint64_t id, const struct tuple *response,
				 uint32_t number)
{
	r->ops->watch(r, id, response, number);
}

static inline bool returns_announce(struct returns *r, uint64_t id, const struct tuple *response,
				    uint32_t number)
{
	return r->ops->announce(r, id, response, number);
}

static inline void returns_announced(struct returns *r)
{
	if (r->ops->announced)
		r->ops->announced(r);
}

static inline void returns_unwatch(struct returns *r, uint64_t id, const struct tuple *response)
{
	r->ops->unwatch(r, id, response);
}

static inline unsigned returns_room(struct returns *r)
{
	return r->ops->room ? r->ops->room(r) : UINT_MAX;
}

static inline unsigned returns_parts_up(struct returns *r)
{
	return r->ops->up ? r->ops->up(r) : 1;
}

/* Take leave of the other side, and free it. @r may be NULL. */
static inline void returns_close(struct returns *r)
{
	if (r)
		r->ops->close(r);
}

/* What it calls, in pipeline.c. */

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

/*
 * The responses of the session @id cannot be watched: there is no room for more. @deaf: none of them can
 * come by another part of the return path.
 */
void returns_unwatched(struct pipeline *p, uint64_t id, bool deaf);

/* All responses that arrived together were delivered: send what they have released. */
void returns_batch_end(struct pipeline *p);

#endif
