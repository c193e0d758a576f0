/*
 * Pipeline of tcpcopy - theory of operation
 *
 *   capture  (io/source)  a batch of packets from the kernel
 *   parse    (packet)     bytes -> segment, or a counted reason
 *   classify              which rules is it for?
 *   session               what does the client's TCP do towards the target?
 *   inject   (io/sink)    segments -> the kernel, once a batch
 *   returns               response records come in by the assistants; they enter at the session stage, and
 *                         what they release leaves with their batch
 *
 * Four things wake the worker: a readable source (pipeline_capture.c), a readable channel, what the online
 * server says of its connections (replies.c), the engine's next deadline. Each ends in pipeline_batch_done():
 * give the engine what it waits for, flush the sink, let the engine have its memory back, set the timer. A
 * source may deliver a bounded number of packets for each wake-up, so the channel is never starved.
 */
#include "tcpcopy/pipeline.h"

#include <event2/event.h>

#include "base/util.h"
#include "program/clock.h"
#include "program/workers.h"

void pipeline_batch_done(struct pipeline *p)
{
	uint64_t at = pipeline_settle(p), wait;
	struct timeval tv;

	sink_flush(p->sink);
	engine_flushed(p->engine);
	pipeline_follow_mtu(p);
	if (at == p->timer_at)
		return;
	p->timer_at = at;
	if (at == UINT64_MAX) {
		event_del(p->timer);
		return;
	}
	wait = at > p->now ? at - p->now : 0;
	tv.tv_sec = (time_t)(wait / NS_PER_SEC);
	tv.tv_usec = (suseconds_t)((wait % NS_PER_SEC + 999) / 1000);
	event_add(p->timer, &tv);
}

void pipeline_replies(int fd, short what, void *arg)
{
	struct pipeline *p = arg;

	(void)fd;
	p->now = clock_now();
	replies_ready(p, what & EV_READ);
	pipeline_batch_done(p);
}

void pipeline_readable(int fd, short what, void *arg)
{
	(void)what;
	pipeline_capture(arg, fd);
	pipeline_batch_done(arg);
}

void pipeline_idle(void *p)
{
	pipeline_readable(-1, 0, p);
}

void pipeline_timer(evutil_socket_t fd, short what, void *arg)
{
	struct pipeline *p = arg;

	(void)fd;
	(void)what;
	p->timer_at = UINT64_MAX;
	pipeline_capture(p, -1); /* what came before the time was up counts: a worker may be late */
	engine_advance(p->engine, p->now);
	pipeline_batch_done(p);
}

void returns_response(struct pipeline *p, const struct response *r)
{
	if (batch_add_response(&p->batch, r))
		pipeline_give_responses(p);
}

static void stray_elsewhere(void *pipeline, const void *stray)
{
	returns_stray(pipeline, stray);
}

void returns_stray(struct pipeline *p, const struct msg_stray *m)
{
	const unsigned home = fanout_port_worker(&p->spread, m->response.dst.port);

	if (home != p->worker) { /* which knows whether it has such a session */
		if (!workers_post(p->workers, home, stray_elsewhere, m, sizeof(*m)))
			p->strays.refused++;
	} else if (engine_announcing(p->engine) ||
		   mapping_has(p->mapping, &m->response.src, &m->response.dst)) {
		p->strays.refused++; /* it may be one of ours, or is */
	} else {
		stray_answer(p->config, &p->strays, p->sink, m, clock_now());
	}
}

void returns_taken(struct pipeline *p, uint64_t id)
{
	pipeline_give_responses(p);
	engine_source_taken(p->engine, id, clock_now());
}

void returns_unwatched(struct pipeline *p, uint64_t id, bool deaf)
{
	pipeline_give_responses(p);
	engine_unwatched(p->engine, id, deaf, clock_now());
}

void returns_batch_end(struct pipeline *p)
{
	pipeline_batch_done(p);
}

void returns_up(struct pipeline *p)
{
	p->now = clock_now();
	if (!p->choice.since)
		p->choice.since = p->now;
	engine_channel_up(p->engine, returns_room(p->returns), p->now);
	if (p->replay)
		replay_go(p->replay);
	pipeline_batch_done(p);
}

void returns_down(struct pipeline *p)
{
	engine_channel_down(p->engine);
}

void returns_tried(struct pipeline *p, const char *failed)
{
	p->started(failed, p->started_arg);
}
