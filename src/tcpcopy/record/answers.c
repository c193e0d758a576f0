/*
 * The online server's answers, for a file - theory of operation
 *
 * In: the interfaces. Out: packets that leave this host from the ports of -x, in the order of time. They have
 * sockets of their own, one for each interface that is up, whatever -i says, because answers may take another
 * way than requests. The kernel writes them into a ring, cut to what is wanted of them, so that they need
 * neither a system call nor a wake-up each; how many are lost when it is full the kernel counts.
 *
 * The price is the kernel's: it shows each packet that leaves to these sockets, and their filters choose.
 * So there are none where no answers are to be written.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "tcpcopy/record/impl.h"

#define HEADER_BYTES 192u        /* Ethernet, IPv6 with some extension headers, TCP with all options */
#define RING_HEADERS (16u << 20) /* of all interfaces, and what each has at least */
#define RING_HEADERS_LEAST (2u << 20)
#define RING_ALL (32u << 20)
#define RING_ALL_LEAST (4u << 20)
#define RETIRE_MS 8 /* with 16 blocks or more, it may be read 128 ms late */

/* Of one interface. */
struct input {
	struct source *source;
	unsigned interface;
	bool idle; /* had nothing in this turn */
	unsigned n, at;
	struct raw_packet packet[SOURCE_TAKE_MOST];
};

struct record_answers {
	struct input *next; /* that of answers_next() */
	unsigned n;
	struct input input[CONFIG_MAX_INTERFACES];
};

static int ports(const struct config *c, char *out, size_t size)
{
	size_t n = 0;

	for (unsigned i = 0; i < c->n_rules && n < size; i++) {
		const struct rule *r = &c->rules[i];
		char host[ADDR_TEXT_LEN];

		n += (size_t)snprintf(out + n, size - n, "%s(tcp src port %u", i ? " or " : "",
				      r->online_port);
		if (r->has_online_addr && n < size)
			n += (size_t)snprintf(out + n, size - n, " and src host %s",
					      addr_format(host, sizeof(host), &r->online_addr));
		if (n < size)
			n += (size_t)snprintf(out + n, size - n, ")");
	}
	return n < size ? 0 : -1;
}

struct record_answers *answers_open(const struct config *c, struct record_interfaces *list, char *err,
				    size_t err_size)
{
	char names[CONFIG_MAX_INTERFACES][16], filter[CONFIG_FILTER_SIZE];
	struct record_answers *a = calloc(1, sizeof(*a));
	const bool whole = c->write_answers == ANSWERS_ALL;
	const unsigned n = a ? capture_interfaces(names, CONFIG_MAX_INTERFACES, true) : 0;

	if (!n || ports(c, filter, sizeof(filter))) {
		snprintf(err, err_size, "%s",
			 a && !n && errno ? strerror(errno)
					  : "out of memory, or too many rules for a filter");
		free(a);
		return NULL;
	}
	for (unsigned i = 0; i < n; i++) {
		const struct capture_options o = {
			.interface = names[i],
			.filter = filter,
			.outgoing_only = true,
			.snaplen = whole ? 0 : HEADER_BYTES,
			.mode = CAPTURE_RING,
			.retire_ms = RETIRE_MS,
			.ring_bytes = whole ? MAX(RING_ALL / n, RING_ALL_LEAST)
					    : MAX(RING_HEADERS / n, RING_HEADERS_LEAST),
		};

		a->input[i].source = capture_open(&o, err, err_size);
		if (!a->input[i].source) {
			answers_close(a);
			return NULL;
		}
		a->input[i].interface = record_interface(list, names[i]);
		a->n++;
	}
	return a;
}

void answers_close(struct record_answers *a)
{
	for (unsigned i = 0; a && i < a->n; i++)
		source_close(a->input[i].source);
	free(a);
}

static void keep(const struct raw_packet *p, void *arg)
{
	struct input *in = arg;

	in->packet[in->n++] = *p;
}

static void fill(struct input *in)
{
	source_release(in->source);
	in->n = in->at = 0;
	in->idle = !source_take(in->source, keep, in);
}

void answers_look(struct record_answers *a)
{
	for (unsigned i = 0; i < a->n; i++)
		if (a->input[i].at == a->input[i].n)
			fill(&a->input[i]);
}

struct record_answer answers_next(struct record_answers *a)
{
	struct record_answer first = { .packet = NULL };

	for (unsigned i = 0; i < a->n; i++) {
		struct input *in = &a->input[i];

		if (in->at == in->n && !in->idle)
			fill(in);
		if (in->at == in->n || (first.packet && first.packet->time <= in->packet[in->at].time))
			continue;
		first = (struct record_answer){ &in->packet[in->at], in->interface };
		a->next = in;
	}
	return first;
}

void answers_taken(struct record_answers *a)
{
	a->next->at++;
}

uint64_t answers_dropped(const struct record_answers *a)
{
	uint64_t dropped = 0;

	for (unsigned i = 0; i < a->n; i++) {
		struct source_counters n;

		source_counters(a->input[i].source, &n);
		dropped += n.kernel_drops;
	}
	return dropped;
}
