#ifndef TCPCOPY_RETURNS_ASSISTANTS_H
#define TCPCOPY_RETURNS_ASSISTANTS_H

#include "tcpcopy/config/config.h"
#include "tcpcopy/returns/returns.h"

struct event_base;

/*
 * The assistants as a return path (returns.h): the connections of one worker to all workers of all
 * assistants. They are made at the start, and made again within a second whenever one is lost. A connection
 * that cannot take a watch is given up and made again.
 *
 * Begin to connect to all assistants of *c, for worker @worker (from 0) in @base's loop. @p is told with the
 * functions of returns.h; nothing happens before the loop runs. NULL if out of memory. *c must outlive it.
 */
struct returns *assistants_open(struct event_base *base, const struct config *c, unsigned worker,
				struct pipeline *p);

#endif
