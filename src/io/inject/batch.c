/*
 * Messages gathered for one sendmmsg().
 *
 * In: messages, their headers and address written in place, payload pointed to. Out: system calls,
 * and counters of what the kernel took and refused. sendmmsg() stops at the first message that
 * fails and tells why only when that message is the first one: so the call is repeated from there,
 * the failure counted, the message skipped. Only a full socket buffer ends the batch, because each
 * of the others would meet it too. Nothing is sent twice or kept for later: what was lost is
 * repaired by the session's timers, as a loss on the wire is.
 */
#include "io/inject/batch.h"

#include <errno.h>

#include "program/sandbox.h"

/* Also the errors that a raw socket keeps. */
SANDBOX_CALLS("sendto", "recvmsg", "recvfrom");

#define SEND_BUFFER (8 << 20)

void sink_batch_init(struct sink_batch *b, int fd)
{
	b->fd = fd;
	b->n = 0;
	if (fd >= 0)
		sandbox_keep_sending(fd);
	for (unsigned i = 0; i < SINK_BATCH; i++) {
		b->iov[i][0].iov_base = b->headers[i];
		b->msg[i].msg_hdr.msg_name = &b->to[i];
		b->msg[i].msg_hdr.msg_iov = b->iov[i];
	}
}

void sink_batch_push(struct sink *s, struct sink_batch *b, socklen_t to_len, size_t header_len,
		     const uint8_t *payload, size_t len, uint32_t ip_bytes, uint32_t packets)
{
	unsigned i = b->n;
	struct msghdr *h = &b->msg[i].msg_hdr;

	h->msg_namelen = to_len;
	h->msg_iovlen = len ? 2 : 1;
	b->iov[i][0].iov_len = header_len;
	b->iov[i][1].iov_base = (void *)(uintptr_t)payload; /* only read */
	b->iov[i][1].iov_len = len;
	b->bytes[i] = ip_bytes;
	b->packets[i] = (uint16_t)packets;
	if (++b->n == SINK_BATCH)
		sink_batch_flush(s, b);
}

void sink_batch_flush(struct sink *s, struct sink_batch *b)
{
	unsigned at = 0;

	while (at < b->n) {
		int sent = sendmmsg(b->fd, b->msg + at, b->n - at, MSG_DONTWAIT);

		if (sent > 0) {
			for (unsigned end = at + (unsigned)sent; at < end; at++) {
				s->counters.bytes += b->bytes[at];
				s->counters.packets += b->packets[at];
			}
		} else if (errno == EAGAIN) {
			for (; at < b->n; at++)
				sink_count_error(s, EAGAIN, b->packets[at]);
		} else if (errno != EINTR) {
			sink_count_error(s, errno, b->packets[at++]);
		}
	}
	b->n = 0;
}

void sink_batch_enlarge_buffer(int fd)
{
	static const int bytes = SEND_BUFFER;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}
