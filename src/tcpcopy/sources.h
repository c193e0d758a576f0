#ifndef TCPCOPY_SOURCES_H
#define TCPCOPY_SOURCES_H

#include <stddef.h>
#include <stdint.h>

#include "tcpcopy/config/config.h"

struct pipeline;

/* Bytes of all capture rings together, with -B or without it. */
uint64_t sources_ring(const struct config *c);

/*
 * Open the capture sources of all workers and give each pipeline its own. @p has as many pipelines as
 * p[0]->spread has workers, which were opened by pipeline_open() and close what they are given. 0; or -1 with
 * words in @err.
 */
int sources_open(struct pipeline *const p[], char *err, size_t err_size);

#endif
