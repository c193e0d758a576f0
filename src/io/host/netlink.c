/*
 * Questions to the kernel about routes, interfaces and sockets, by netlink.
 *
 * In: a request that the caller has laid out. Out: each message of the answer, given to a callback
 * while it lies in a buffer on our stack. /sys would be easier to read, but shows the interfaces
 * of the network namespace in which it was mounted, not those of the namespace that we run in.
 *
 * libmnl finds messages and attributes and checks their lengths; this file adds what is ours: when an
 * answer is complete, and what an error means. Sockets are plain ones, because libmnl's receive call
 * does not tell whether a message came from the kernel.
 *
 * A rare question has its own socket, so an answer can never be mistaken for that of an earlier
 * question which was given up, and a receive timeout stands guard against a kernel that does not
 * answer. Who asks often keeps a socket, and numbers the questions. Changes come by a socket that stays
 * open.
 */
#include "io/host/netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "program/sandbox.h"

/* Routes and neighbours: asked for, and followed. */
SANDBOX_CALLS("bind", "getsockname", "setsockopt", "sendto", "recvfrom", "recvmsg");

#define ANSWER_TIMEOUT_S 2
#define DUMP_SIZE 32768u  /* what the kernel fills at most with a part of a list */
#define ANSWER_SIZE 4096u /* of one message; little of the stack, because that costs time */

struct table {
	const struct nlattr **entry;
	unsigned max;
};

static int take_attribute(const struct nlattr *a, void *arg)
{
	const struct table *t = arg;
	const unsigned type = mnl_attr_get_type(a);

	if (type <= t->max)
		t->entry[type] = a;
	return MNL_CB_OK;
}

void netlink_attributes(const struct nlattr *table[], unsigned max, const struct nlmsghdr *h, size_t header)
{
	struct table t = { table, max };

	memset(table, 0, (max + 1) * sizeof(table[0]));
	mnl_attr_parse(h, (unsigned)header, take_attribute, &t);
}

void netlink_nested(const struct nlattr *table[], unsigned max, const struct nlattr *nest)
{
	struct table t = { table, max };

	memset(table, 0, (max + 1) * sizeof(table[0]));
	mnl_attr_parse_nested(nest, take_attribute, &t);
}

bool netlink_addr(struct addr *a, int family, const void *bytes, size_t len)
{
	if (family == AF_INET && len >= 4)
		*a = addr_from_v4(bytes);
	else if (family == AF_INET6 && len >= 16)
		*a = addr_from_v6(bytes);
	else
		return false;
	return true;
}

unsigned netlink_u32(const struct nlattr *a)
{
	return a && mnl_attr_get_payload_len(a) >= sizeof(uint32_t) ? mnl_attr_get_u32(a) : 0;
}

/* libmnl compares lengths as signed numbers, so the highest ones need a look of our own. */
static bool is_whole(const struct nlmsghdr *h, int len)
{
	return mnl_nlmsg_ok(h, len) && h->nlmsg_len <= (uint32_t)len;
}

/* Work through one datagram of the answer to question @seq. *done is set at the end of the answer. */
static int read_answer(const void *buf, int len, uint32_t seq, bool dump, netlink_fn fn, void *arg,
		       bool *done)
{
	const struct nlmsghdr *h = buf;
	int rc;

	for (; is_whole(h, len); h = mnl_nlmsg_next(h, &len)) {
		if (h->nlmsg_seq != seq)
			continue;
		if (h->nlmsg_type == NLMSG_DONE) {
			*done = true;
			return 0;
		}
		if (h->nlmsg_type == NLMSG_ERROR) {
			int code = -EBADMSG;

			if (mnl_nlmsg_get_payload_len(h) >= sizeof(struct nlmsgerr))
				code = ((const struct nlmsgerr *)mnl_nlmsg_get_payload(h))->error;
			*done = true;
			errno = -code;
			return code ? -1 : 0;
		}
		rc = fn(h, arg);
		if (rc)
			return rc;
		if (!dump) {
			*done = true;
			return 0;
		}
	}
	if (len < (int)sizeof(*h))
		return 0;
	errno = EBADMSG;
	return -1;
}

/* Ask on @fd, with room for a datagram of the answer in the @size bytes at @buf. */
static int converse(int fd, struct nlmsghdr *request, char *buf, size_t size, netlink_fn fn, void *arg)
{
	const bool dump = (request->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
	bool done = false;
	int rc = 0;

	if (send(fd, request, request->nlmsg_len, 0) < 0)
		return -1;
	while (!rc && !done) {
		const ssize_t n = recv(fd, buf, size, 0);

		if (n < 0 && errno == EINTR)
			continue;
		rc = n < 0 ? -1 : read_answer(buf, (int)n, request->nlmsg_seq, dump, fn, arg, &done);
	}
	return rc;
}

int netlink_exchange(int fd, struct nlmsghdr *request, netlink_fn fn, void *arg)
{
	_Alignas(struct nlmsghdr) char buf[ANSWER_SIZE];

	return converse(fd, request, buf, sizeof(buf), fn, arg);
}

int netlink_ask(struct nlmsghdr *request, netlink_fn fn, void *arg)
{
	return netlink_ask_family(NETLINK_ROUTE, request, fn, arg);
}

int netlink_ask_family(int family, struct nlmsghdr *request, netlink_fn fn, void *arg)
{
	const struct timeval patience = { .tv_sec = ANSWER_TIMEOUT_S };
	_Alignas(struct nlmsghdr) char buf[DUMP_SIZE];
	int rc = -1, saved, fd;

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, family);
	if (fd < 0)
		return -1;
	if (!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)))
		rc = converse(fd, request, buf, sizeof(buf), fn, arg);
	saved = errno;
	close(fd);
	errno = saved;
	return rc;
}

int netlink_subscribe(uint32_t groups)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK, .nl_groups = groups };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE), saved;

	if (fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		saved = errno;
		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

int netlink_changes(int fd, netlink_fn fn, void *arg)
{
	_Alignas(struct nlmsghdr) char buf[DUMP_SIZE];
	int rc = 0;

	for (;;) {
		struct sockaddr_nl from = { 0 };
		socklen_t from_len = sizeof(from);
		ssize_t n = recvfrom(fd, buf, sizeof(buf), MSG_TRUNC, (void *)&from, &from_len);
		const struct nlmsghdr *h = (const void *)buf;
		int left = (int)n;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != ENOBUFS)
			return rc;
		if (n < 0 || n > (ssize_t)sizeof(buf)) {
			rc = -1;
			continue;
		}
		if (from_len < sizeof(from) || from.nl_pid != 0) /* not from the kernel */
			continue;
		for (; is_whole(h, left); h = mnl_nlmsg_next(h, &left))
			fn(h, arg);
	}
}
