/*
 * Who listens, and who is connected, on a port of this host?
 *
 * In: a port. Out: sockets, from sock_diag in both address families; a connection of IPv4 to a
 * socket of IPv6 has a mapped address and so looks the same. Containers have a network namespace of
 * their own, which sock_diag does not show. They are found by the processes: /proc/PID/net/tcp is
 * the list of that process's namespace, and the kernel knows such a namespace by a number
 * (RTM_GETNSID) if a device of ours has its other end there.
 */
#include "io/host/sockets.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/net_namespace.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "io/host/netlink.h"

#define MAX_NAMESPACES 256u
#define SENDING                                                                                              \
	(1u << TCP_ESTABLISHED | 1u << TCP_SYN_RECV | 1u << TCP_FIN_WAIT1 | 1u << TCP_FIN_WAIT2 |            \
	 1u << TCP_CLOSE_WAIT | 1u << TCP_LAST_ACK | 1u << TCP_CLOSING)

struct listing {
	uint16_t port; /* 0: any */
	sockets_fn fn;
	void *arg;
};

static struct endpoint end_of(int family, const __be32 *address, __be16 port)
{
	struct endpoint e = { .port = ntohs(port) };

	netlink_addr(&e.addr, family, address, family == AF_INET ? 4 : 16);
	return e;
}

static int read_socket(const struct nlmsghdr *h, void *arg)
{
	const struct listing *l = arg;
	struct inet_diag_msg m;
	struct endpoint local, remote;

	if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY || h->nlmsg_len < NLMSG_LENGTH(sizeof(m)))
		return 0;
	memcpy(&m, mnl_nlmsg_get_payload(h), sizeof(m));
	local = end_of(m.idiag_family, m.id.idiag_src, m.id.idiag_sport);
	remote = end_of(m.idiag_family, m.id.idiag_dst, m.id.idiag_dport);
	if (l->port && local.port != l->port)
		return 0;
	return l->fn(&local, &remote, l->arg) ? 0 : 1;
}

static int list(unsigned states, struct listing *l)
{
	static const int families[] = { AF_INET, AF_INET6 };

	for (unsigned i = 0; i < ARRAY_SIZE(families); i++) {
		struct {
			struct nlmsghdr h;
			struct inet_diag_req_v2 r;
		} q = {
			.h = { .nlmsg_len = sizeof(q),
			       .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
			.r = { .sdiag_family = (__u8)families[i],
			       .sdiag_protocol = IPPROTO_TCP,
			       .idiag_states = states },
		};
		int rc;

		q.r.id.idiag_sport = htons(l->port);
		rc = netlink_ask_family(NETLINK_SOCK_DIAG, &q.h, read_socket, l);
		if (rc > 0)
			return 0;
		if (rc < 0 && (families[i] == AF_INET || errno != ENOENT)) /* no IPv6 */
			return -1;
	}
	return 0;
}

int sockets_listening(uint16_t port, sockets_fn fn, void *arg)
{
	return list(1u << TCP_LISTEN, &(struct listing){ port, fn, arg });
}

int sockets_connected(uint16_t port, sockets_fn fn, void *arg)
{
	return list(SENDING | 1u << TCP_TIME_WAIT, &(struct listing){ port, fn, arg });
}

int sockets_sending(sockets_fn fn, void *arg)
{
	return list(SENDING, &(struct listing){ 0, fn, arg });
}

/* Columns 2 and 4 of /proc/net/tcp are the local address:port and the state, in hexadecimal. */
static bool listens(int pid, const char *table, uint16_t port)
{
	char path[64], line[512];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/net/%s", pid, table);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f)) {
		unsigned local = 0, state = 0;

		found = sscanf(line, " %*u: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x", &local, &state) == 2 &&
			local == port && state == TCP_LISTEN;
	}
	fclose(f);
	return found;
}

static int read_nsid(const struct nlmsghdr *h, void *arg)
{
	const struct nlattr *a[NETNSA_MAX + 1];
	int32_t id = -1;

	if (h->nlmsg_type != RTM_NEWNSID || h->nlmsg_len < NLMSG_LENGTH(sizeof(struct rtgenmsg)))
		return 0;
	netlink_attributes(a, NETNSA_MAX, h, sizeof(struct rtgenmsg));
	if (a[NETNSA_NSID] && mnl_attr_get_payload_len(a[NETNSA_NSID]) >= sizeof(id))
		memcpy(&id, mnl_attr_get_payload(a[NETNSA_NSID]), sizeof(id));
	*(bool *)arg = id >= 0;
	return 0;
}

/* Does a device of ours have its other end in the namespace of @pid? */
static bool joined_to(int pid)
{
	struct {
		struct nlmsghdr h;
		struct rtgenmsg m;
		char room[32];
	} q = {
		.h = { .nlmsg_len = NLMSG_SPACE(sizeof(q.m)), /* libmnl counts on from here */
		       .nlmsg_type = RTM_GETNSID,
		       .nlmsg_flags = NLM_F_REQUEST },
	};
	uint32_t number = (uint32_t)pid;
	bool joined = false;

	mnl_attr_put(&q.h, NETNSA_PID, sizeof(number), &number);
	return !netlink_ask(&q.h, read_nsid, &joined) && joined;
}

/* The inode number of a process's network namespace; 0: not to be seen. */
static ino_t namespace_of(const char *pid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%.20s/ns/net", pid);
	return stat(path, &st) ? 0 : st.st_ino;
}

int sockets_listener_in_container(uint16_t port)
{
	ino_t seen[MAX_NAMESPACES];
	unsigned n = 0, i;
	DIR *proc = opendir("/proc");
	struct dirent *d;
	int found = 0;

	seen[n++] = namespace_of("self");
	while (proc && !found && n < MAX_NAMESPACES && (d = readdir(proc))) {
		ino_t ns;
		int pid;

		if (!isdigit((unsigned char)d->d_name[0]))
			continue;
		ns = namespace_of(d->d_name);
		for (i = 0; i < n && seen[i] != ns; i++)
			;
		if (!ns || i < n)
			continue;
		seen[n++] = ns;
		pid = atoi(d->d_name);
		if (joined_to(pid) && (listens(pid, "tcp", port) || listens(pid, "tcp6", port)))
			found = pid;
	}
	if (proc)
		closedir(proc);
	return found;
}
