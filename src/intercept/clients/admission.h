#ifndef INTERCEPT_CLIENTS_ADMISSION_H
#define INTERCEPT_CLIENTS_ADMISSION_H

#include "packet/addr.h"

/* Who may connect, and how many. */
struct admission;

#define ADMISSION_MAX 1024u /* connections */
/* Connections from one IPv4 address or IPv6 /64; fewer when fewer than that are left for all others. */
#define ADMISSION_MAX_PER_NEIGHBOUR 256u
#define ADMISSION_MAX_GREETING 256u /* connections without a HELLO yet; one more closes the oldest */

enum admission_verdict {
	ADMISSION_OK,
	ADMISSION_FOREIGN, /* --allow does not have the address */
	ADMISSION_FULL,    /* one of the limits */
};

/*
 * Admits addresses that one of the @n_allow prefixes of @allow contains, or all addresses if @n_allow is 0.
 * @allow must stay valid. Returns NULL if memory ran out.
 */
struct admission *admission_new(const struct prefix *allow, unsigned n_allow);
/* @a may be NULL. */
void admission_free(struct admission *a);

/*
 * May one more connection come from @from? If the answer is ADMISSION_OK, the connection counts until
 * admission_leave(). May be called from any thread.
 */
enum admission_verdict admission_enter(struct admission *a, const struct addr *from);
/* A connection from @from that was admitted has ended. May be called from any thread. */
void admission_leave(struct admission *a, const struct addr *from);

#endif
