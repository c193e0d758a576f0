#ifndef INTERCEPT_PIPELINE_H
#define INTERCEPT_PIPELINE_H

#include "intercept/admission.h"
#include "intercept/config.h"
#include "packet/segment.h"

struct event_base;
struct pipeline;

/* The stages of one worker in @base, with captures that have no source yet. NULL: no memory. */
struct pipeline *pipeline_new(struct event_base *base, const struct config *c,
			      struct admission *admission);
/* A segment that another worker captured; see struct raw_packet for the last two. */
void pipeline_segment(struct pipeline *p, const struct segment *s, int ifindex, uint8_t pkttype);
void pipeline_close(struct pipeline *p);

#endif
