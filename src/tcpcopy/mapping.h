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
 * Returns the mapping of worker @worker of @spread, which goes by the source port when there is a pool. NULL
 * if memory ran out. @c and @spread must outlive it; @key is copied. It belongs to its worker's thread.
 */
struct mapping *mapping_new(const struct config *c, const struct fanout *spread, unsigned worker,
			    const struct siphash_key *key);
void mapping_free(struct mapping *m); /* @m may be NULL */

/*
 * Claims an address and port for a new session and returns true, with the endpoint (port in host byte order)
 * in *@source; or returns false if every address of the pool is taken for this target or memory ran out. The
 * caller gives it back by mapping_give() when the session is gone.
 */
bool mapping_take(struct mapping *m, const struct flow_key *k, struct endpoint *source);
void mapping_give(struct mapping *m, const struct flow_key *k, const struct endpoint *source);

/* To be called once a second: gives memory back to the kernel that a burst of sessions has left. */
void mapping_trim(struct mapping *m);

#endif
