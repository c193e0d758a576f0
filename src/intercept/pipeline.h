#ifndef INTERCEPT_PIPELINE_H
#define INTERCEPT_PIPELINE_H

#include "intercept/config.h"

struct event_base;
struct pipeline;

/*
 * Open everything and hang it into @base: captures, channel, guard. @c must stay valid; interfaces
 * that it leaves open are filled in. @where says where the channel listens. NULL with words in
 * @err.
 */
struct pipeline *pipeline_open(struct event_base *base, struct config *c, char *where,
			       size_t where_size, char *err, size_t err_size);
void pipeline_close(struct pipeline *p);

#endif
