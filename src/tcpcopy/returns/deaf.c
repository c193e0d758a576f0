/*
 * Deaf listeners - theory of operation
 *
 * In: the plan. Out: for each own address and port a socket that listens there and hears nothing. Its least
 * TTL is 255 (IP_MINTTL, IPV6_MINHOPCOUNT), so the kernel drops in silence what comes with less, which is all
 * that ordinary hosts send: no reset, no ICMP (RFC 5082 is what this was made for). Captures see it before.
 * No capability is needed, nor any rule of a firewall; and the port is nobody else's meanwhile. What is bound
 * to this process goes with it, however it ends.
 *
 * The kernel counts what it drops so, for all sockets of this host together (TCPMinTTLDrop). Each socket
 * takes some 5 KB of kernel memory and shows in the lists of `ss`, so there are fewer of them than a table
 * could have ports. A target that sends with a TTL of 255 is not silenced; the pipeline looks for that.
 */
#include "tcpcopy/returns/deaf.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"

#define FILES_BESIDE 256u /* descriptors for everything else */
#define NETSTAT "/proc/net/netstat"
#define COUNTER "TCPMinTTLDrop"

#ifndef IPV6_MINHOPCOUNT
#define IPV6_MINHOPCOUNT 73
#endif

struct deaf {
	uint64_t before; /* dropped by others, or earlier */
	bool counts;
	unsigned n;
	int fd[];
};

/* Two lines for each group of counters: the names, and then the values. */
static int read_counter(uint64_t *value)
{
	char names[8192], values[8192], *name, *number, *in_names, *in_values;
	FILE *f = fopen(NETSTAT, "re");
	int rc = -1;

	while (f && rc && fgets(names, sizeof(names), f) && fgets(values, sizeof(values), f)) {
		name = strtok_r(names, " \n", &in_names);
		number = strtok_r(values, " \n", &in_values);
		while (name && number && strcmp(name, COUNTER)) {
			name = strtok_r(NULL, " \n", &in_names);
			number = strtok_r(NULL, " \n", &in_values);
		}
		if (!name || !number)
			continue;
		*value = strtoull(number, NULL, 10);
		rc = 0;
	}
	if (f)
		fclose(f);
	return rc;
}

static int listen_deaf(const struct addr *own, uint16_t port)
{
	static const int deaf = 255, on = 1;
	const bool v4 = addr_is_v4(own);
	const struct endpoint at = { *own, port };
	struct sockaddr_storage to;
	socklen_t len = addr_to_sockaddr(&to, &at.addr, at.port);
	int fd = socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	/* the probe of --check keeps its port by another socket */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (!setsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_MINTTL : IPV6_MINHOPCOUNT, &deaf,
			sizeof(deaf)) &&
	    !bind(fd, (struct sockaddr *)&to, len) && !listen(fd, 0))
		return fd;
	close(fd);
	return -1;
}

/* The own addresses of the plan, each once. Returns how many there are. */
static unsigned addresses(const struct plan *p, struct addr list[PLAN_PLACES_MAX])
{
	unsigned n = 0, j;

	for (unsigned i = 0; i < p->n_places; i++) {
		for (j = 0; j < n && !addr_eq(&list[j], &p->place[i].own); j++)
			;
		if (j == n)
			list[n++] = p->place[i].own;
	}
	return n;
}

static int allow_files(unsigned n, char *err, size_t err_size)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r))
		return -1;
	r.rlim_cur = MAX(r.rlim_cur, MIN(r.rlim_max, (rlim_t)n + FILES_BESIDE));
	if (r.rlim_cur >= (rlim_t)n + FILES_BESIDE && !setrlimit(RLIMIT_NOFILE, &r))
		return 0;
	snprintf(
		err, err_size,
		"%u listening sockets are needed, but this process may open only %llu files: raise that limit "
		"(ulimit -Hn), or name fewer ports with --own-ports",
		n, (unsigned long long)r.rlim_max);
	return -1;
}

/* A port that cannot be had at each address is left out. */
static void open_port(struct deaf *d, struct plan *p, const struct addr *list, unsigned n, uint16_t port)
{
	const unsigned before = d->n;

	for (unsigned i = 0; i < n; i++) {
		d->fd[d->n] = listen_deaf(&list[i], port);
		if (d->fd[d->n] >= 0) {
			d->n++;
			continue;
		}
		while (d->n > before)
			close(d->fd[--d->n]);
		plan_without(p, port);
		return;
	}
}

struct deaf *deaf_open(struct plan *p, char *err, size_t err_size)
{
	struct addr list[PLAN_PLACES_MAX];
	const unsigned n = addresses(p, list);
	struct deaf *d;

	if (!p->config->n_own_ranges && !p->config->own_ports)
		plan_most(p, DEAF_PORTS);
	if (allow_files(n * p->n_ports, err, err_size))
		return NULL;
	d = calloc(1, sizeof(*d) + (size_t)n * p->n_ports * sizeof(d->fd[0]));
	if (!d) {
		snprintf(err, err_size, "out of memory");
		return NULL;
	}
	for (unsigned port = 0; port < 65536; port++)
		if (plan_usable(p, (uint16_t)port))
			open_port(d, p, list, n, (uint16_t)port);
	d->counts = !read_counter(&d->before);
	if (d->n)
		return d;
	snprintf(err, err_size, "no listening socket can be had: %s", strerror(errno));
	deaf_close(d);
	return NULL;
}

int deaf_count(const struct deaf *d, uint64_t *packets)
{
	uint64_t now;

	if (!d->counts || read_counter(&now))
		return -1;
	*packets = now - d->before;
	return 0;
}

void deaf_close(struct deaf *d)
{
	if (!d)
		return;
	while (d->n)
		close(d->fd[--d->n]);
	free(d);
}
