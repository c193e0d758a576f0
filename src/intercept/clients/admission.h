#ifndef INTERCEPT_CLIENTS_ADMISSION_H
#define INTERCEPT_CLIENTS_ADMISSION_H

#include "packet/addr.h"

/* Who may connect, and how many. */
struct admission;

#define ADMISSION_MAX 1024u            /* connections */
#define ADMISSION_MAX_PER_ADDRESS 256u /* of one address */
#define ADMISSION_MAX_GREETING 256u    /* without a HELLO yet; beyond, the oldest must go */

enum admission_verdict {
	ADMISSION_OK,
	ADMISSION_FOREIGN, /* --allow does not have the address */
	ADMISSION_FULL,    /* one of the limits */
};

/* @allow: none means everybody; must stay valid. NULL: no memory. */
struct admission *admission_new(const struct prefix *allow, unsigned n_allow);
void admission_free(struct admission *a);

/* May one more come from @from? If so it counts until admission_leave(). */
enum admission_verdict admission_enter(struct admission *a, const struct addr *from);
void admission_leave(struct admission *a, const struct addr *from);

#endif
