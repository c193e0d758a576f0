#ifndef TCPCOPY_MAPPING_H
#define TCPCOPY_MAPPING_H

#include "base/siphash.h"
#include "io/capture/fanout.h"
#include "tcpcopy/config/config.h"
#include "session/session.h"

/*
 * Which source address and port a session uses towards its target: the client's own, or one of the -c pool,
 * never one that a session of another connection has towards the same target.
 */
struct mapping;

#define MAPPING_PORTS 64512u /* of each address of a pool: those from 1024 on */

/*
 * The mapping of worker @worker (from 0) of @spread, which goes by the source port. *c and
 * *spread must outlive it; *key is copied. It belongs to its worker's thread. NULL if out of memory.
 */
struct mapping *mapping_new(const struct config *c, const struct fanout *spread, unsigned worker,
			    const struct siphash_key *key);

/* Free the mapping and all claims. @m may be NULL. */
void mapping_free(struct mapping *m);

/*
 * Claim an address and port for the new session *k. Returns true and sets *@source (port in host byte
 * order); or returns false if no address and port is left for this target, or memory ran out. Without a
 * pool it is the client's own, or another port of its address while a session of another connection has
 * that one. The caller gives the claim back with mapping_give() when the session is gone.
 */
bool mapping_take(struct mapping *m, const struct flow_key *k, struct endpoint *source);

/*
 * Is the client's own endpoint of the new session *k that of a further copy? Then that has to end: *holder is
 * its key, and the next mapping_take() of *k takes the endpoint over. The claim of the one that ends is given
 * back as any other, before or after that.
 */
bool mapping_holder(struct mapping *m, const struct flow_key *k, struct flow_key *holder);

/* Ask for the memory that mapping_take() will look at. */
void mapping_prefetch(const struct mapping *m, const struct flow_key *k);

/*
 * As mapping_take(), for a session whose present source another tcpcopy has: another one. Both are the
 * session's until the caller gives the old one back.
 */
bool mapping_take_other(struct mapping *m, const struct flow_key *k, struct endpoint *source);

/* Give back the claim of the session *k on *source, which mapping_take() has returned. */
void mapping_give(struct mapping *m, const struct flow_key *k, const struct endpoint *source);

/* Has a session this source towards @target? Only of a worker's own ports: fanout_port_worker(). */
bool mapping_has(const struct mapping *m, const struct endpoint *target, const struct endpoint *source);

/* How many addresses the pool of *c has for clients of that family, counted up to 2^32 for each element. */
uint64_t mapping_pool_addresses(const struct config *c, bool v4);

/* Return memory that a burst of sessions has left to the kernel. Call it about once a second. */
void mapping_trim(struct mapping *m);

#endif
