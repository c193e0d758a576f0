/*
 * The capture sources of one worker of intercept, one for each interface.
 *
 * In: names of interfaces and a filter. Out: packets, through the caller's function. Only the headers of a
 * packet and the first RESPONSE_FIRST bytes behind them are needed, so the kernel copies no more than its
 * first SNAPLEN bytes. Both directions are captured: on a gateway the responses come in and go out, on the
 * target itself they only go out. A turn of the loop takes a bounded number of packets from each interface,
 * so that the channel is never starved.
 */
#include "intercept/captures.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "packet/response.h"
#include "program/log.h"

/* Ethernet, IPv6 with 62 bytes of extension headers, TCP with all options, what an answer begins with */
#define SNAPLEN (14u + 40 + 62 + 60 + RESPONSE_FIRST)
#define PACKETS_AT_ONCE 256u
#define RING_BYTES (16u << 20)   /* all interfaces and workers together: about 50000 headers */
#define BUFFER_BYTES (16u << 20) /* of one interface, all workers together */

struct one {
	struct captures *all;
	struct source *source;
	struct event *event;
	uint64_t errors;
};

struct captures {
	struct event_base *base;
	source_fn fn;
	void *arg;
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

static int add_source(struct captures *all, struct source *source)
{
	struct one *one = &all->list[all->n++];

	one->all = all;
	one->source = source;
	if (source->error[0])
		log_warn("%s", source->error);
	one->event = event_new(all->base, source->fd, EV_READ | EV_PERSIST, on_readable, one);
	return one->event && !event_add(one->event, NULL) ? 0 : -1;
}

struct captures *captures_new(struct event_base *base, source_fn fn, void *arg)
{
	struct captures *all = calloc(1, sizeof(*all));

	if (!all)
		return NULL;
	all->base = base;
	all->fn = fn;
	all->arg = arg;
	return all;
}

int captures_choose(struct config *c, char *err, size_t err_size)
{
	if (!c->n_interfaces)
		c->n_interfaces = capture_interfaces(c->interfaces, CONFIG_MAX_INTERFACES, false);
	if (c->n_interfaces)
		return 0;
	if (errno)
		snprintf(err, err_size, "cannot read the list of interfaces: %s", strerror(errno));
	else
		snprintf(err, err_size, "no interface of this host is up; name one with -i");
	return -1;
}

int captures_open(struct captures *const all[], const struct fanout *spread, const struct config *c,
		  const char *filter, char *err, size_t err_size)
{
	struct source *source[FANOUT_MAX_WORKERS];
	int rc = 0;

	for (unsigned i = 0; i < c->n_interfaces && rc == 0; i++) {
		const struct capture_options o = { .interface = c->interfaces[i],
						   .filter = filter,
						   .filter_changes = !c->filter,
						   .snaplen = SNAPLEN,
						   .ring_bytes =
							   RING_BYTES / c->n_interfaces / spread->workers,
						   .buffer_bytes = BUFFER_BYTES / spread->workers };

		if (capture_open_workers(&o, spread, source, err, err_size))
			return -1;
		for (unsigned w = 0; w < spread->workers; w++)
			rc |= add_source(all[w], source[w]);
	}
	if (rc)
		snprintf(err, err_size, "out of memory");
	return rc;
}

void captures_poll(struct captures *all)
{
	for (unsigned i = 0; i < all->n; i++)
		source_poll(all->list[i].source, PACKETS_AT_ONCE, all->fn, all->arg);
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

		source_counters(o->source, &c);
		source_counters_add(&sum, &c);
		if (c.errors != o->errors)
			log_err("%s", o->source->error);
		o->errors = c.errors;
	}
	return sum;
}
