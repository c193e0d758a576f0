/*
 * Injection by raw IP sockets, with headers of our own.
 *
 * In: segments. Out: IP packets with the addresses, ports, TTL, TOS and IP id that the segments
 * name, whoever's they are: the header is included (IP_HDRINCL, and IPV6_HDRINCL of Linux 4.5), and
 * the kernel fills in only the IPv4 checksum and total length. (It also chooses an IPv4 id of its
 * own where the id is 0 and the packet may be fragmented.) Routing, neighbours and netfilter are
 * the kernel's, so this path works wherever the host can send at all.
 *
 * Each family has a socket and a batch (sink_batch.h). A raw socket cannot send above the MTU, so
 * what is longer than gso_size is cut here, a piece a packet.
 *
 * A raw socket reports a full device queue only with IP_RECVERR, which also queues a copy of some
 * errors to be read. Nobody reads them; the receive buffer is as small as it can be, which bounds
 * them. Nothing else is queued: protocol 255 matches no TCP packet, and a drop-all filter keeps out
 * the rest.
 */
#include "io/inject/sink.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "io/capture/filter.h"
#include "io/inject/batch.h"
#include "packet/build.h"
#include "program/sandbox.h"

#ifndef IPV6_HDRINCL
#define IPV6_HDRINCL 36
#endif

#define IP_MAX_BYTES 65535u

struct sink_raw {
	struct sink sink;
	struct sink_batch v4, v6;
};

static void batch_add(struct sink *s, struct sink_batch *b, const struct tx_segment *piece)
{
	size_t header_len = build_headers_len(piece);
	socklen_t to_len;

	s->counters.offered++;
	if (header_len + piece->len > IP_MAX_BYTES) {
		sink_count_error(s, EMSGSIZE, 1);
		return;
	}
	build_headers(b->headers[b->n], piece, BUILD_CHECKSUM_FULL);
	to_len = addr_to_sockaddr(&b->to[b->n], &piece->tuple.dst.addr, 0);
	sink_batch_push(s, b, to_len, header_len, piece->payload, piece->len,
			(uint32_t)header_len + piece->len, 1);
}

static void sink_raw_send(struct sink *s, const struct tx_segment *t)
{
	struct sink_raw *r = CONTAINER_OF(s, struct sink_raw, sink);
	struct sink_batch *b = addr_is_v4(&t->tuple.dst.addr) ? &r->v4 : &r->v6;
	struct tx_segment piece;

	s->counters.segments++;
	if (b->fd < 0) {
		s->counters.offered += build_piece_count(t, t->gso_size);
		sink_count_error(s, EAFNOSUPPORT, build_piece_count(t, t->gso_size));
		return;
	}
	if (!t->gso_size || t->len <= t->gso_size) {
		batch_add(s, b, t);
		return;
	}
	for (uint32_t i = 0; build_piece(&piece, t, t->gso_size, i); i++)
		batch_add(s, b, &piece);
}

static void sink_raw_flush(struct sink *s)
{
	struct sink_raw *r = CONTAINER_OF(s, struct sink_raw, sink);

	sink_batch_flush(s, &r->v4);
	sink_batch_flush(s, &r->v6);
}

static void sink_raw_close(struct sink *s)
{
	struct sink_raw *r = CONTAINER_OF(s, struct sink_raw, sink);

	if (r->v4.fd >= 0)
		sandbox_close(r->v4.fd);
	if (r->v6.fd >= 0)
		sandbox_close(r->v6.fd);
	free(r);
}

static const struct sink_ops sink_raw_ops = {
	.send = sink_raw_send,
	.flush = sink_raw_flush,
	.close = sink_raw_close,
};

/* The socket of one family, or -1 with errno. */
static int open_family(int family)
{
	static const int on = 1, smallest = 1;
	bool v4 = family == AF_INET;
	int level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
	int fd = socket(family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_RAW);
	int saved;

	if (fd < 0)
		return -1;
	if (setsockopt(fd, level, v4 ? IP_HDRINCL : IPV6_HDRINCL, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, level, v4 ? IP_RECVERR : IPV6_RECVERR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &smallest, sizeof(smallest)) < 0 ||
	    capture_filter_drop_all(fd) < 0 || capture_filter_lock(fd) < 0) {
		saved = errno;
		close(fd);
		errno = saved;
		return -1;
	}
	sink_batch_enlarge_buffer(fd);
	return fd;
}

struct sink *sink_raw_open(char *err, size_t err_size)
{
	struct sink_raw *r = calloc(1, sizeof(*r));

	if (!r) {
		snprintf(err, err_size, "injection: out of memory");
		return NULL;
	}
	r->sink.ops = &sink_raw_ops;
	sink_batch_init(&r->v4, open_family(AF_INET));
	sink_batch_init(&r->v6, open_family(AF_INET6));
	if (r->v4.fd < 0 && r->v6.fd < 0) {
		if (errno == EPERM || errno == EACCES)
			snprintf(
				err, err_size,
				"sending packets with the clients' addresses needs CAP_NET_RAW: run as root, "
				"or give "
				"the program this capability (setcap cap_net_raw+ep)");
		else
			snprintf(err, err_size, "cannot open a raw socket: %s", strerror(errno));
		sink_raw_close(&r->sink);
		return NULL;
	}
	return &r->sink;
}
