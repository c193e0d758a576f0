#ifndef TCPCOPY_REPLAY_REACHED_H
#define TCPCOPY_REPLAY_REACHED_H

#include <stdbool.h>
#include <stddef.h>

#include "tcpcopy/config/config.h"

/*
 * Was nobody reached: did the targets of a replay that is over open no connection? @n is what its engine has
 * counted. If so, @words say what they did instead.
 */
bool replay_reached_nobody(const struct config *c, const struct engine_counters *n, char *words, size_t size);

#endif
