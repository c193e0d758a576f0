#ifndef INTERCEPT_WATCH_RELAY_H
#define INTERCEPT_WATCH_RELAY_H

#include "channel/message.h"
#include "intercept/clients/clients.h"
#include "intercept/watch/route.h"
#include "intercept/report/stats.h"

/* Records of one watch held for a slow reader (doc/PROTOCOL.md, "Merging"), and bytes for all of
 * them together. */
#define RELAY_MAX_HELD 16u
#define RELAY_MAX_BYTES (64u << 20)

struct relay;

struct relay *relay_new(struct stats *stats);
void relay_free(struct relay *r);
void relay_trim(struct relay *r); /* once a second: give back memory that is not needed any more */

uint64_t relay_held(const struct relay *r); /* records that wait for their reader */

/* Send @record to the owner of @w (the id is put in), or hold it, merged with what is held already.
 */
void relay_deliver(struct relay *r, struct watch *w, const struct response *record);

/* The connection of @p takes more: send what is held for it. */
void relay_flush(struct relay *r, struct client *p);

/* @w goes: what is held for it goes too. */
void relay_forget(struct relay *r, struct watch *w);

/* Tell @p what it lost, if that has changed. @kernel_drops and @unowned: totals of this process. */
void relay_report_loss(struct client *p, uint64_t kernel_drops, uint64_t unowned);

#endif
