#ifndef TCPCOPY_RETURNS_DEAF_H
#define TCPCOPY_RETURNS_DEAF_H

#include "tcpcopy/returns/plan.h"

/* Deaf listeners: sockets that keep answers from this host's TCP where there is no nf_tables for us. */
struct deaf;

#define DEAF_PORTS 1024u /* unless --own-ports says otherwise */

/*
 * Open one for each own address and port of *p, after leaving out what is more than DEAF_PORTS, or cannot be
 * had. Returns NULL with words in @err.
 */
struct deaf *deaf_open(struct plan *p, char *err, size_t err_size);

/* How many packets they have dropped. Returns 0, or -1 if that is not known. */
int deaf_count(const struct deaf *d, uint64_t *packets);

/* Close all of them. @d may be NULL. */
void deaf_close(struct deaf *d);

#endif
