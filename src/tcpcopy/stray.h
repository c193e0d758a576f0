#ifndef TCPCOPY_STRAY_H
#define TCPCOPY_STRAY_H

#include "channel/message.h"
#include "io/inject/sink.h"
#include "tcpcopy/config/config.h"

struct stray_counters {
	uint64_t reset, refused;
	uint64_t second;   /* the second of CLOCK_MONOTONIC that `answered` counts */
	unsigned answered; /* resets sent in it */
};

/*
 * Reset the connection of *m through @sink, if its target is one of the rules of *c and not too many were
 * reset in this second. Counts the result in *n. @now: ns.
 */
void stray_answer(const struct config *c, struct stray_counters *n, struct sink *sink,
		  const struct msg_stray *m, uint64_t now);

#endif
