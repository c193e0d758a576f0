#ifndef TEST_KERNEL_H
#define TEST_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The kernel's own TCP as the judge of what a server takes: a listening socket in a network namespace of its
 * own, behind a TAP device on which packets are written and read as bytes. As packetdrill does it.
 *
 * 10.0.0.1:7000 is the server (the kernel), 10.0.0.2 the client (the caller). Everything that a packet
 * causes has happened when kernel_packet() returns: the kernel works it off in the shadow of the write.
 */
#define KERNEL_SERVER_PORT 7000

struct kernel_socket; /* what accept() gave */

/*
 * Move the process to a new network namespace with the device and the listener. Ends it with words on
 * failure.
 */
void kernel_open(void);

/* One IPv4 packet to the server, headers first. */
void kernel_packet(const uint8_t *packet, size_t len);

/* The next packet that the server has sent, into @packet; 0: none. */
size_t kernel_answer(uint8_t *packet, size_t size);

/* The established connection of the client's port @port; those of others are closed. -1: none. */
int kernel_accept(uint16_t port);

/* How a socket stands. */
enum kernel_end { KERNEL_OPEN, KERNEL_EOF, KERNEL_RESET };

/* Read what the socket has, at most @size bytes. *@end: how the stream goes on. */
size_t kernel_read(int fd, uint8_t *to, size_t size, enum kernel_end *end);

/* What a question about the socket is answered. False: it is closed. */
#define KERNEL_CLOSED 7
struct kernel_info {
	unsigned state;          /* the kernel's net/tcp_states.h */
	uint64_t bytes_received; /* in order, a FIN counts as one (RFC 4898 ThruOctetsReceived) */
	uint32_t rcv_wnd;        /* bytes; 0: the kernel does not say (before 6.2) */
};
bool kernel_ask(int fd, struct kernel_info *info);

#endif
