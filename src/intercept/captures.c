/*
 * The capture sources of intercept, one for each interface.
 *
 * In: names of interfaces and a filter. Out: packets, by the caller's function. Of a packet only
 * the headers are wanted, so the kernel cuts it to a few of the bytes that it would have to copy.
 * Both directions are captured: on a gateway responses come in and go out, on the target itself
 * they only go out. A turn of the loop takes a bounded number of packets from each interface, so
 * that the channel is never starved.
 */
#include "intercept/captures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/log.h"

#define SNAPLEN 192u /* Ethernet, IPv6 with some extension headers, TCP with all options */
#define PACKETS_AT_ONCE 256u
#define RING_BYTES (16u << 20) /* of all interfaces together: some 50000 headers */

struct one {
	struct captures *all;
	struct source *source;
	struct event *event;
	uint64_t errors;
};

struct captures {
	source_fn fn;
	void *arg;
	size_t ring_bytes; /* of each */
	struct one list[CONFIG_MAX_INTERFACES];
	unsigned n;
};

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct one *o = arg;

	(void)fd;
	(void)what;
	source_poll(o->source, PACKETS_AT_ONCE, o->all->fn, o->all->arg);
}

static int open_one(struct captures *all, struct event_base *base, const char *interface,
		    const char *filter, char *err, size_t err_size)
{
	const struct capture_options o = { .interface = interface,
					   .filter = filter,
					   .snaplen = SNAPLEN,
					   .ring_bytes = all->ring_bytes };
	struct one *one = &all->list[all->n];

	one->all = all;
	one->source = capture_open(&o, err, err_size);
	if (!one->source)
		return -1;
	all->n++;
	if (one->source->error[0])
		log_warn("%s", one->source->error);
	one->event = event_new(base, one->source->fd, EV_READ | EV_PERSIST, on_readable, one);
	if (!one->event || event_add(one->event, NULL)) {
		snprintf(err, err_size, "out of memory");
		return -1;
	}
	return 0;
}

struct captures *captures_open(struct event_base *base, struct config *c, const char *filter,
			       source_fn fn, void *arg, char *err, size_t err_size)
{
	struct captures *all;

	if (!c->n_interfaces)
		c->n_interfaces = capture_interfaces(c->interfaces, CONFIG_MAX_INTERFACES, false);
	if (!c->n_interfaces) {
		snprintf(err, err_size, "no interface of this host is up; -i names one");
		return NULL;
	}
	all = calloc(1, sizeof(*all));
	if (!all) {
		snprintf(err, err_size, "out of memory");
		return NULL;
	}
	all->fn = fn;
	all->arg = arg;
	all->ring_bytes = RING_BYTES / c->n_interfaces;
	for (unsigned i = 0; i < c->n_interfaces; i++)
		if (open_one(all, base, c->interfaces[i], filter, err, err_size)) {
			captures_close(all);
			return NULL;
		}
	return all;
}

void captures_close(struct captures *all)
{
	if (!all)
		return;
	for (unsigned i = 0; i < all->n; i++) {
		if (all->list[i].event)
			event_free(all->list[i].event);
		all->list[i].source->ops->close(all->list[i].source);
	}
	free(all);
}

int captures_set_filter(struct captures *all, const char *filter, char *err, size_t err_size)
{
	for (unsigned i = 0; i < all->n; i++)
		if (capture_set_filter(all->list[i].source, filter, err, err_size))
			return -1;
	return 0;
}

struct source_counters captures_counters(struct captures *all)
{
	struct source_counters sum = { 0 };

	for (unsigned i = 0; i < all->n; i++) {
		struct one *o = &all->list[i];
		struct source_counters c;

		o->source->ops->counters(o->source, &c);
		sum.packets += c.packets;
		sum.bytes += c.bytes;
		sum.truncated += c.truncated;
		sum.kernel_drops += c.kernel_drops;
		sum.let_in += c.let_in;
		sum.outdated += c.outdated;
		sum.errors += c.errors;
		if (c.errors != o->errors)
			log_err("%s", o->source->error);
		o->errors = c.errors;
	}
	return sum;
}
