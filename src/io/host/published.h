#ifndef IO_HOST_PUBLISHED_H
#define IO_HOST_PUBLISHED_H

#include <linux/netlink.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Does a rule of this host's nf_tables hand connections to TCP port @port (host byte order) on to another
 * address or port (DNAT)? Then requests come here although nothing listens. Needs CAP_NET_ADMIN; without it,
 * and for the tables of iptables-legacy, which cannot be read so, the answer is false.
 */
bool published_port(uint16_t port);

/* Is the rule in the message *h (NFT_MSG_NEWRULE) such a one? For tests as well. */
bool published_by(const struct nlmsghdr *h, uint16_t port);

#endif
