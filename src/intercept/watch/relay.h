#ifndef INTERCEPT_WATCH_RELAY_H
#define INTERCEPT_WATCH_RELAY_H

#include "channel/message.h"
#include "intercept/clients/clients.h"
#include "intercept/watch/route.h"
#include "intercept/report/stats.h"

/*
 * How many records are held for the slow reader of one watch (doc/PROTOCOL.md, "Merging"), and how many bytes
 * of memory all of them may take.
 */
#define RELAY_MAX_HELD 16u
#define RELAY_MAX_BYTES (64u << 20)

struct relay;

/* Counts in @stats, which must outlive it. Returns NULL if memory ran out. */
struct relay *relay_new(struct stats *stats);
/* Frees the records that are held as well. @r may be NULL. */
void relay_free(struct relay *r);
/* Call this once a second: returns memory that is no longer needed. */
void relay_trim(struct relay *r);

/* Returns the number of records that are held for their readers. */
uint64_t relay_held(const struct relay *r);

/*
 * Sends @record to the owner of @w, with the id of @w. If the connection takes no more, the record is merged
 * into the last one that @w holds, or held behind it; if @w holds RELAY_MAX_HELD or memory ran out, it is
 * dropped and counted.
 */
void relay_deliver(struct relay *r, struct watch *w, const struct response *record);

/* The connection of @p has room again: sends what is held for it, as far as it goes. */
void relay_flush(struct relay *r, struct client *p);

/* @w ends: the records that it holds are dropped and counted. */
void relay_forget(struct relay *r, struct watch *w);

/*
 * Sends a LOSS to @p with what it has lost since it connected, if that has changed. @kernel_drops and
 * @unowned are the totals of this worker.
 */
void relay_report_loss(struct client *p, uint64_t kernel_drops, uint64_t unowned);

#endif
