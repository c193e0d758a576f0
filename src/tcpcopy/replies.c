/*
 * What the online server says of its connections - theory of operation
 *
 * In: the SYN-ACKs and resets that leave this host from the ports of -x, and a sample of the packets with
 * payload (io/capture/replies.c). Out: engine_server() for each rule that a request in the opposite direction
 * would match. The engine takes a SYN-ACK as the proof of a connection once its client has acknowledged it, a
 * reset as its end, and payload as the beginning of an answer where it is one.
 *
 * They come by a socket of their own. Whoever is late finds a whole connection in one batch, and must not
 * hand over the client's ACK before the SYN-ACK that it answers: while proofs are missing, or a SYN is in
 * the batch, this socket is read between the reading of the batch and its processing, up to the end of the
 * batch, and each SYN-ACK is told when its time has come in it (batch.c).
 *
 * So the SYN-ACK itself need not wake anybody: what follows from it follows with the client's ACK. The
 * first one does, and for 10 ms after it none: then the socket is read ahead of each batch, and at the end.
 * One that no batch has taken along by then is told all the same: nothing comes of that connection, or not
 * soon. Not so where packets wait that were captured before it.
 *
 * A reset, which ends its copy, is not to overtake the requests that were captured before it, perhaps in a
 * ring that hands over a block at a time: it waits until all sources have been read up to its time. What
 * was captured later, the server did not take; the engine is told at once, and refuses that.
 *
 * An answer is told between the request that was captured before it and what was captured later (batch.c).
 * Nothing follows from one, so answers alone begin no pause, and those that nothing follows are not told.
 *
 * With own addresses, resets that leave from one of our ports come by it as well. Where a session has the
 * port and we have sent none, this host's TCP did: the port is withdrawn, and the session ends (own.c).
 *
 * Each worker has such a socket and takes what is of its own connections.
 */
#include "tcpcopy/replies.h"

#include <event2/event.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "program/clock.h"
#include "program/log.h"
#include "tcpcopy/pipeline.h"

#define TAKE_MOST 256u /* in one call */
#define PAUSE_US 10000

/* Without @plan, those of the rules alone. */
static int ports(const struct config *c, const struct plan *plan, char *out, size_t size)
{
	size_t n = 0;

	for (unsigned i = 0; i < c->n_rules && n < size; i++)
		n += (size_t)snprintf(out + n, size - n, "%stcp src port %u", i ? " or " : "",
				      c->rules[i].online_port);
	for (unsigned i = 0; plan && i < plan->n_ranges && n < size; i++)
		n += (size_t)snprintf(out + n, size - n,
				      " or (tcp src portrange %u-%u and (tcp[tcpflags] & tcp-rst != 0 or "
				      "(ip6 and ip6[6] = 6 and ip6[53] & 4 != 0)))",
				      plan->range[i].first, plan->range[i].last);
	return n < size ? 0 : -1;
}

int replies_open(struct pipeline *p, char *err, size_t err_size)
{
	char text[CONFIG_FILTER_SIZE], rules[CONFIG_FILTER_SIZE];

	if (ports(p->config, p->plan, text, sizeof(text)) || ports(p->config, NULL, rules, sizeof(rules))) {
		snprintf(err, err_size, "option -x: too many rules for one capture filter");
		return -1;
	}
	p->replies = capture_replies_open(text, rules, err, err_size);
	return p->replies ? 0 : -1;
}

static void tell_reset(struct pipeline *p, const struct flow_key *k, const struct segment *s)
{
	engine_server(p->engine, k, s, p->now);
	answers_give(&p->answers, p->engine, p->now);
}

static void tell_synacks(struct pipeline *p, unsigned n)
{
	batch_run_server(&p->batch, n, p->engine, &p->answers, p->now);
}

static void add_synack(struct pipeline *p, const struct flow_key *k, const struct segment *s)
{
	if (batch_add_server(&p->batch, k, s))
		return;
	tell_synacks(p, 1);
	batch_add_server(&p->batch, k, s);
}

static void keep_reset(struct pipeline *p, const struct flow_key *k, const struct segment *s)
{
	struct reset *r;

	if (p->n_resets == RESETS_MOST) /* a flood of them */
		replies_tell_resets(p, p->reset[0].segment.time + 1);
	r = &p->reset[p->n_resets++];
	*r = (struct reset){ .key = *k, .segment = *s };
	r->segment.payload = r->segment.raw_options = NULL;
	r->segment.captured = r->segment.raw_options_len = 0;
	engine_server_resets(p->engine, k, s);
}

static void on_reply(const struct raw_packet *packet, void *arg)
{
	struct pipeline *p = arg;
	struct classify_counters none = { .given = 0 };
	unsigned rule[CONFIG_MAX_RULES], n, n_keys;
	struct segment s, request;
	struct flow_key k;
	uint64_t lost;

	if (parse_packet(&s, packet) != PARSE_OK)
		return;
	request = s;
	request.tuple = (struct tuple){ .src = s.tuple.dst, .dst = s.tuple.src };
	if (fanout_worker(&p->spread, &request.tuple) != p->worker)
		return;
	if (p->own && s.flags & TCPF_RST && own_was_reset(p->own, &request.tuple, &lost)) {
		engine_source_lost(p->engine, lost, p->now);
		return;
	}
	p->replies_seen += (s.flags & (TCPF_SYN | TCPF_RST)) != 0;
	n = classify(p->config, p->local, &none, NULL, &request, false, p->now, rule);
	n_keys = n ? n * copies_of(&p->config->copies, &request.tuple.src) : 0;
	for (unsigned i = 0; i < n_keys; i++) {
		k = copies_key(&p->config->copies, &request.tuple, rule[i % n], i / n, 0);
		if (s.flags & TCPF_RST)
			keep_reset(p, &k, &s);
		else if (s.flags & TCPF_SYN)
			add_synack(p, &k, &s);
		else
			batch_add_answer(&p->batch, &k, &s);
	}
}

void replies_tell_resets(struct pipeline *p, uint64_t before)
{
	unsigned n = 0;

	for (; n < p->n_resets && p->reset[n].segment.time < before; n++)
		tell_reset(p, &p->reset[n].key, &p->reset[n].segment);
	if (!n)
		return;
	p->n_resets -= n;
	memmove(p->reset, p->reset + n, p->n_resets * sizeof(p->reset[0]));
}

void replies_take(struct pipeline *p, uint64_t until)
{
	for (unsigned i = 0; i < TAKE_MOST / SOURCE_TAKE_MOST && !batch_server_after(&p->batch, until); i++)
		if (source_poll(p->replies, SOURCE_TAKE_MOST, on_reply, p) < SOURCE_TAKE_MOST)
			return;
}

static bool pause_begins(struct pipeline *p)
{
	static const struct timeval pause = { .tv_usec = PAUSE_US };

	return !event_add(p->resume, &pause);
}

void replies_left(struct pipeline *p)
{
	if (!p->batch.n_server || p->replies_pause)
		return;
	p->replies_pause = pause_begins(p);
	if (p->replies_pause)
		event_del(p->replying);
}

/* Something has come, or the pause is over. */
void replies_ready(struct pipeline *p, bool came)
{
	const uint64_t before = p->replies_seen;

	if (!p->behind) {
		tell_synacks(p, p->batch.n_server); /* which were read before the pause, or in it */
		replies_take(p, UINT64_MAX);
	}
	came = came && (p->behind || p->replies_seen != before);
	p->replies_pause = (came || p->behind || p->batch.n_server) && pause_begins(p);
	if (!p->replies_pause)
		event_add(p->replying, NULL);
}

int replies_start(struct pipeline *p)
{
	p->replying = event_new(p->base, p->replies->fd, EV_READ, pipeline_replies, p);
	p->resume = event_new(p->base, -1, 0, pipeline_replies, p);
	return p->replying && p->resume && !event_add(p->replying, NULL) ? 0 : -1;
}

void replies_close(struct pipeline *p)
{
	if (p->replying)
		event_free(p->replying);
	if (p->resume)
		event_free(p->resume);
	if (p->replies)
		source_close(p->replies);
}

void replies_say(struct pipeline *p)
{
	for (unsigned i = 0; i < p->config->n_rules; i++) {
		const struct engine_proofs *n = engine_proofs(p->engine, i);

		if (p->said_unproved[i] || n->found || !n->missing)
			continue;
		p->said_unproved[i] = true;
		log_warn(
			"-x %s: nothing is replicated: the online server cannot be shown to have any of the "
			"connections that are captured. Its sockets are not on this host, and its SYN-ACKs do not "
			"leave by it. --unproved replicates them all the same",
			p->config->rules[i].text);
	}
}
