#ifndef TCPCOPY_FLOW_TABLE_H
#define TCPCOPY_FLOW_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/siphash.h"
#include "tcpcopy/session.h"

/*
 * From a flow_key to its newest session: open addressing with linear probing and backward-shift deletion, keyed by SipHash because
 * clients choose the keys; the whole key is always compared.
 */
struct flow_table;

struct flow_table *flow_table_new(const struct siphash_key *key);
void flow_table_free(struct flow_table *t);
struct session *flow_table_find(const struct flow_table *t, const struct flow_key *k);
bool flow_table_put(struct flow_table *t, const struct flow_key *k, struct session *s); /* replaces; false: no memory */
void flow_table_remove(struct flow_table *t, const struct flow_key *k);
uint32_t flow_table_count(const struct flow_table *t);

#endif
