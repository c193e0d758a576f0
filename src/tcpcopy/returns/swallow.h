#ifndef TCPCOPY_RETURNS_SWALLOW_H
#define TCPCOPY_RETURNS_SWALLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tcpcopy/returns/plan.h"

struct event_base;

/*
 * What keeps the answers to our copies from this host's own TCP, which would reset them. The main thread
 * alone may call these functions.
 */
struct swallow;

/*
 * Begin to drop what the plan says are answers, behind the captures. Where no nft table can be had, *plan is
 * left with the ports of deaf listeners. Call it before the program starts
 * threads or opens captures: it forks. @lost is called from @base's loop, once, if answers are not dropped
 * any more. Returns NULL with words in @err that say what to do.
 */
struct swallow *swallow_open(struct event_base *base, struct plan *plan, bool no_sandbox,
			     void (*lost)(void *arg), void *arg, char *err, size_t err_size);

/* Why there are deaf listeners (deaf.h) instead of an nft table; NULL: there is a table. */
const char *swallow_no_table(const struct swallow *s);

/* How many packets were dropped. Returns 0, or -1 if that is not known. Waits for the kernel. */
int swallow_count(struct swallow *s, uint64_t *packets);

/* End it: what targets still send is answered by this host with resets. @s may be NULL. */
void swallow_close(struct swallow *s);

#endif
