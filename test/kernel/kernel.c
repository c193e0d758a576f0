/*
 * The kernel behind a TAP device - theory of operation
 *
 * unshare(2) gives the process a network namespace of its own, so nothing here touches the machine's network,
 * and all of it goes with the process. A packet written to the TAP device is worked off by the kernel's
 * receive path before write(2) returns; what it sends waits in the device's queue to be read.
 *
 * The device is TAP and not TUN because its packets lie in page fragments, as a network card's do: then the
 * kernel merges neighbours behind a hole, which it does not with TUN's, and that decides which copy of a byte
 * counts.
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
#include <net/if_arp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int tap, listener;
static uint8_t ethernet[14]; /* the header of what we write */

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

/* The client's link-layer address is known, so nobody asks for it; and the device's own heads our packets. */
static void link_addresses(void)
{
	static const uint8_t client[6] = { 2, 0, 0, 0, 0, 2 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in a = { .sin_family = AF_INET };
	struct arpreq q;
	struct ifreq r;

	memset(&r, 0, sizeof(r));
	snprintf(r.ifr_name, sizeof(r.ifr_name), "t0");
	if (ioctl(fd, SIOCGIFHWADDR, &r))
		fail("SIOCGIFHWADDR");
	memcpy(ethernet, r.ifr_hwaddr.sa_data, 6);
	memcpy(ethernet + 6, client, 6);
	ethernet[12] = 8;
	memset(&q, 0, sizeof(q));
	inet_pton(AF_INET, "10.0.0.2", &a.sin_addr);
	memcpy(&q.arp_pa, &a, sizeof(a));
	q.arp_ha.sa_family = ARPHRD_ETHER;
	memcpy(q.arp_ha.sa_data, client, 6);
	q.arp_flags = ATF_COM | ATF_PERM;
	snprintf(q.arp_dev, sizeof(q.arp_dev), "t0");
	if (ioctl(fd, SIOCSARP, &q))
		fail("SIOCSARP");
	close(fd);
}

void kernel_open(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(KERNEL_SERVER_PORT) };
	struct ifreq r;

	if (unshare(CLONE_NEWNET))
		fail("a network namespace");
	tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (tap < 0)
		fail("/dev/net/tun");
	memset(&r, 0, sizeof(r));
	snprintf(r.ifr_name, sizeof(r.ifr_name), "t0");
	r.ifr_flags = IFF_TAP | IFF_NO_PI;
	if (ioctl(tap, TUNSETIFF, &r))
		fail("TUNSETIFF");
	interface_up("lo", NULL);
	interface_up("t0", "10.0.0.1");
	link_addresses();
	set_sysctl("tcp_invalid_ratelimit", "0");
	set_sysctl("tcp_challenge_ack_limit", "1000000000");
	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)) ||
	    bind(listener, (struct sockaddr *)&a, sizeof(a)) || listen(listener, 1024))
		fail("the listener");
}

void kernel_packet(const uint8_t *packet, size_t len)
{
	uint8_t frame[sizeof(ethernet) + 65536];

	memcpy(frame, ethernet, sizeof(ethernet));
	memcpy(frame + sizeof(ethernet), packet, len);
	if (write(tap, frame, sizeof(ethernet) + len) < 0)
		fail("write to the TAP device");
}

size_t kernel_answer(uint8_t *packet, size_t size)
{
	uint8_t frame[sizeof(ethernet) + 65536];
	ssize_t n;

	do
		n = read(tap, frame, sizeof(frame));
	while (n > 0 && (frame[12] != 8 || frame[13] != 0)); /* router solicitations and the like */
	if (n <= (ssize_t)sizeof(ethernet) || (size_t)n - sizeof(ethernet) > size)
		return 0;
	memcpy(packet, frame + sizeof(ethernet), (size_t)n - sizeof(ethernet));
	return (size_t)n - sizeof(ethernet);
}

int kernel_accept(uint16_t port)
{
	struct sockaddr_in from = { 0 };
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

	/*
	 * without delayed ACKs: what is acknowledged is what was received, or it would take more of old
	 * segments
	 */
	setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &(int){ 1 }, sizeof(int));

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
