/*
 * The kernel behind a TUN device - theory of operation
 *
 * unshare(2) gives the process a network namespace of its own, so nothing here touches the machine's network,
 * and all of it goes with the process. A packet written to the TUN device is worked off by the kernel's
 * receive path before write(2) returns; what it sends waits in the device's queue to be read.
 *
 * Settings of the namespace: no limit for challenge ACKs, so that the kernel says each time what it thinks.
 */
#include "kernel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int tun, listener;

static void fail(const char *what)
{
	fprintf(stderr, "kernel: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void set_sysctl(const char *name, const char *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return; /* this kernel has it for the whole machine, or not at all */
	if (write(fd, value, strlen(value)) < 0)
		fail(path);
	close(fd);
}

static void interface_up(const char *name, const char *address)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	struct ifreq r;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memset(&r, 0, sizeof(r));
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (address) {
		inet_pton(AF_INET, address, &a.sin_addr);
		memcpy(&r.ifr_addr, &a, sizeof(a));
		if (ioctl(fd, SIOCSIFADDR, &r))
			fail("SIOCSIFADDR");
		inet_pton(AF_INET, "255.255.255.0", &a.sin_addr);
		memcpy(&r.ifr_netmask, &a, sizeof(a));
		if (ioctl(fd, SIOCSIFNETMASK, &r))
			fail("SIOCSIFNETMASK");
	}
	r.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(fd, SIOCSIFFLAGS, &r))
		fail("SIOCSIFFLAGS");
	close(fd);
}

void kernel_open(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(KERNEL_SERVER_PORT) };
	struct ifreq r;

	if (unshare(CLONE_NEWNET))
		fail("a network namespace");
	tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (tun < 0)
		fail("/dev/net/tun");
	memset(&r, 0, sizeof(r));
	snprintf(r.ifr_name, sizeof(r.ifr_name), "t0");
	r.ifr_flags = IFF_TUN | IFF_NO_PI;
	if (ioctl(tun, TUNSETIFF, &r))
		fail("TUNSETIFF");
	interface_up("lo", NULL);
	interface_up("t0", "10.0.0.1");
	set_sysctl("tcp_invalid_ratelimit", "0");
	set_sysctl("tcp_challenge_ack_limit", "1000000000");
	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)) ||
	    bind(listener, (struct sockaddr *)&a, sizeof(a)) || listen(listener, 1024))
		fail("the listener");
}

void kernel_packet(const uint8_t *packet, size_t len)
{
	if (write(tun, packet, len) < 0 && errno != EINVAL)
		fail("write to the TUN device");
}

size_t kernel_answer(uint8_t *packet, size_t size)
{
	ssize_t n;

	do
		n = read(tun, packet, size);
	while (n > 0 && packet[0] >> 4 != 4); /* router solicitations and the like */
	return n > 0 ? (size_t)n : 0;
}

int kernel_accept(uint16_t port)
{
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	int fd;

	while ((fd = accept4(listener, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0 &&
	       ntohs(from.sin_port) != port)
		close(fd);
	return fd;
}

size_t kernel_read(int fd, uint8_t *to, size_t size, enum kernel_end *end)
{
	size_t all = 0;
	ssize_t n = 0;

	while (all < size && (n = recv(fd, to + all, size - all, 0)) > 0)
		all += (size_t)n;
	*end = all < size && n == 0 ? KERNEL_EOF : n < 0 && errno != EAGAIN ? KERNEL_RESET : KERNEL_OPEN;
	return all;
}

/* The fields that we need, where linux/tcp.h of 2022 ends before them. */
struct info {
	struct tcp_info base;
	uint32_t more[16];
};
#define RCV_WND_AT 232 /* of tcpi_rcv_wnd, since 6.2 */

bool kernel_ask(int fd, struct kernel_info *info)
{
	struct info i;
	socklen_t len = sizeof(i);

	memset(&i, 0, sizeof(i));
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &len))
		return false;
	info->state = i.base.tcpi_state;
	info->bytes_received = i.base.tcpi_bytes_received;
	info->rcv_wnd = 0;
	if (len >= RCV_WND_AT + sizeof(uint32_t))
		memcpy(&info->rcv_wnd, (const char *)&i + RCV_WND_AT, sizeof(uint32_t));
	return true;
}
