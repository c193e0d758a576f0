#ifndef IO_INJECT_BATCH_H
#define IO_INJECT_BATCH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "io/inject/sink.h"

/*
 * For the sinks that send through a socket: messages are gathered and given to the kernel with one
 * sendmmsg(). The headers of each are built here in place; its payload is only pointed to.
 */
#define SINK_BATCH 64u
#define SINK_BATCH_HEADERS 128u /* virtio_net_hdr, Ethernet, BUILD_MAX_HEADERS */

struct sink_batch {
	int fd;     /* -1: there is no socket, and everything pushed counts as an error */
	unsigned n; /* message [n] is the next one to fill, and always free */
	struct mmsghdr msg[SINK_BATCH];
	struct iovec iov[SINK_BATCH][2];
	struct sockaddr_storage to[SINK_BATCH];
	uint32_t bytes[SINK_BATCH];   /* IP bytes on the wire */
	uint16_t packets[SINK_BATCH]; /* on the wire: several if the kernel segments the message */
	_Alignas(8) uint8_t headers[SINK_BATCH][SINK_BATCH_HEADERS];
};

/* Begin an empty batch for the socket @fd, which remains the caller's. */
void sink_batch_init(struct sink_batch *b, int fd);

/*
 * Complete message [n], whose address (@to_len bytes) and headers (@header_len bytes) have been written, with
 * the @len bytes at @payload, which must stay until the batch is flushed. It makes @packets packets on the
 * wire, with @ip_bytes bytes in total. Flushes the batch if that was its last free message.
 */
void sink_batch_push(struct sink *s, struct sink_batch *b, socklen_t to_len, size_t header_len,
		     const uint8_t *payload, size_t len, uint32_t ip_bytes, uint32_t packets);

/* Give all messages to the kernel, and continue after one that fails. Counts the result in s->counters. */
void sink_batch_flush(struct sink *s, struct sink_batch *b);

/* Give @fd a send buffer for bursts of super-packets, beyond the system's limit if that is permitted. */
void sink_batch_enlarge_buffer(int fd);

#endif
