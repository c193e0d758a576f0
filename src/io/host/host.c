/*
 * Questions about this host.
 *
 * In: names. Out: what the kernel says in /proc and by ioctl. What is not there is no error:
 * kernels differ.
 */
#include "io/host/host.h"

#include "base/util.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

bool host_has_capability(unsigned number)
{
	char line[256];
	FILE *f = fopen("/proc/self/status", "re");
	unsigned long long bits = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "CapEff: %llx", &bits) == 1)
			break;
	if (f)
		fclose(f);
	return bits >> number & 1;
}

long long host_number(const char *path)
{
	char text[64] = "";
	FILE *f = fopen(path, "re");

	if (!f)
		return -1;
	if (!fgets(text, sizeof(text), f))
		text[0] = '\0';
	fclose(f);
	return text[0] ? strtoll(text, NULL, 10) : -1;
}

/* Ask about an interface: the question @what (SIOCG...), which fills *ifr. -1 with errno. */
static int ask(unsigned long what, struct ifreq *ifr)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), result, error;

	if (fd < 0)
		return -1;
	result = ioctl(fd, what, ifr);
	error = errno;
	close(fd);
	errno = error;
	return result;
}

int host_interface_index(const char *interface)
{
	struct ifreq ifr = { 0 };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", interface);
	return ask(SIOCGIFINDEX, &ifr) ? 0 : ifr.ifr_ifindex;
}

bool host_interface_name(int index, char name[16])
{
	struct ifreq ifr = { .ifr_ifindex = index };

	if (ask(SIOCGIFNAME, &ifr))
		return false;
	memcpy(name, ifr.ifr_name, sizeof(ifr.ifr_name));
	return true;
}

bool host_interface_is_up(const char *interface)
{
	struct ifreq ifr = { 0 };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", interface);
	return !ask(SIOCGIFFLAGS, &ifr) && (ifr.ifr_flags & IFF_UP);
}

bool host_interface_among(const char (*names)[16], unsigned n, const char *interface)
{
	for (unsigned i = 0; i < n; i++)
		if (!strcmp(names[i], interface))
			return true;
	return false;
}

unsigned long long host_memory_available(void)
{
	char line[256];
	FILE *f = fopen("/proc/meminfo", "re");
	unsigned long long kib = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib << 10;
}

uint32_t host_receive_window(void)
{
	long long least = 0, by_default = 0, most = 0, asked = host_number("/proc/sys/net/core/rmem_max");
	FILE *f = fopen("/proc/sys/net/ipv4/tcp_rmem", "re");
	int n = f ? fscanf(f, "%lld %lld %lld", &least, &by_default, &most) : 0;

	if (f)
		fclose(f);
	/* an application may ask for rmem_max, and the kernel doubles that (socket(7), SO_RCVBUF) */
	return n == 3 ? (uint32_t)MIN(MAX(most, 2 * asked), 1 << 30) : 0;
}

#define IF_INET6 "/proc/net/if_inet6"
#define GLOBAL 0x00u    /* its scope */
#define TEMPORARY 0x01u /* flags: linux/if_addr.h */
#define UNUSABLE 0x68u  /* deprecated, tentative, or a duplicate */

struct inet6_line {
	struct addr addr;
	unsigned index, scope, flags;
};

static bool read_inet6(FILE *f, struct inet6_line *l)
{
	char hex[33], line[128];
	unsigned byte, prefix;

	if (!fgets(line, sizeof(line), f) ||
	    sscanf(line, "%32s %x %x %x %x", hex, &l->index, &prefix, &l->scope, &l->flags) != 5)
		return false;
	for (unsigned i = 0; i < 16; i++) {
		if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
			return false;
		l->addr.b[i] = (uint8_t)byte;
	}
	return true;
}

bool host_lasting_address(struct addr *a)
{
	struct inet6_line l, own = { .index = 0 };
	struct addr best = *a;
	bool found = false, near = false;
	FILE *f = addr_is_v4(a) ? NULL : fopen(IF_INET6, "re");

	if (!f)
		return true;
	while (read_inet6(f, &l))
		if (addr_eq(&l.addr, a))
			own = l;
	rewind(f);
	while (own.flags & TEMPORARY && read_inet6(f, &l)) {
		if (l.index != own.index || l.scope != GLOBAL || l.flags & (TEMPORARY | UNUSABLE))
			continue;
		if (found && (near || memcmp(l.addr.b, a->b, 8) != 0))
			continue;
		near = !memcmp(l.addr.b, a->b, 8);
		found = true;
		best = l.addr;
	}
	fclose(f);
	*a = best;
	return found || !(own.flags & TEMPORARY);
}
