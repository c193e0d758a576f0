#ifndef SESSION_FLOW_TABLE_H
#define SESSION_FLOW_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/siphash.h"
#include "base/table.h"
#include "session/session.h"

/*
 * From a flow_key to its newest session. Keyed by SipHash because clients choose the keys; the
 * whole key is always compared.
 */
struct flow_table;

struct flow_table *flow_table_new(const struct siphash_key *key, struct pool *pool);
void flow_table_free(struct flow_table *t);
struct session *flow_table_find(const struct flow_table *t, const struct flow_key *k);
/* In place of the one with its key. */
void flow_table_put(struct flow_table *t, struct session *s);
/* False: another one has its place. */
bool flow_table_remove(struct flow_table *t, struct session *s);

/* Ahead of flow_table_find(): this for several keys, then flow_table_likely() with what it
 * returned, see base/table.h. */
uint32_t flow_table_prefetch(const struct flow_table *t, const struct flow_key *k);
const struct session *flow_table_likely(const struct flow_table *t, uint32_t hash);

#endif
