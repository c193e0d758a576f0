#ifndef IO_HOST_NETLINK_H
#define IO_HOST_NETLINK_H

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "packet/addr.h"

/* Called for each message of the answer. A return value other than 0 ends the reading. */
typedef int (*netlink_fn)(const struct nlmsghdr *h, void *arg);

/*
 * One rtnetlink question and its whole answer (RFC 3549): sends @request, gives each message of
 * the answer to @fn until the last one. Opens and closes its own socket: it serves questions asked
 * at start and rarely after. Needs no privilege. 0, what @fn returned if not 0, or -1 with errno:
 * that of the system call that failed, or the one the kernel answered.
 */
int netlink_ask(struct nlmsghdr *request, netlink_fn fn, void *arg);
/* The same of another netlink family, such as NETLINK_SOCK_DIAG. */
int netlink_ask_family(int family, struct nlmsghdr *request, netlink_fn fn, void *arg);
/*
 * The same on @fd, a netlink socket of the caller's: for questions that are asked often and answered by
 * one message (no dumps). Each has a nlmsg_seq of its own; answers with another one are skipped. The kernel
 * queues the answer before it returns from the question, so @fd need not block; EAGAIN: none came.
 */
int netlink_exchange(int fd, struct nlmsghdr *request, netlink_fn fn, void *arg);

/*
 * A socket that hears of changes, does not block, and is to be read when it is readable: @groups is
 * a mask of RTMGRP_. -1 with errno. The reading gives each message that waits to @fn (whose answer
 * is ignored); 0, or -1 when the kernel had to drop messages, so that everything is to be asked
 * anew.
 */
int netlink_subscribe(uint32_t groups);
int netlink_changes(int fd, netlink_fn fn, void *arg);

/* Fill @table (of @max + 1 entries, NULL: absent) with the attributes of @h behind the family's own
 * header of @header bytes; checks every length. */
void netlink_attributes(const struct nlattr *table[], unsigned max, const struct nlmsghdr *h, size_t header);
/* The same with the attributes in attribute @nest. */
void netlink_nested(const struct nlattr *table[], unsigned max, const struct nlattr *nest);

/* An address as attributes hold it; false when @len or @family (AF_) does not fit. */
bool netlink_addr(struct addr *a, int family, const void *bytes, size_t len);

/* The attribute's value as u32 (host byte order); 0 when it is absent or too short. */
unsigned netlink_u32(const struct nlattr *a);

#endif
