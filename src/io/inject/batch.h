#ifndef IO_INJECT_BATCH_H
#define IO_INJECT_BATCH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "io/inject/sink.h"

/*
 * For the sinks that send by a socket: messages that are gathered and given to the kernel by one
 * sendmmsg(). The headers of each are built here in place; its payload is only pointed to.
 */
#define SINK_BATCH 64u
#define SINK_BATCH_HEADERS 128u /* virtio_net_hdr, Ethernet, BUILD_MAX_HEADERS */

struct sink_batch {
	int fd;     /* -1: what this batch is for cannot be sent */
	unsigned n; /* message [n] is the next one to fill, and always free */
	struct mmsghdr msg[SINK_BATCH];
	struct iovec iov[SINK_BATCH][2];
	struct sockaddr_storage to[SINK_BATCH];
	uint32_t bytes[SINK_BATCH];   /* IP bytes on the wire */
	uint16_t packets[SINK_BATCH]; /* on the wire: several when the kernel is to segment it */
	_Alignas(8) uint8_t headers[SINK_BATCH][SINK_BATCH_HEADERS];
};

/* @fd stays the caller's. */
void sink_batch_init(struct sink_batch *b, int fd);

/*
 * Message [n], whose address (@to_len bytes) and headers (@header_len bytes) are written, is
 * complete: @packets on the wire with @ip_bytes in all. Flushes when that was the last free one.
 */
void sink_batch_push(struct sink *s, struct sink_batch *b, socklen_t to_len, size_t header_len,
		     const uint8_t *payload, size_t len, uint32_t ip_bytes, uint32_t packets);

/* Give all of it to the kernel, going on behind a message that fails; counts in @s. */
void sink_batch_flush(struct sink *s, struct sink_batch *b);

/* A send buffer for bursts of super-packets, beyond the system's limit where that is allowed. */
void sink_batch_enlarge_buffer(int fd);

#endif
