#ifndef SESSION_FLOW_TABLE_H
#define SESSION_FLOW_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/siphash.h"
#include "base/table.h"
#include "session/session.h"

/*
 * Finds the newest session of a flow_key. The hash is keyed (SipHash) because clients choose the keys; the
 * whole key is always compared.
 */
struct flow_table;

/*
 * @key is copied. All memory comes from @pool, which must outlive the table. Returns NULL if memory ran out.
 */
struct flow_table *flow_table_new(const struct siphash_key *key, struct pool *pool);
/* Frees the table, not the sessions. @t may be NULL. */
void flow_table_free(struct flow_table *t);
/* Returns the session of @k, or NULL. */
struct session *flow_table_find(const struct flow_table *t, const struct flow_key *k);
/* Adds @s, in the place of the session that has its key now, if there is one. Never fails. */
void flow_table_put(struct flow_table *t, struct session *s);
/* Removes @s. Returns false if @s is not in the table, because a newer session of its key has its place. */
bool flow_table_remove(struct flow_table *t, struct session *s);

/*
 * Fetches memory for a flow_table_find() of @k, as a hint to the CPU. Returns the hash for
 * flow_table_likely(). Call this for several keys, then flow_table_likely() for each; see base/table.h.
 */
uint32_t flow_table_prefetch(const struct flow_table *t, const struct flow_key *k);
/* Returns the session that flow_table_find() is likely to return, or NULL. For prefetching only. */
const struct session *flow_table_likely(const struct flow_table *t, uint32_t hash);

#endif
