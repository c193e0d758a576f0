/*
 * What a device joins and cuts by itself, and how fast it is.
 *
 * In: an interface. Out: names of features that are on, as "ethtool -k" has them below: the string
 * set of the features and their bits are asked from the driver (SIOCETHTOOL). Among them is
 * rx-gro-hw, which "ethtool -K gro off" leaves on.
 */
#include "io/host/offloads.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"

#define MAX_FEATURES 512u

static int ask(int fd, const char *interface, void *what)
{
	struct ifreq ifr = { .ifr_data = what };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", interface);
	return ioctl(fd, SIOCETHTOOL, &ifr);
}

unsigned link_speed(const char *interface)
{
	struct ethtool_cmd q = { .cmd = ETHTOOL_GSET };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const bool known = fd >= 0 && !ask(fd, interface, &q);
	/* ethtool_cmd_speed() shifts an int, out of its range where the speed is not known */
	const uint32_t speed = (uint32_t)q.speed_hi << 16 | q.speed;

	if (fd >= 0)
		close(fd);
	return known && speed != (uint32_t)SPEED_UNKNOWN ? speed : 0;
}

static unsigned count_features(int fd, const char *interface)
{
	union { /* a head, and one number behind it */
		struct ethtool_sset_info info;
		__u32 words[sizeof(struct ethtool_sset_info) / sizeof(__u32) + 1];
	} q = { .info = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ull << ETH_SS_FEATURES } };

	if (ask(fd, interface, &q) || !q.info.sset_mask)
		return 0;
	return MIN(q.words[sizeof(q.info) / sizeof(__u32)], MAX_FEATURES);
}

char *offloads_text(char *buf, size_t size, const char *interface)
{
	static const char *const wanted[] = { "rx-gro",
					      "rx-gro-hw",
					      "rx-lro",
					      "tx-tcp-segmentation",
					      "tx-tcp6-segmentation",
					      "tx-generic-segmentation" };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	unsigned n = fd < 0 ? 0 : count_features(fd, interface);
	struct ethtool_gstrings *names = calloc(1, sizeof(*names) + (size_t)n * ETH_GSTRING_LEN);
	struct ethtool_gfeatures *bits =
		calloc(1, sizeof(*bits) + (size_t)(n / 32 + 1) * sizeof(bits->features[0]));
	size_t len = 0;

	buf[0] = '\0';
	if (!n || !names || !bits)
		goto out;
	*names =
		(struct ethtool_gstrings){ .cmd = ETHTOOL_GSTRINGS, .string_set = ETH_SS_FEATURES, .len = n };
	*bits = (struct ethtool_gfeatures){ .cmd = ETHTOOL_GFEATURES, .size = n / 32 + 1 };
	if (ask(fd, interface, names) || ask(fd, interface, bits))
		goto out;
	for (unsigned i = 0; i < n; i++) {
		const char *name = (const char *)names->data + (size_t)i * ETH_GSTRING_LEN;

		if (!(bits->features[i / 32].active & 1u << i % 32))
			continue;
		for (unsigned j = 0; j < ARRAY_SIZE(wanted); j++)
			if (!strncmp(name, wanted[j], ETH_GSTRING_LEN) && len < size)
				len += (size_t)snprintf(buf + len, size - len, "%s%s", len ? " " : "",
							wanted[j]);
	}
out:
	free(names);
	free(bits);
	if (fd >= 0)
		close(fd);
	return buf;
}
