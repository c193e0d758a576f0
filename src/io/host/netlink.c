/*
 * Questions to the kernel about routes and interfaces, by rtnetlink.
 *
 * In: a request that the caller has laid out. Out: each message of the answer, given to a callback
 * while it lies in a buffer on our stack. /sys would be easier to read, but shows the interfaces
 * of the network namespace in which it was mounted, not those of the namespace that we run in.
 *
 * Each question has its own socket, so an answer can never be mistaken for that of an earlier
 * question which was given up. A receive timeout stands guard against a kernel that does not
 * answer. Changes come by a socket that stays open.
 */
#include "io/host/netlink.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "program/sandbox.h"
#include "base/util.h"

/* Routes and neighbours: asked for, and followed. */
SANDBOX_CALLS("bind", "getsockname", "setsockopt", "sendto", "sendmsg", "recvfrom", "recvmsg");

#define ANSWER_TIMEOUT_S 2
#define REQUEST_SEQ 1u

void netlink_put(struct nlmsghdr *h, size_t size, unsigned short type, const void *data, size_t len)
{
	struct rtattr *a = (struct rtattr *)(void *)((char *)h + NLMSG_ALIGN(h->nlmsg_len));

	assert(NLMSG_ALIGN(h->nlmsg_len) + RTA_SPACE(len) <= size);
	a->rta_type = type;
	a->rta_len = (unsigned short)RTA_LENGTH(len);
	memcpy(RTA_DATA(a), data, len);
	h->nlmsg_len = (uint32_t)(NLMSG_ALIGN(h->nlmsg_len) + RTA_SPACE(len));
}

void netlink_attributes(const struct rtattr *table[], unsigned max, const void *first, size_t len)
{
	const char *p = first;

	memset(table, 0, (max + 1) * sizeof(table[0]));
	while (len >= sizeof(struct rtattr)) {
		const struct rtattr *a = (const void *)p;
		size_t step = RTA_ALIGN(a->rta_len);
		unsigned type = a->rta_type & NLA_TYPE_MASK;

		if (a->rta_len < sizeof(*a) || a->rta_len > len)
			return;
		if (type <= max)
			table[type] = a;
		if (step >= len)
			return;
		p += step;
		len -= step;
	}
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

unsigned netlink_u32(const struct rtattr *a)
{
	uint32_t v = 0;

	if (a && netlink_len(a) >= sizeof(v))
		memcpy(&v, netlink_value(a), sizeof(v));
	return v;
}

/* Take the first message off @len bytes at @buf. NULL at the end, or (bytes are left) when it is
 * malformed. */
static const struct nlmsghdr *take_message(const char **buf, size_t *len)
{
	const struct nlmsghdr *h = (const void *)*buf;
	size_t step;

	if (*len < sizeof(*h) || h->nlmsg_len < sizeof(*h) || h->nlmsg_len > *len)
		return NULL;
	step = MIN(NLMSG_ALIGN(h->nlmsg_len), *len);
	*buf += step;
	*len -= step;
	return h;
}

/* Work through one datagram. *done is set at the end of the answer. */
static int read_answer(const char *buf, size_t len, bool dump, netlink_fn fn, void *arg, bool *done)
{
	const struct nlmsghdr *h;
	int rc;

	while ((h = take_message(&buf, &len))) {
		if (h->nlmsg_seq != REQUEST_SEQ)
			continue;
		if (h->nlmsg_type == NLMSG_DONE) {
			*done = true;
			return 0;
		}
		if (h->nlmsg_type == NLMSG_ERROR) {
			int32_t code = -EBADMSG;

			if (h->nlmsg_len >= NLMSG_LENGTH(sizeof(struct nlmsgerr)))
				memcpy(&code, (const char *)h + NLMSG_HDRLEN, sizeof(code));
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
	if (len < sizeof(*h))
		return 0;
	errno = EBADMSG;
	return -1;
}

int netlink_ask(struct nlmsghdr *request, netlink_fn fn, void *arg)
{
	return netlink_ask_family(NETLINK_ROUTE, request, fn, arg);
}

int netlink_ask_family(int family, struct nlmsghdr *request, netlink_fn fn, void *arg)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct timeval patience = { .tv_sec = ANSWER_TIMEOUT_S };
	bool dump = (request->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
	_Alignas(struct nlmsghdr) char buf[32768];
	bool done = false;
	int rc = -1, saved, fd;

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, family);
	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0)
		goto out;
	request->nlmsg_seq = REQUEST_SEQ;
	if (sendto(fd, request, request->nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		goto out;
	do {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);

		if (n < 0 && errno == EINTR)
			continue;
		rc = n < 0 ? -1 : read_answer(buf, (size_t)n, dump, fn, arg, &done);
		if (rc)
			break;
	} while (!done);
out:
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
	_Alignas(struct nlmsghdr) char buf[32768];
	int rc = 0;

	for (;;) {
		struct sockaddr_nl from = { 0 };
		socklen_t from_len = sizeof(from);
		ssize_t n = recvfrom(fd, buf, sizeof(buf), MSG_TRUNC, (void *)&from, &from_len);
		const char *at = buf;
		const struct nlmsghdr *h;
		size_t left;

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
		left = (size_t)n;
		while ((h = take_message(&at, &left)))
			fn(h, arg);
	}
}
