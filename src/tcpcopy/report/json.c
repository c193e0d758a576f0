/*
 * The report of tcpcopy as JSON - theory of operation
 *
 * In: the newest account. Out: one object, described in doc/ACCOUNT.md. Its "account" and "equations" come
 * from the account's table; the rest is what a table of counters cannot say: rates, the lag, examples.
 * jansson passes a failed allocation on as NULL, so the end is the one place to look.
 */
#include <jansson.h>

#include "tcpcopy/report/impl.h"

static json_t *lag(const struct hist *h)
{
	return json_pack("{s:I, s:I, s:I, s:I}", "samples", (json_int_t)h->count, "p50_us",
			 (json_int_t)(hist_quantile(h, 0.5) / 1000), "p99_us",
			 (json_int_t)(hist_quantile(h, 0.99) / 1000), "max_us",
			 (json_int_t)(h->count ? h->max / 1000 : 0));
}

static json_t *rates(const struct report *r)
{
	struct report_rates now;

	report_rates(r, &now);
	return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:o}", "seconds", now.seconds, "sessions",
			 now.sessions, "captured_segments", now.segments, "captured_bytes", now.bytes,
			 "sent_segments", now.sent, "responses", now.responses, "lag", lag(&now.lag));
}

static json_t *example(const struct report *r, const struct engine_example *e)
{
	char client[ENDPOINT_TEXT_LEN], online[ENDPOINT_TEXT_LEN], when[ACCOUNT_TIME_LEN];

	if (!e)
		return json_null();
	return json_pack("{s:s, s:s, s:s}", "client", endpoint_format(client, sizeof(client), &e->key.client),
			 "online", endpoint_format(online, sizeof(online), &e->key.online), "time",
			 reporter_time(&r->reporter, e->time, when));
}

static json_t *reasons(const struct report *r)
{
	struct report_reason reason[REPORT_MAX_REASONS];
	unsigned n = report_reasons(r, reason);
	json_t *list = json_array();

	for (unsigned i = 0; i < n; i++)
		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:I, s:I, s:o}", "name", reason[i].name, "text",
						reason[i].text, "count", (json_int_t)reason[i].count, "bytes",
						(json_int_t)reason[i].lost, "example",
						example(r, reason[i].example)));
	return list;
}

static void add_counts(json_t *to, const char *key, const uint64_t *n, unsigned count,
		       const char *(*name)(unsigned))
{
	json_t *list = json_object();

	for (unsigned i = 0; i < count; i++)
		if (n[i])
			json_object_set_new(list, name(i), json_integer((json_int_t)n[i]));
	json_object_set_new(to, key, list);
}

static const char *difference_called(unsigned d)
{
	return exchange_difference_name((enum exchange_difference)d);
}

static const char *obstacle_called(unsigned o)
{
	return exchange_obstacle_name((enum exchange_obstacle)o);
}

static const char *turns_called(unsigned n)
{
	return exchange_turns_name((enum exchange_turns)n);
}

static json_t *exchanges(const struct exchange_tally *t)
{
	json_t *all =
		json_pack("{s:I, s:I, s:I, s:I}", "all", (json_int_t)t->all, "same", (json_int_t)t->same,
			  "followers", (json_int_t)t->followers, "open", (json_int_t)t->open);

	add_counts(all, "different", t->different, EXCHANGE_DIFFERENCE_COUNT, difference_called);
	add_counts(all, "not_comparable", t->not_comparable, EXCHANGE_OBSTACLE_COUNT, obstacle_called);
	add_counts(all, "target_first", t->target_first, EXCHANGE_TURNS_COUNT, turns_called);
	return all;
}

/* Of each kind of difference the newest. */
static json_t *differences(const struct report *r)
{
	const struct engine_examples *ex = &r->now.examples;
	json_t *list = json_array();

	for (unsigned d = 0; d < EXCHANGE_DIFFERENCE_COUNT; d++)
		if (ex->differs[d].time)
			json_array_append_new(list,
					      json_pack("{s:s, s:s, s:I, s:I, s:I, s:o}", "name",
							difference_called(d), "text",
							exchange_difference_text((enum exchange_difference)d),
							"exchange", (json_int_t)ex->answer[d].number,
							"online_bytes", (json_int_t)ex->answer[d].online,
							"target_bytes", (json_int_t)ex->answer[d].target,
							"example", example(r, &ex->differs[d])));
	return list;
}

static json_t *breaker(const struct report *r, const struct govern_breaker *b)
{
	char when[ACCOUNT_TIME_LEN] = "";

	if (b->state.trips)
		reporter_time(&r->reporter, b->state.since, when);
	return json_pack("{s:b, s:I, s:s, s:s}", "tripped", (int)b->state.tripped, "trips",
			 (json_int_t)b->state.trips, "last", when, "by", b->strain);
}

static json_t *rules(const struct report *r)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < r->config->n_rules; i++) {
		const struct protocol_tally *t = &r->now.spoken[i];
		const struct path *path = &r->now.path[i];
		json_t *rule = json_pack("{s:s, s:s, s:s, s:i, s:i, s:i}", "rule", r->config->rules[i].text,
					 "server_name", t->sni, "alpn", t->alpn, "route_mtu",
					 (int)path->route, "packet_most", (int)path->limit, "packet_lost",
					 path->narrow ? (int)path->lost : 0);

		add_counts(rule, "spoken", t->sessions, PROTOCOL_COUNT, protocol_called);
		add_counts(rule, "detail", t->details, DETAIL_COUNT, detail_called);
		add_counts(rule, "past_handshake", t->past, DETAIL_COUNT, detail_called);
		add_counts(rule, "joined", t->joined, PROTOCOL_COUNT, protocol_called);
		add_counts(rule, "target_answers", t->answers, ANSWER_COUNT, answer_called);
		add_counts(rule, "online_answers", t->online_answers, ANSWER_COUNT, answer_called);
		add_counts(rule, "not_joined", t->not_joined, PROTOCOL_COUNT, protocol_called);
		json_object_set_new(rule, "breaker", breaker(r, &govern_state(r->govern)->breaker[i]));
		json_object_set_new(rule, "exchanges", exchanges(&r->now.exchanges[i]));
		json_array_append_new(list, rule);
	}
	return list;
}

static json_t *interfaces(const struct account *a)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < a->n_sources; i++) {
		const struct source_counters *c = &a->source[i].n;

		json_array_append_new(
			list,
			json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "name", a->source[i].name,
				  "let_in", (json_int_t)c->let_in, "packets", (json_int_t)c->packets,
				  "kernel_drops", (json_int_t)c->kernel_drops, "truncated",
				  (json_int_t)c->truncated, "errors", (json_int_t)c->errors, "ring_bytes",
				  (json_int_t)c->ring_bytes, "ring_most", (json_int_t)c->ring_most,
				  "ring_freezes", (json_int_t)c->ring_freezes));
	}
	return list;
}

/* Which sessions are replicated. */
static json_t *choice(const struct report *r)
{
	const struct choice *c = &r->now.choice;
	static const char *const names[CHOICE_UNIT_COUNT] = {
#define X(id, name, text) [CHOICE_BY_##id] = name,
		CHOICE_UNITS(X)
#undef X
	};

	return json_pack("{s:f, s:f, s:f, s:s, s:I}", "percent", (double)c->share / 1e6, "percent_now",
			 (double)choice_share(c, r->reporter.at) / 1e6, "ramp_seconds", (double)c->ramp / 1e9,
			 "by", names[c->by], "seed", (json_int_t)c->seed);
}

static json_t *replay(const struct figures *f)
{
	return json_pack("{s:f, s:I, s:f, s:f, s:f, s:f, s:f, s:o, s:o}", "share", f->share, "requests",
			 (json_int_t)f->requests, "seconds", f->seconds, "recorded_seconds", f->recorded,
			 "cut_seconds", f->cut, "late_here_seconds", f->late_here, "late_target_seconds",
			 f->late_there, "spacing_error", lag(&f->spacing), "handed_over_late",
			 lag(&f->handed));
}

int report_json(struct reporter *reporter, json_t *all)
{
	const struct report *r = report_of(reporter);
	const struct account_loss loss = account_loss(&r->now);
	const bool done =
		!json_object_update_new(all, json_pack("{s:i, s:i, s:i, s:I}", "workers", (int)r->now.workers,
						       "assistants", (int)r->config->n_assistants,
						       "assistants_connected", (int)r->now.assistants_up,
						       "report_write_failures",
						       (json_int_t)reporter->write_failures)) &&
		!json_object_update_new(all, account_json(&account_table, r->now.row)) &&
		!json_object_set_new(all, "rates", rates(r)) &&
		!json_object_set_new(all, "lag", lag(&r->now.lag)) &&
		!json_object_set_new(all, "reasons", reasons(r)) &&
		!json_object_set_new(all, "rules", rules(r)) &&
		!json_object_set_new(all, "differences", differences(r)) &&
		!json_object_set_new(all, "interfaces", interfaces(&r->now)) &&
		!json_object_set_new(all, "choice", choice(r)) &&
		!json_object_set_new(all, "yield", breaker(r, &govern_state(r->govern)->yield)) &&
		(!r->now.figures.any || !json_object_set_new(all, "replay", replay(&r->now.figures))) &&
		!json_object_set_new(all, "never_captured",
				     json_pack("{s:I, s:I, s:I, s:I}", "bytes", (json_int_t)loss.bytes,
					       "packets_estimate", (json_int_t)loss.packets, "per_million",
					       (json_int_t)loss.per_million, "upstream_estimate",
					       (json_int_t)loss.upstream));

	return done ? 0 : -1;
}
