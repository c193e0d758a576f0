/*
 * The capture sources of all workers - theory of operation
 *
 * An interface has one fan-out group, in which every worker takes part; so the sources of an interface are
 * opened together and then handed out. Answers to own addresses come by the same sockets, cut to their
 * headers, so that the order on the wire is kept and one wake-up serves both. The memory of the options is
 * shared out: among the interfaces first, then among the workers.
 *
 * How long memory for packets lasts depends on the link, so one size is too much here and too little there.
 * A ring is memory at rest. Without -B it is what it needs to outlast a busy processor, less on a host with
 * little memory. A socket's buffer is used only while packets wait in it. It holds what its link brings in
 * OUTLAST_MS, as far as the host has that much; so super-packets, which would fill a ring at once, are left
 * to it (auto.c).
 */
#include "tcpcopy/sources.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/host/host.h"
#include "io/host/offloads.h"
#include "tcpcopy/pipeline.h"

#define BUFFER_LEAST (64u << 20)
#define BUFFER_MOST (1u << 30)
#define RING_MOST (64ull << 20) /* without -B, of all together */
#define RING_LEAST (16ull << 20)
#define RING_OF_MEMORY 32u /* one part in so many of what is available */
#define OUTLAST_MS 200u
#define BUFFER_OF_MEMORY 16u
#define FAST 10000u /* Mbit/s, where the link's speed is not known */

#define ANSWER_BYTES 192u /* Ethernet, IPv6 with some extension headers, TCP with all options */

/*
 * Little comes by loopback, and its ring would lie idle: it has a sixteenth at most, the others share what
 * is left.
 */
static size_t ring_share(uint64_t ring, const char *interface, unsigned n, bool with_loopback)
{
	if (n == 1 || !with_loopback)
		return (size_t)(ring / n);
	return (size_t)(strcmp(interface, "lo") ? ring / 16 * 15 / (n - 1) : ring / 16);
}

uint64_t sources_ring(const struct config *c)
{
	const uint64_t memory = host_memory_available();

	if (c->ring)
		return c->ring;
	return memory ? MIN(MAX(memory / RING_OF_MEMORY, RING_LEAST), RING_MOST) : RING_MOST;
}

/* Bytes of the receive buffer of @interface, one of @n. */
static size_t buffer_for(const struct config *c, const char *interface, unsigned n)
{
	const unsigned speed = link_speed(interface);
	const uint64_t bytes = (uint64_t)(speed ? speed : FAST) * 1000000 / 8 * OUTLAST_MS / 1000;
	const uint64_t memory = host_memory_available() / BUFFER_OF_MEMORY / n;

	if (c->ring)
		return (size_t)MIN(MAX(c->ring, BUFFER_LEAST), BUFFER_MOST);
	return (size_t)MIN(MAX(memory ? MIN(bytes, memory) : bytes, BUFFER_LEAST), BUFFER_MOST);
}

static int open_one(struct pipeline *const p[], const struct capture_options *o, char *err, size_t err_size)
{
	struct source *list[FANOUT_MAX_WORKERS];

	if (capture_open_workers(o, &p[0]->spread, list, err, err_size))
		return -1;
	for (unsigned w = 0; w < p[0]->spread.workers; w++)
		p[w]->source[p[w]->n_sources++] = list[w];
	return 0;
}

/* The answers to own addresses; NULL: out of memory, or it is too long. */
static char *answers_filter(const struct plan *plan)
{
	char *text = malloc(PLAN_FILTER_SIZE);

	if (text && !plan_filter(plan, text, PLAN_FILTER_SIZE))
		return text;
	free(text);
	return NULL;
}

int sources_open(struct pipeline *const p[], char *err, size_t err_size)
{
	char filter[CONFIG_FILTER_SIZE], any[CONFIG_MAX_INTERFACES][16];
	const struct config *c = p[0]->config;
	const struct plan *plan = c->dry_run ? NULL : p[0]->plan; /* then nothing is answered */
	unsigned n = c->n_interfaces;
	char *answers = NULL;
	bool with_loopback = false;
	int rc = 0;

	if (c->n_read && !plan)
		return 0; /* nothing is captured */
	if (config_capture_filter(c, filter, sizeof(filter))) {
		snprintf(err, err_size, "option -x: too many rules for one capture filter");
		return -1;
	}
	if (!n)
		n = capture_interfaces(any, CONFIG_MAX_INTERFACES, true);
	if (!n) {
		if (errno)
			snprintf(err, err_size, "cannot read the list of interfaces: %s", strerror(errno));
		else
			snprintf(err, err_size, "no interface is up: nothing can be captured");
		return -1;
	}
	for (unsigned i = 0; i < n; i++)
		with_loopback |= !strcmp(c->n_interfaces ? c->interfaces[i] : any[i], "lo");
	if (plan && !(answers = answers_filter(plan))) {
		snprintf(err, err_size, "out of memory, or too many targets for one capture filter");
		return -1;
	}
	for (unsigned i = 0; i < n && !rc; i++) {
		const char *name = c->n_interfaces ? c->interfaces[i] : any[i];
		struct capture_options o = {
			.interface = name,
			.filter = c->n_read ? answers : filter,
			.cut_filter = answers,
			.cut_to = ANSWER_BYTES,
			.incoming_only = true,
			.mode = c->capture,
			.ring_bytes = ring_share(sources_ring(c), name, n, with_loopback) / c->run.workers,
			.buffer_bytes = buffer_for(c, name, n) / c->run.workers,
		};

		rc = open_one(p, &o, err, err_size);
	}
	free(answers);
	return rc;
}
