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
 * What the clients speak is looked at once a second for as long as the program runs, since a client that
 * speaks something else may come at any time; each line is logged once.
 */
#include "tcpcopy/check/diagnosis.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "program/clock.h"
#include "program/log.h"
#include "io/inject/route.h"
#include "tcpcopy/check/parts.h"
#include "tcpcopy/check/probe.h"
#include "tcpcopy/pipeline.h"
#include "tcpcopy/spoken.h"

#define LOOK_S 1
#define PATIENCE (5 * NS_PER_SEC) /* with sessions, and without a response */

struct diagnosis {
	struct checking k;
	struct workers *workers;
	struct event *timer;
	uint64_t since; /* ns, when the first session was seen; 0: none yet */
	unsigned rule;
	bool probing, over; /* a probe is made; none is made any more */
	struct spoken_said said;
	struct protocol_tally spoken[CONFIG_MAX_RULES]; /* of each rule, over all workers */
};

/* Sums over the workers. */
struct state {
	uint64_t responses, sessions;
	bool connected; /* every worker with some assistant */
	bool has_client;
	struct flow_key last; /* of what was captured */
};

static void look(void *pipeline, void *arg)
{
	const struct pipeline *p = pipeline;
	struct state *s = arg;
	const struct engine_counters *n = engine_counters(p->engine);

	s->responses += n->responses;
	s->sessions += n->sessions_opened + n->sessions_joined;
	s->connected &= p->returns && returns_parts_up(p->returns);
	if (!p->last.client.port)
		return;
	s->has_client = true;
	s->last = p->last;
}

static void look_at_spoken(void *pipeline, void *arg)
{
	const struct pipeline *p = pipeline;
	struct protocol_tally *sum = arg;

	for (unsigned i = 0; i < p->config->n_rules; i++)
		protocol_tally_add(&sum[i], engine_spoken(p->engine, i));
}

static void say_spoken(struct diagnosis *d)
{
	memset(d->spoken, 0, sizeof(d->spoken));
	workers_collect(d->workers, look_at_spoken, d->spoken);
	for (unsigned i = 0; i < d->k.config->n_rules; i++)
		spoken_say(&d->said, d->k.config, i, &d->spoken[i]);
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
	say_spoken(d);
	if (d->over) {
		check_live_close(&d->k);
		return;
	}
	if (d->probing)
		return;
	workers_collect(d->workers, look, &s);
	if (s.responses) {
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
