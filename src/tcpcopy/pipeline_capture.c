/*
 * Pipeline of tcpcopy: from the sources to the engine - theory of operation
 *
 * A batch is read from a source, parsed and classified, and then handed to the engine, in the order of
 * capture; answers of targets to addresses of this host are in it, too. What the online server sent comes by
 * another socket (replies.c), and the order between the two is kept where it matters: the SYN-ACKs are read
 * ahead of a batch that may answer them, since what is in the batch was captured before they are read, and
 * told within it; a reset is told when all that was captured before it has been.
 */
#include <string.h>

#include "base/util.h"
#include "program/clock.h"
#include "tcpcopy/pipeline.h"
#include "program/log.h"
#include "tcpcopy/replies.h"

#define TTL_HEARD 255 /* by deaf listeners */
#define FEW 16u       /* sessions: so many wait for answers one by one; those of a replay all do */

/*
 * Connections are chosen that were not a moment ago, so what is met of one for the first time may be the
 * middle of a request.
 */
void pipeline_choice_grows(struct pipeline *p)
{
	if (choice_grows(&p->choice, p->now))
		engine_not_shown(p->engine, p->now);
}

/* What is in the batch was captured before this, so the SYN-ACKs that it answers are there to be read. */
static void run_batch(struct pipeline *p)
{
	if (p->replies && (p->replies_pause || p->opening || engine_waits_for_proof(p->engine)))
		replies_take(p, p->newest);
	p->opening = false;
	pipeline_choice_grows(p);
	batch_run(&p->batch, p->engine, &p->answers, p->now);
	replies_left(p);
}

/*
 * The target has a connection that no session of ours has: what a tcpcopy that was killed has left there, or
 * the end of ours was lost. It is reset, as this host's TCP would do.
 */
static void stranger(struct pipeline *p, const struct segment *s)
{
	const struct msg_stray stray = {
		.response = s->tuple, .seq = s->seq, .ack = s->ack, .flags = s->flags
	};

	if (fanout_worker(&p->spread, &s->tuple) == p->worker)
		stray_answer(p->config, &p->strays, p->sink, &stray, p->now);
}

/* Deaf listeners hear this target, and reset the copies. */
static void heard(struct pipeline *p, const struct segment *s, uint64_t session)
{
	char target[ENDPOINT_TEXT_LEN];

	own_heard(p->own, &s->tuple.src);
	run_batch(p);
	engine_source_lost(p->engine, session, p->now);
	if (p->said_heard)
		return;
	p->said_heard = true;
	log_err("%s sends with a TTL of 255, so listening sockets do not keep its answers from this host's TCP, "
		"which resets them: nothing is copied to it; an nft table keeps them (run as root), or let them "
		"go to an assistant (-s)",
		endpoint_format(target, sizeof(target), &s->tuple.src));
}

/* Of the packet, from its IP header on. */
static uint32_t bytes_of(const struct segment *s)
{
	return (addr_is_v4(&s->tuple.src.addr) ? 40u : 60u) + s->raw_options_len + s->len;
}

/* What a target answers to a copy of ours. False: it is something else. */
static bool answer_taken(struct pipeline *p, const struct segment *s)
{
	struct response r;
	uint64_t session;

	const enum own_answer whose = own_answer(p->own, &s->tuple, &session);

	if (whose == OWN_NO_ANSWER)
		return false;
	inflow_add(&p->inflow, bytes_of(s), p->now);
	switch (whose) {
	case OWN_UNKNOWN:
		stranger(p, s);
		return true;
	case OWN_HOST:
		return true;
	case OWN_NO_ANSWER:
	case OWN_SESSION:
		break;
	}
	if (p->plan->deaf && s->ttl == TTL_HEARD) {
		heard(p, s, session);
		return true;
	}
	r = response_from_segment(session, s);
	if (batch_add_response(&p->batch, &r))
		run_batch(p);
	return true;
}

/* Once: a client on this host itself was left out (classify.c). */
static void say_from_here(struct pipeline *p, const struct segment *s)
{
	char client[ADDR_TEXT_LEN];

	p->said_from_here = true;
	log_warn(
		"the requests of clients on this host itself (%s), such as health checks, are left out: the target's "
		"responses to their copies would go to this host, which would reset them; to replicate them, "
		"give the copies other addresses, to which the target needs a route (-c ADDRESSES), or leave out -s",
		addr_format(client, sizeof(client), &s->tuple.src.addr));
}

static uint64_t rules_set(const unsigned rule[], unsigned n)
{
	uint64_t set = 0;

	for (unsigned i = 0; i < n; i++)
		set |= 1ull << rule[i];
	return set;
}

static void captured(const struct raw_packet *packet, void *arg)
{
	struct pipeline *p = arg;
	unsigned rule[CONFIG_MAX_RULES], n, n_keys;
	struct segment s;
	enum parse_reason reason = parse_packet(&s, packet);

	p->newest = packet->time;
	p->classified.parse[reason]++;
	if (reason == PARSE_OK && p->own && answer_taken(p, &s))
		return;
	if (p->replay) { /* only answers are captured live */
		p->classified.no_rule += reason == PARSE_OK;
		return;
	}
	n = reason == PARSE_OK ? classify(p->config, p->local, &p->classified, &p->choice, &s, p->by_loopback,
					  p->now, rule)
			       : 0;
	if (p->classified.from_here && !p->said_from_here)
		say_from_here(p, &s);
	if (n && p->record && !p->config->dry_run)
		record_request(p->record, packet, p->source_now, rules_set(rule, n), s.flags & TCPF_SYN);
	n_keys = n ? n * copies_of(&p->config->copies, &s.tuple.src) : 0;
	for (unsigned i = 0; i < n_keys; i++) {
		p->last = copies_key(&p->config->copies, &s.tuple, rule[i % n], i / n, 0);
		if (s.flags & TCPF_SYN) {
			p->opening = true;
			if (!p->plan)
				mapping_prefetch(p->mapping, &p->last);
		}
		if (batch_add(&p->batch, &p->last, &s))
			run_batch(p);
	}
}

void pipeline_capture(struct pipeline *p, int fd)
{
	p->now = clock_now();
	for (unsigned i = 0, n; i < p->n_sources; i++) {
		if (fd >= 0 && p->source[i]->fd != fd)
			continue;
		p->source_now = i;
		p->by_loopback = !strcmp(p->source[i]->name, "lo");
		p->source[i]->prompt = p->own && (p->replay || engine_sessions(p->engine) <= FEW);
		n = source_take(p->source[i], captured, p);
		run_batch(p);
		source_release(p->source[i]);
		if (!p->replay)
			pipeline_progress(p, i, n);
	}
	if (!p->replay)
		replies_tell_resets(p, p->taken_all);
}
