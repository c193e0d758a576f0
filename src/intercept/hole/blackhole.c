/*
 * Is this host a black hole for what is not addressed to it?
 *
 * The target's responses are addressed to the clients, and the network routes them to this host. If this
 * host's kernel forwarded them, they would reach the clients; these would answer segments of connections that
 * they do not have with RSTs, which end the replicated sessions. In: the names of the capturing interfaces.
 * Out: the kernel's switches, read from /proc in this network namespace.
 *
 * For IPv4 the switch of the interface that a packet arrives on decides (net.ipv4.ip_forward only sets all of
 * them). For IPv6 it is the switch of "all" or, since Linux 6.17, force_forwarding of the interface. Nothing
 * is forwarded from loopback.
 */
#include "intercept/hole/blackhole.h"

#include <stdio.h>
#include <string.h>

#include "program/log.h"
#include "program/sandbox.h"

/* The switches are read again and again while intercept runs. */
SANDBOX_CALLS("openat");

static bool is_on(const char *family, const char *interface, const char *name)
{
	char path[128];
	FILE *f;
	int c;

	snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", family, interface, name);
	f = fopen(path, "re");
	if (!f)
		return false;
	c = getc(f);
	fclose(f);
	return c != EOF && c != '0';
}

/* Looks at one switch, conf/@conf/@name. @cure: the argument for sysctl(8) that switches it off. */
static bool leaks(const char *family, const char *conf, const char *name, const char *interface,
		  const char *cure, char *why, size_t size)
{
	if (!is_on(family, conf, name))
		return false;
	snprintf(why, size,
		 "this host forwards %s packets that arrive on %s (net.%s.conf.%s.%s is on), so "
		 "the target's responses would reach the clients, which would reset the "
		 "replicated connections; either disable forwarding: \"sysctl -w %s\", or let "
		 "intercept drop the responses: --guard, with --allow ADDRESS of the online server",
		 strcmp(family, "ipv4") ? "IPv6" : "IPv4", interface, family, conf, name, cure);
	return true;
}

static bool interface_leaks(const char *interface, char *why, size_t size)
{
	char force[80];

	snprintf(force, sizeof(force), "net.ipv6.conf.%s.force_forwarding=0", interface);
	return strcmp(interface, "lo") &&
	       (leaks("ipv4", interface, "forwarding", interface, "net.ipv4.ip_forward=0", why, size) ||
		leaks("ipv6", "all", "forwarding", interface, "net.ipv6.conf.all.forwarding=0", why, size) ||
		leaks("ipv6", interface, "force_forwarding", interface, force, why, size));
}

static size_t add_switch(char *buf, size_t size, size_t n, const char *name)
{
	if (strstr(buf, name) || n >= size)
		return n;
	return n + (size_t)snprintf(buf + n, size - n, "%s%s=0", n ? " " : "", name);
}

bool blackhole_switches(const struct config *c, char *buf, size_t size)
{
	char name[80];
	size_t n = 0;

	buf[0] = '\0';
	for (unsigned i = 0; i < c->n_interfaces; i++) {
		if (!strcmp(c->interfaces[i], "lo"))
			continue;
		snprintf(name, sizeof(name), "net.ipv6.conf.%s.force_forwarding", c->interfaces[i]);
		if (is_on("ipv4", c->interfaces[i], "forwarding"))
			n = add_switch(buf, size, n, "net.ipv4.ip_forward");
		if (is_on("ipv6", "all", "forwarding"))
			n = add_switch(buf, size, n, "net.ipv6.conf.all.forwarding");
		if (is_on("ipv6", c->interfaces[i], "force_forwarding"))
			n = add_switch(buf, size, n, name);
	}
	return n;
}

bool blackhole_leaks(const struct config *c, char *why, size_t size)
{
	if (c->n_on_target) /* nothing arrives by its device */
		return false;
	for (unsigned i = 0; i < c->n_interfaces; i++)
		if (interface_leaks(c->interfaces[i], why, size))
			return true;
	return false;
}

void blackhole_watch(const struct config *c, bool *leaks)
{
	char why[512];
	const bool before = *leaks;

	*leaks = blackhole_leaks(c, why, sizeof(why));
	if (*leaks && !before)
		log_err("%s", why);
}
