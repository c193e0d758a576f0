#ifndef IO_HOST_NETLINK_H
#define IO_HOST_NETLINK_H

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "packet/addr.h"

/* Called for each message of an answer. If it returns another value than 0, the reading ends. */
typedef int (*netlink_fn)(const struct nlmsghdr *h, void *arg);

/*
 * Ask rtnetlink one question (RFC 3549): send @request and give each message of the whole answer to @fn. It
 * opens and closes a socket of its own, so it is meant for questions at the start, and rare ones later. Needs
 * no privilege. Returns 0, or what @fn returned if that was not 0, or -1 with errno: that of the system call
 * that failed, or the one that the kernel answered.
 */
int netlink_ask(struct nlmsghdr *request, netlink_fn fn, void *arg);

/* The same for another netlink family, such as NETLINK_SOCK_DIAG. */
int netlink_ask_family(int family, struct nlmsghdr *request, netlink_fn fn, void *arg);

/*
 * The same on @fd, a netlink socket of the caller, for questions that are asked often and answered with one
 * message (no dumps). Each has a nlmsg_seq of its own; answers with another one are skipped. The kernel
 * queues the answer before it returns from the question, so @fd may be non-blocking; EAGAIN means that there
 * was none.
 */
int netlink_exchange(int fd, struct nlmsghdr *request, netlink_fn fn, void *arg);

/*
 * A non-blocking socket on which the kernel reports changes: @groups is a mask of RTMGRP_. Read it with
 * netlink_changes() when it is readable. Returns -1 with errno on failure.
 */
int netlink_subscribe(uint32_t groups);

/*
 * Give each message that waits at @fd to @fn, whose result is ignored. Returns 0, or -1 if the kernel had to
 * drop messages, so that everything has to be asked again.
 */
int netlink_changes(int fd, netlink_fn fn, void *arg);

/*
 * Fill @table, which has @max + 1 entries, with the attributes of @h that follow the family's own header of
 * @header bytes. NULL means absent. Every length is checked.
 */
void netlink_attributes(const struct nlattr *table[], unsigned max, const struct nlmsghdr *h, size_t header);

/* The same with the attributes inside the attribute @nest. */
void netlink_nested(const struct nlattr *table[], unsigned max, const struct nlattr *nest);

/*
 * Fill *a from the @len bytes of an attribute, in network byte order. Returns false if @len does not fit
 * @family (AF_).
 */
bool netlink_addr(struct addr *a, int family, const void *bytes, size_t len);

/* The value of the attribute, a u32 in host byte order; 0 if it is absent (NULL) or too short. */
unsigned netlink_u32(const struct nlattr *a);

#endif
