/*
 * The self-diagnosis - theory of operation
 *
 * Most set-ups that do not work fail silently: requests are captured and sent, and nothing comes back. So,
 * once a second until the first response, the workers are asked for their counters. If they have had sessions
 * for some seconds and no response at all, a probe (probe.c) is made as --check makes it, with connections of
 * its own to the assistants and the address of the client that was captured last. Its finding is logged once.
 * After that, or after the first response, the probe is gone.
 *
 * With own addresses a probe would need what the sandbox no longer gives, a table and captures of its own; so
 * the log only says that nothing comes back, and who can tell more.
 *
 * Where there are responses, but nothing is acknowledged for PATIENCE of what was captured, the counters tell
 * why: one line, each time that it begins. So does one line for each rule where nothing is captured at all,
 * from the sockets of this host (unheard.c).
 *
 * What the clients speak, and whether the target answers as the online server does, is looked at once a
 * second for as long as the program runs, since a client that speaks something else may come at any time;
 * each line is logged once.
 */
#include "tcpcopy/check/diagnosis.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "program/clock.h"
#include "program/log.h"
#include "io/host/published.h"
#include "io/inject/route.h"
#include "tcpcopy/check/firewall.h"
#include "tcpcopy/check/parts.h"
#include "tcpcopy/check/probe.h"
#include "tcpcopy/check/unheard.h"
#include "tcpcopy/paths.h"
#include "tcpcopy/pipeline.h"
#include "tcpcopy/exchanges.h"
#include "tcpcopy/report/account.h"
#include "tcpcopy/spoken.h"

#define LOOK_S 1
#define PATIENCE (5 * NS_PER_SEC) /* with sessions, and without a response */

/* Sums over the workers. */
struct state {
	uint64_t responses, sessions, data, acked, refused, reset, offered, sent, errors[SINK_ERROR_COUNT];
	uint64_t captured;
	bool connected; /* every worker with some assistant */
	bool has_client;
	struct flow_key last; /* of what was captured */
};

struct diagnosis {
	struct checking k;
	struct workers *workers;
	struct event *timer;
	uint64_t since;      /* ns, when the first session was seen; 0: none yet */
	uint64_t connected;  /* ns, when all assistants were; 0: they are not */
	uint64_t unacked;    /* ns, since when nothing is acknowledged that was captured; 0: it is */
	struct state before; /* as it was then */
	bool said_unacked, said_unheard[CONFIG_MAX_RULES];
	bool published[CONFIG_MAX_RULES]; /* when we started: the rules of netfilter cannot be read later */
	unsigned rule;
	bool probing, over; /* a probe is made; none is made any more */
	struct spoken_said said;
	struct exchanges_said said_exchanges;
	struct sums {
		struct protocol_tally spoken;
		struct exchange_tally exchanges;
	} sums[CONFIG_MAX_RULES];             /* of each rule, over all workers */
	uint32_t said_path[CONFIG_MAX_RULES]; /* the size that was said; 0: none */
};

static void look(void *pipeline, void *arg)
{
	const struct pipeline *p = pipeline;
	struct state *s = arg;
	const struct engine_counters *n = engine_counters(p->engine);

	s->responses += n->responses;
	s->sessions += n->sessions_opened + n->sessions_joined;
	s->captured += n->captured_segments + p->classified.from_here; /* of which there is a line already */
	s->data += n->queued_bytes;
	s->acked += n->acked_bytes;
	s->refused += n->ended[OUTCOME_REFUSED];
	s->reset += n->ended[OUTCOME_TARGET_RESET];
	s->offered += p->sink->counters.offered;
	s->sent += p->sink->counters.packets;
	for (unsigned i = 0; i < SINK_ERROR_COUNT; i++)
		s->errors[i] += p->sink->counters.errors[i];
	s->connected &= p->returns && returns_parts_up(p->returns);
	if (!p->last.client.port)
		return;
	s->has_client = true;
	s->last = p->last;
}

/* The error that most packets were refused with, since *before. */
static enum sink_error most_errors(const struct state *before, const struct state *s)
{
	enum sink_error most = (enum sink_error)0;

	for (unsigned i = 1; i < SINK_ERROR_COUNT; i++)
		if (s->errors[i] - before->errors[i] > s->errors[most] - before->errors[most])
			most = (enum sink_error)i;
	return most;
}

/* The kernel has refused @refused of @offered packets to *to, most of them with @e. */
static void diagnose_sending(struct check_result *r, const struct endpoint *to, uint64_t refused,
			     uint64_t offered, enum sink_error e)
{
	char target[ADDR_TEXT_LEN];
	const char *more = "; --check tells more";

	if (e == SINK_PERM && refused == offered)
		more = "; a rule for what this host sends drops or rejects them (--inject link passes none)";
	else if (e == SINK_PERM)
		more = "; SYNs pass, so a rule drops what connection tracking calls INVALID (--inject link passes none)";
	else if (e == SINK_MSGSIZE)
		more = "; start tcpcopy with a smaller -M";
	else if (e == SINK_UNREACH)
		more = "";
	check_text(r, CHECK_BROKEN, "the kernel refused %llu of %llu packets to the target: %s%s",
		   (unsigned long long)refused, (unsigned long long)offered, sink_error_text(e), more);
	if (e == SINK_PERM && refused == offered)
		firewall_let_out(r, to);
	else if (e == SINK_PERM)
		firewall_untrack(r, to);
	else if (e == SINK_UNREACH)
		check_cure(r, "this host", "ip route get %s", addr_format(target, sizeof(target), &to->addr));
}

/* The target of *rule has reset @reset of @sessions that it had accepted: who else hears its responses? */
static void diagnose_resets(struct check_result *r, const struct config *c, const struct rule *rule,
			    uint64_t reset, uint64_t sessions)
{
	char target[ADDR_TEXT_LEN];
	bool there = false;

	for (unsigned i = 0; i < c->n_assistants; i++)
		there |= addr_eq(&c->assistants[i].at.addr, &rule->target.addr);
	addr_format(target, sizeof(target), &rule->target.addr);
	check_text(
		r, CHECK_BROKEN,
		"the target reset %llu of %llu connections: its responses probably also reach the clients, who "
		"reset what they do not know: %s%s",
		(unsigned long long)reset, (unsigned long long)sessions,
		there ? "intercept on the target does not hold them back; give the target a second address, and "
			"name it in -x instead of "
		      : "the assistant forwards them, or they leave the target by another way as well; --check "
			"tells more",
		there ? target : "");
	if (there)
		check_cure(r, "the target", "intercept --on-target SECOND-ADDRESS -d");
	else
		check_cure(r, "the assistant",
			   "sysctl -w net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0");
}

/*
 * Nothing of what was captured is acknowledged. What the counters say without a probe: the kernel refuses to
 * send, the target refuses, or somebody else hears the responses. False: they do not say it.
 */
static bool say_unacked(struct diagnosis *d, const struct state *s)
{
	const struct state *b = &d->before;
	const struct rule *rule = &d->k.config->rules[s->last.target];
	const uint64_t refused_sends = (s->offered - b->offered) - (s->sent - b->sent);
	const uint64_t sessions = s->sessions - b->sessions, refused = s->refused - b->refused,
		       reset = s->reset - b->reset;
	char at[ENDPOINT_TEXT_LEN], target[ADDR_TEXT_LEN];

	endpoint_format(at, sizeof(at), &rule->target);
	addr_format(target, sizeof(target), &rule->target.addr);
	if (2 * refused_sends > s->offered - b->offered) {
		struct check_result r = { 0 };
		char line[sizeof(r)];

		diagnose_sending(&r, &rule->target, refused_sends, s->offered - b->offered,
				 most_errors(b, s));
		log_err("nothing is acknowledged: %s", check_format(line, sizeof(line), &r));
		return true;
	}
	if (refused && sessions && 2 * refused >= sessions) {
		log_err("nothing is acknowledged: the target refused %llu of %llu connections: nothing listens on %s "
			"(a service bound to 127.0.0.1 cannot be reached; it has to listen on %s or on all "
			"addresses): on the target type: ss -ltnp sport = :%u",
			(unsigned long long)refused, (unsigned long long)sessions, at, target,
			rule->target.port);
		return true;
	}
	if (d->k.config->way_back == RETURN_OWN) /* the responses are this host's, whoever the client is */
		return false;
	if (reset && sessions && 2 * reset >= sessions) {
		struct check_result r = { 0 };
		char line[sizeof(r)];

		diagnose_resets(&r, d->k.config, rule, reset, sessions);
		log_err("nothing is acknowledged: %s", check_format(line, sizeof(line), &r));
		return true;
	}
	return false;
}

/* Once for each time that nothing is acknowledged for PATIENCE although something was captured to be. */
static void watch_unacked(struct diagnosis *d, const struct state *s, uint64_t now)
{
	const bool wanted = s->sessions > d->before.sessions || s->data > d->before.data;

	if (s->acked > d->before.acked || !s->connected) {
		d->said_unacked = false;
		d->unacked = 0;
	}
	if (!d->unacked || !wanted) {
		d->before = *s;
		d->unacked = now;
		return;
	}
	if (!d->said_unacked && now - d->unacked >= PATIENCE)
		d->said_unacked = say_unacked(d, s);
}

/* Nothing at all is captured: once for each rule, if that is no wonder. */
static void watch_unheard(struct diagnosis *d, const struct state *s, uint64_t now)
{
	const struct config *c = d->k.config;
	struct check_result r;
	char line[sizeof(r)];

	if (!s->connected || s->captured)
		d->connected = 0;
	else if (!d->connected)
		d->connected = now;
	if (!d->connected || now - d->connected < PATIENCE)
		return;
	d->connected = now; /* it is looked again: clients may come later */
	for (unsigned i = 0; i < c->n_rules; i++) {
		if (d->said_unheard[i] ||
		    !unheard_diagnose(&r, c, &c->rules[i], d->published[i], false, NULL))
			continue;
		d->said_unheard[i] = true;
		log_err("nothing is captured: %s", check_format(line, sizeof(line), &r));
	}
}

static void look_at_sessions(void *pipeline, void *arg)
{
	const struct pipeline *p = pipeline;
	struct sums *sum = arg;

	for (unsigned i = 0; i < p->config->n_rules; i++) {
		protocol_tally_add(&sum[i].spoken, engine_spoken(p->engine, i));
		exchange_tally_add(&sum[i].exchanges, engine_exchanges(p->engine, i));
	}
}

static void say_what_sessions_tell(struct diagnosis *d)
{
	memset(d->sums, 0, sizeof(d->sums));
	workers_collect(d->workers, look_at_sessions, d->sums);
	for (unsigned i = 0; i < d->k.config->n_rules; i++) {
		const struct sums *s = &d->sums[i];

		spoken_say(&d->said, d->k.config, i, &s->spoken);
		if (!spoken_explains_most(&s->spoken, protocol_sessions(&s->spoken)))
			exchanges_say(&d->said_exchanges, d->k.config, i, &s->exchanges,
				      protocol_sessions(&s->spoken));
	}
}

static void look_at_paths(void *pipeline, void *arg)
{
	const struct pipeline *p = pipeline;
	struct path *sum = arg;

	for (unsigned i = 0; i < p->config->n_rules; i++)
		account_path(&sum[i], engine_path(p->engine, i));
}

/* Once for each rule and size: the way takes less than its route says; and when it takes that again. */
static void say_paths(struct diagnosis *d, uint64_t now)
{
	const struct config *c = d->k.config;
	struct path path[CONFIG_MAX_RULES] = { 0 };
	char text[PATHS_TEXT];

	workers_collect(d->workers, look_at_paths, path);
	for (unsigned i = 0; i < c->n_rules; i++) {
		const uint32_t size = paths_settled(&path[i], now);

		if (size && size != d->said_path[i]) {
			d->said_path[i] = size;
			log_warn("%s", paths_text(text, sizeof(text), &c->rules[i], &path[i]));
		} else if (d->said_path[i] && !path[i].narrow) {
			d->said_path[i] = 0;
			log_info("-x %s: packets of %u bytes arrive at the target again", c->rules[i].text,
				 path[i].limit);
		}
	}
}

/* What is open is closed at the next look, because one of them may be calling us now. */
static void end(struct diagnosis *d)
{
	d->over = true;
	d->probing = false;
}

static void on_probed(struct checking *k)
{
	struct diagnosis *d = CONTAINER_OF(k, struct diagnosis, k);
	struct check_result r;
	char line[sizeof(r)];

	probe_diagnose(&r, probe_result(k->probe), k->config);
	check_format(line, sizeof(line), &r);
	if (r.state == CHECK_OK)
		log_warn("no session has received a response, but a probe has: %s; --check tells more", line);
	else
		log_err("no session has received a response: %s", line);
	end(d);
}

static void on_connected(struct checking *k)
{
	struct diagnosis *d = CONTAINER_OF(k, struct diagnosis, k);

	if (check_live_any_up(k) && check_live_probe(k, d->rule, on_probed))
		return;
	end(d);
}

static void say_own(const struct diagnosis *d, const struct flow_key *last)
{
	const struct rule *r = &d->k.config->rules[last->target];
	char target[ENDPOINT_TEXT_LEN];

	log_err("no session has received a response: nothing comes back from %s to this host; --check tells more",
		endpoint_format(target, sizeof(target), &r->target));
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct diagnosis *d = arg;
	struct state s = { .connected = true };
	uint64_t now = clock_now();

	(void)fd;
	(void)what;
	say_what_sessions_tell(d);
	say_paths(d, now);
	workers_collect(d->workers, look, &s);
	watch_unheard(d, &s, now);
	watch_unacked(d, &s, now);
	if (d->over) {
		check_live_close(&d->k);
		return;
	}
	if (d->probing)
		return;
	if (s.responses || d->said_unacked) {
		end(d);
		return;
	}
	if (!s.sessions || !s.connected)
		d->since = 0;
	else if (!d->since)
		d->since = now;
	if (d->since && now - d->since >= PATIENCE && d->k.config->way_back == RETURN_OWN) {
		say_own(d, &s.last);
		end(d);
		return;
	}
	/* The responses to a client on this very host take another way. */
	if (!d->since || now - d->since < PATIENCE || !s.has_client ||
	    (!d->k.config->n_pool && route_is_local(&s.last.client.addr)))
		return;
	d->probing = true;
	d->k.has_client = true;
	d->k.client = s.last.client;
	d->rule = s.last.target;
	check_live_connect(&d->k, on_connected);
}

struct diagnosis *diagnosis_open(const struct config *c, struct workers *w, struct event_base *base)
{
	static const struct timeval each = { LOOK_S, 0 };
	struct diagnosis *d = calloc(1, sizeof(*d));
	char err[512];

	if (!d)
		return NULL;
	d->k.config = c;
	d->k.base = base;
	d->workers = w;
	for (unsigned i = 0; i < c->n_rules; i++)
		d->published[i] = published_port(c->rules[i].online_port);
	d->timer = event_new(base, -1, EV_PERSIST, on_timer, d);
	d->over = c->way_back != RETURN_OWN && check_live_open(&d->k, err, sizeof(err));
	if (!d->timer || event_add(d->timer, &each)) {
		diagnosis_close(d);
		return NULL;
	}
	return d;
}

void diagnosis_close(struct diagnosis *d)
{
	if (!d)
		return;
	check_live_close(&d->k);
	if (d->timer)
		event_free(d->timer);
	free(d);
}
