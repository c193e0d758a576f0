#ifndef TCPCOPY_CHECK_OWN_H
#define TCPCOPY_CHECK_OWN_H

#include "channel/message.h"
#include "tcpcopy/check/parts.h"

/*
 * The way back by own addresses, as --check tries it: with a table and captures of its own, which last until
 * check_own_close().
 */
struct check_own;

/*
 * Which port a probe of the target of rule @rule goes from: @last, the last of the plan, else the first. Port
 * 0: there is none.
 */
struct endpoint check_own_source(const struct check_own *o, unsigned rule, bool last);

/* Take a message that a probe has for the assistants: it says whose answers are to be watched. */
void check_own_send(struct check_own *o, const struct message *m);

/* Does the target of the last probe send with a TTL of 255, so that listening sockets do not drop it? */
bool check_own_heard(const struct check_own *o);

/* End it. @o may be NULL. */
void check_own_close(struct check_own *o);

#endif
