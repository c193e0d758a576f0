/*
 * The online server's sockets - theory of operation
 *
 * One netlink socket, opened before privileges and namespaces change. A question names the 4-tuple as the
 * server sees it (its own address first) and costs two system calls, some 1 us, neither of which waits
 * (netlink_exchange). For a connection that it does not have the kernel answers with the listener of its
 * port, or with an error. A question for family AF_INET also finds an IPv4 connection of an IPv6 listener.
 */
#include "io/host/online.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "io/host/netlink.h"

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

/* What the kernel's struct tcp_info in @a tells. */
static void read_info(const struct nlattr *a, struct online_answer *answer)
{
	struct tcp_info info;

	if (mnl_attr_get_payload_len(a) <
	    offsetof(struct tcp_info, tcpi_bytes_received) + sizeof(info.tcpi_bytes_received))
		return;
	memcpy(&info, mnl_attr_get_payload(a), MIN(sizeof(info), mnl_attr_get_payload_len(a)));
	answer->has_received = true;
	answer->received = info.tcpi_bytes_received;
	answer->acked = info.tcpi_bytes_acked;
	answer->silent = info.tcpi_last_data_recv;
}

/* For a connection that it does not have the kernel finds the listener of its port, or says ENOENT. */
static int read_answer(const struct nlmsghdr *h, void *arg)
{
	const struct inet_diag_msg *m = mnl_nlmsg_get_payload(h);
	const struct nlattr *a[INET_DIAG_INFO + 1];
	struct online_answer *answer = arg;

	if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY || h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)))
		return 0;
	answer->word = ONLINE_GONE;
	answer->listener = m->idiag_state == LISTEN;
	if (answer->listener)
		return 0;
	answer->tcp_state = m->idiag_state;
	if (m->idiag_state == TIME_WAIT || m->idiag_state == CLOSE)
		return 0;
	answer->word = ONLINE_THERE;
	netlink_attributes(a, INET_DIAG_INFO, h, sizeof(*m));
	if (a[INET_DIAG_INFO])
		read_info(a[INET_DIAG_INFO], answer);
	return 0;
}

struct online_answer online_look(struct online *o, const struct endpoint *client,
				 const struct endpoint *server)
{
	const bool v4 = addr_is_v4(&server->addr);
	struct online_answer answer = { .word = ONLINE_UNKNOWN };
	struct {
		struct nlmsghdr h;
		struct inet_diag_req_v2 r;
	} q = {
		.h = { .nlmsg_len = sizeof(q),
		       .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		       .nlmsg_flags = NLM_F_REQUEST,
		       .nlmsg_seq = ++o->seq },
		.r = { .sdiag_family = v4 ? AF_INET : AF_INET6,
		       .sdiag_protocol = IPPROTO_TCP,
		       .idiag_ext = 1 << (INET_DIAG_INFO - 1),
		       .idiag_states = ~0u },
	};

	q.r.id.idiag_sport = htons(server->port);
	q.r.id.idiag_dport = htons(client->port);
	put_address(q.r.id.idiag_src, &server->addr, v4);
	put_address(q.r.id.idiag_dst, &client->addr, v4);
	q.r.id.idiag_cookie[0] = q.r.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	if (netlink_exchange(o->fd, &q.h, read_answer, &answer))
		return (struct online_answer){ .word = errno == ENOENT ? ONLINE_GONE : ONLINE_UNKNOWN };
	return answer;
}
