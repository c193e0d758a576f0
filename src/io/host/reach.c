/*
 * Does somebody answer there?
 *
 * In: an endpoint. Out: how the kernel's own TCP fared with it. "Connection refused" can be a
 * reset, which says that nobody listens, or an ICMP error, which only firewalls send for TCP;
 * IP_RECVERR tells one from the other, and who sent it. An ICMP error that comes from this very
 * host stands for a neighbour that cannot be resolved. One SYN leaves: the patience ends before the
 * kernel would repeat it.
 */
#include "io/host/reach.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "program/sandbox.h"
#include "base/util.h"
#include "io/inject/route.h"

SANDBOX_CALLS("connect", "getsockname", "getpeername", "setsockopt", "getsockopt", "recvmsg");

void reach_open(struct reach *r, const struct endpoint *to)
{
	static const int on = 1;
	struct sockaddr_storage ss;
	bool v4 = addr_is_v4(&to->addr);
	socklen_t len;

	memset(r, 0, sizeof(*r));
	r->fd = socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (r->fd < 0) {
		r->error = errno;
		return;
	}
	setsockopt(r->fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_RECVERR : IPV6_RECVERR, &on, sizeof(on));
	len = addr_to_sockaddr(&ss, &to->addr, to->port);
	if (connect(r->fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS)
		r->error = errno;
	len = sizeof(ss);
	if (!r->error && !getsockname(r->fd, (struct sockaddr *)&ss, &len))
		addr_from_sockaddr(&r->local, (struct sockaddr *)&ss);
}

/* Was the socket's error an ICMP error? Then r->by is its sender. */
static bool was_icmp(struct reach *r)
{
	char room[512];
	struct sockaddr_storage to;
	struct msghdr m = {
		.msg_name = &to,
		.msg_namelen = sizeof(to),
		.msg_control = room,
		.msg_controllen = sizeof(room),
	};

	if (recvmsg(r->fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
		return false;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		struct {
			struct sock_extended_err e;
			struct sockaddr_in6 offender; /* or one of IPv4, which is smaller */
		} got = { 0 };
		struct endpoint by;

		if (!(c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) &&
		    !(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
			continue;
		memcpy(&got, CMSG_DATA(c), MIN(c->cmsg_len - CMSG_LEN(0), sizeof(got)));
		if (got.e.ee_origin != SO_EE_ORIGIN_ICMP && got.e.ee_origin != SO_EE_ORIGIN_ICMP6)
			continue;
		if (addr_from_sockaddr(&by, (struct sockaddr *)&got.offender))
			r->by = by.addr;
		return true;
	}
	return false;
}

enum reach_state reach_state(struct reach *r)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(r->error);

	if (r->fd >= 0 && !r->error)
		getsockopt(r->fd, SOL_SOCKET, SO_ERROR, &r->error, &len);
	len = sizeof(ss);
	if (r->fd >= 0 && !r->error)
		return getpeername(r->fd, (struct sockaddr *)&ss, &len) ? REACH_SILENT : REACH_CONNECTED;
	if (r->fd >= 0 && was_icmp(r))
		return route_is_local(&r->by) ? REACH_NO_NEIGHBOUR : REACH_REFUSED;
	if (r->error == ECONNREFUSED || r->error == ECONNRESET)
		return REACH_RESET;
	if (r->error == ETIMEDOUT)
		return REACH_SILENT;
	return r->error == EHOSTUNREACH ? REACH_NO_NEIGHBOUR : REACH_FAILED;
}

void reach_close(struct reach *r)
{
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
}

enum reach_state reach_try(struct reach *r, const struct endpoint *to)
{
	enum reach_state state;

	reach_open(r, to);
	if (r->fd >= 0 && !r->error) {
		struct pollfd p = { .fd = r->fd, .events = POLLOUT };

		while (poll(&p, 1, REACH_PATIENCE_MS) < 0 && errno == EINTR)
			;
	}
	state = reach_state(r);
	reach_close(r);
	return state;
}
