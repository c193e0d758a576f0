#ifndef TCPCOPY_STRAY_H
#define TCPCOPY_STRAY_H

#include "channel/message.h"
#include "io/inject/sink.h"
#include "tcpcopy/config/config.h"

struct stray_counters {
	uint64_t reset, refused;
	uint64_t second; /* of CLOCK_MONOTONIC, the one that `answered` counts */
	unsigned answered;
};

/* Reset the connection that @m speaks of, if its target is one of @c's rules. @now: ns. */
void stray_answer(const struct config *c, struct stray_counters *n, struct sink *sink,
		  const struct msg_stray *m, uint64_t now);

#endif
