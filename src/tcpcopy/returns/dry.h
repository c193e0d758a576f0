#ifndef TCPCOPY_RETURNS_DRY_H
#define TCPCOPY_RETURNS_DRY_H

#include "io/inject/sink.h"
#include "tcpcopy/returns/returns.h"

struct event_base;
struct pipeline;

/* --dry-run: a sink that sends nothing, and a way back from a target that there is not. */
struct dry;

/* NULL with words in @err on failure. It is freed by closing its sink. */
struct dry *dry_open(struct event_base *base, struct pipeline *p, char *err, size_t err_size);

struct sink *dry_sink(struct dry *d);

/* @own: the own addresses that sessions have, to be told what is watched and to be closed; NULL: none. */
struct returns *dry_returns(struct dry *d, struct returns *own);

#endif
