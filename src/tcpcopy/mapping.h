#ifndef TCPCOPY_MAPPING_H
#define TCPCOPY_MAPPING_H

#include "base/siphash.h"
#include "io/capture/fanout.h"
#include "tcpcopy/config/config.h"
#include "session/session.h"

/*
 * Which source address and port a session uses towards its target: the client's own, or one of the -c pool,
 * never one that another live session has.
 */
struct mapping;

/*
 * Of worker @worker of @spread, which with a pool goes by the source port. NULL: no memory. @c and @spread
 * must outlive it.
 */
struct mapping *mapping_new(const struct config *c, const struct fanout *spread, unsigned worker,
			    const struct siphash_key *key);
void mapping_free(struct mapping *m);

/* False: every address of the pool is taken for this target, or no memory. */
bool mapping_take(struct mapping *m, const struct flow_key *k, struct endpoint *source);
void mapping_give(struct mapping *m, const struct flow_key *k, const struct endpoint *source);
uint32_t mapping_count(const struct mapping *m);

#endif
