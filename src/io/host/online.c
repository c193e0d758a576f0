/*
 * The online server's sockets - theory of operation
 *
 * One netlink socket, opened before privileges and namespaces change. A question names the 4-tuple as the
 * server sees it (its own address first) and is answered in the same system call's shadow: the kernel
 * queues the answer before sendto() returns, so reading it never blocks. For a connection that it does not
 * have the kernel answers with the listener of its port, or with an error. IPv4 connections of an IPv6
 * wildcard listener have sockets of family AF_INET6 with mapped addresses, so for IPv4 both are tried.
 */
#include "io/host/online.h"

#include "base/util.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TIME_WAIT = 6, CLOSE = 7, LISTEN = 10 }; /* the kernel's net/tcp_states.h */

struct online {
	int fd;
	uint32_t seq;
};

struct online *online_open(void)
{
	struct online *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
	if (o->fd < 0) {
		free(o);
		return NULL;
	}
	return o;
}

void online_close(struct online *o)
{
	if (!o)
		return;
	close(o->fd);
	free(o);
}

static void put_address(__be32 out[4], const struct addr *a, bool as_v4)
{
	memset(out, 0, 16);
	if (as_v4)
		memcpy(out, addr_v4_bytes(a), 4);
	else
		memcpy(out, a->b, 16);
}

/* tcpi_bytes_received out of the attributes of one answer. */
static bool take_bytes(const struct nlmsghdr *h, uint64_t *bytes)
{
	const size_t head = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct inet_diag_msg));
	const char *at = (const char *)h + head, *end = (const char *)h + h->nlmsg_len;

	while (end - at >= (ptrdiff_t)sizeof(struct nlattr)) {
		struct nlattr attr;
		const size_t field = offsetof(struct tcp_info, tcpi_bytes_received);

		memcpy(&attr, at, sizeof(attr));
		if (attr.nla_len < NLA_HDRLEN || attr.nla_len > end - at)
			return false;
		if ((attr.nla_type & NLA_TYPE_MASK) == INET_DIAG_INFO &&
		    attr.nla_len >= NLA_HDRLEN + field + 8) {
			__u64 value;

			memcpy(&value, at + NLA_HDRLEN + field, sizeof(value));
			*bytes = value;
			return true;
		}
		at += MIN((size_t)(end - at), (size_t)NLA_ALIGN(attr.nla_len));
	}
	return false;
}

/* For a connection that it does not have the kernel finds the listener of its port, or says ENOENT. */
static enum socket_word judge(const struct nlmsghdr *h)
{
	struct inet_diag_msg m;
	struct nlmsgerr failed;

	if (h->nlmsg_type == NLMSG_ERROR && h->nlmsg_len >= NLMSG_LENGTH(sizeof(failed))) {
		memcpy(&failed, (const char *)h + NLMSG_HDRLEN, sizeof(failed));
		return failed.error == -ENOENT ? SOCKET_GONE : SOCKET_UNKNOWN;
	}
	if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY || h->nlmsg_len < NLMSG_LENGTH(sizeof(m)))
		return SOCKET_UNKNOWN;
	memcpy(&m, (const char *)h + NLMSG_HDRLEN, sizeof(m));
	return m.idiag_state == TIME_WAIT || m.idiag_state == CLOSE || m.idiag_state == LISTEN ? SOCKET_GONE
											       : SOCKET_THERE;
}

/* *@bytes stays as it is where the answer does not say. */
static enum socket_word ask(struct online *o, int family, const struct endpoint *client,
			    const struct endpoint *server, uint64_t *bytes)
{
	struct {
		struct nlmsghdr h;
		struct inet_diag_req_v2 r;
	} q = {
		.h = { .nlmsg_len = sizeof(q),
		       .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		       .nlmsg_flags = NLM_F_REQUEST },
		.r = { .sdiag_family = (__u8)family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~0u },
	};
	union {
		struct nlmsghdr h;
		char bytes[4096];
	} answer;

	q.h.nlmsg_seq = ++o->seq;
	q.r.idiag_ext = 1 << (INET_DIAG_INFO - 1);
	q.r.id.idiag_sport = htons(server->port);
	q.r.id.idiag_dport = htons(client->port);
	put_address(q.r.id.idiag_src, &server->addr, family == AF_INET);
	put_address(q.r.id.idiag_dst, &client->addr, family == AF_INET);
	q.r.id.idiag_cookie[0] = q.r.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	if (send(o->fd, &q, sizeof(q), 0) < 0)
		return SOCKET_UNKNOWN;
	for (;;) {
		ssize_t n = recv(o->fd, &answer, sizeof(answer), 0);
		enum socket_word word;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < (ssize_t)sizeof(answer.h))
			return SOCKET_UNKNOWN;
		if (answer.h.nlmsg_seq != o->seq || answer.h.nlmsg_len > (size_t)n)
			continue; /* of an earlier question */
		word = judge(&answer.h);
		if (word == SOCKET_THERE)
			take_bytes(&answer.h, bytes);
		return word;
	}
}

static enum socket_word look(struct online *o, const struct endpoint *client, const struct endpoint *server,
			     uint64_t *bytes)
{
	enum socket_word four;

	if (!addr_is_v4(&server->addr))
		return ask(o, AF_INET6, client, server, bytes);
	four = ask(o, AF_INET, client, server, bytes);
	return four != SOCKET_THERE && ask(o, AF_INET6, client, server, bytes) == SOCKET_THERE ? SOCKET_THERE
											       : four;
}

bool online_received(struct online *o, const struct endpoint *client, const struct endpoint *server,
		     uint64_t *bytes)
{
	*bytes = UINT64_MAX;
	return look(o, client, server, bytes) == SOCKET_THERE && *bytes != UINT64_MAX;
}

enum socket_word online_there(struct online *o, const struct endpoint *client, const struct endpoint *server)
{
	uint64_t bytes;

	return look(o, client, server, &bytes);
}
