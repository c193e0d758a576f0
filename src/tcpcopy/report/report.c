/*
 * Reports of tcpcopy - theory of operation
 *
 * In: the accounts of the workers, collected whenever a report is due. Out: log lines, the screen of
 * --status and the file of --report. Two accounts are kept, the newest and an older one, and rates are the
 * difference between them. Nothing here runs on the packet path; a report costs each worker one pass over
 * its counters.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "program/log.h"
#include "tcpcopy/exchanges.h"
#include "tcpcopy/report/impl.h"
#include "tcpcopy/paths.h"
#include "tcpcopy/spoken.h"

typedef unsigned long long ull;

/*
 * What the kernel has dropped for us against what was captured of it. Each answer is first captured and then
 * dropped, so what is dropped after the workers were asked is at most what they have, or have lost, when they
 * are asked again. It has let pass what was for a socket of this host, which is what no session has, or what
 * was reset, and what listening sockets hear.
 */
static void count_swallowed(struct report *r)
{
	uint64_t *row = r->now.row, dropped, passed, most = 0;

	if (!r->swallow || swallow_count(r->swallow, &dropped))
		return;
	row[ROW_OWN_swallowed] = dropped;
	passed = row[ROW_OWN_host] + row[ROW_OWN_unknown] + row[ROW_OWN_heard] + row[ROW_OWN_withdrawn];
	workers_collect(r->workers, account_answers, &most);
	if (dropped >= row[ROW_OWN_answers] && dropped <= most)
		row[ROW_OWN_uncaptured] = dropped - row[ROW_OWN_answers];
	else if (dropped + passed >= row[ROW_OWN_answers])
		row[ROW_OWN_accepted] = row[ROW_OWN_answers] - dropped;
}

/* What was put is counted after what became of it, so it is never less. */
static void count_written(struct report *r, const struct record_counters *n)
{
	uint64_t *row = r->now.row;

	row[ROW_WRITE_answers] = n->answers;
	row[ROW_WRITE_answers_dropped] = n->answers_dropped;
#define X(key, text) row[ROW_WRITE_##key] = n->files.key;
	OUTPUT_COUNTERS(X)
#undef X
	row[ROW_WRITE_waiting] = row[ROW_WRITE_requests] + row[ROW_WRITE_copies] + n->answers -
				 row[ROW_WRITE_shed] - n->files.written - n->files.failed;
}

static void count_govern(struct report *r)
{
	const struct govern_state *g = govern_state(r->govern);
	uint64_t *row = r->now.row;

	for (unsigned i = 0; i < r->config->n_rules; i++) {
		row[ROW_GOVERN_breaker_trips] += g->breaker[i].state.trips;
		row[ROW_GOVERN_breakers_open] += g->breaker[i].state.tripped;
	}
	row[ROW_GOVERN_yields] = g->yield.state.trips;
	row[ROW_GOVERN_yielding] = g->yield.state.tripped;
}

static void collect(struct reporter *reporter, bool keep)
{
	struct report *r = report_of(reporter);
	struct record_counters written = { .answers = 0 };

	if (keep)
		r->since = r->now;
	account_init(&r->now);
	if (r->record)
		record_counters(r->record, &written);
	workers_collect(r->workers, account_collect, &r->now);
	if (r->record)
		count_written(r, &written);
	count_swallowed(r);
	count_govern(r);
	r->now.row[ROW_LOG_suppressed] = log_lines_suppressed();
	r->now.row[ROW_LOG_dropped] = log_lines_dropped();
}

void report_rates(const struct report *r, struct report_rates *out)
{
	const uint64_t *now = r->now.row, *then = r->since.row;
	const uint64_t passed = r->reporter.at - r->reporter.since;
	double s = (double)passed / 1e9;

	memset(out, 0, sizeof(*out));
	out->lag = r->now.lag;
	hist_subtract(&out->lag, &r->since.lag);
	if (passed < REPORTER_LEAST)
		return;
	out->seconds = s;
#define RATE(row) ((double)(now[row] - then[row]) / s)
	out->sessions = RATE(ROW_ENGINE_sessions_opened) + RATE(ROW_ENGINE_sessions_joined);
	out->segments = RATE(ROW_ENGINE_captured_segments);
	out->bytes = RATE(ROW_ENGINE_captured_bytes);
	out->sent = RATE(ROW_ENGINE_emitted_segments);
	out->responses = RATE(ROW_ENGINE_responses);
#undef RATE
}

static int by_count(const void *a, const void *b)
{
	const struct report_reason *x = a, *y = b;

	return (x->count < y->count) - (x->count > y->count);
}

unsigned report_reasons(const struct report *r, struct report_reason out[REPORT_MAX_REASONS])
{
	const struct engine_examples *ex = &r->now.examples;
	const uint64_t *row = r->now.row;
	unsigned n = 0;

	for (unsigned i = 0; i < OUTCOME_COUNT; i++)
		if (i != OUTCOME_COMPLETE && row[ROW_ENDED_COMPLETE + i])
			out[n++] = (struct report_reason){
				.name = session_outcome_name((enum session_outcome)i),
				.text = session_outcome_text((enum session_outcome)i),
				.count = row[ROW_ENDED_COMPLETE + i],
				.lost = row[ROW_LOST_COMPLETE + i],
				.example = ex->ended[i].time ? &ex->ended[i] : NULL,
			};
	for (unsigned i = 0; i < DECLINE_COUNT; i++)
		if (row[ROW_DECLINED_CHANNEL + i])
			out[n++] = (struct report_reason){
				.name = decline_name((enum decline)i),
				.text = decline_text((enum decline)i),
				.count = row[ROW_DECLINED_CHANNEL + i],
				.lost = row[ROW_UNJOINED_CHANNEL + i],
				.example = ex->declined[i].time ? &ex->declined[i] : NULL,
			};
	qsort(out, n, sizeof(out[0]), by_count);
	return n;
}

static uint64_t send_errors(const struct account *a)
{
	uint64_t sum = 0;

	for (int i = 0; i < SINK_ERROR_COUNT; i++)
		sum += a->row[ROW_SEND_ERROR_NOBUFS + i];
	return sum;
}

static ull us(const struct hist *h, double q)
{
	return (ull)hist_quantile(h, q) / 1000;
}

static void print_line(struct reporter *reporter, FILE *to)
{
	const struct report *r = report_of(reporter);
	const uint64_t *row = r->now.row;
	struct report_rates rates;

	report_rates(r, &rates);
	fprintf(to,
		"%llu sessions, %.0f opened/s, captured %.0f segments/s %.2f MB/s, sent %.0f/s, responses %.0f/s, "
		"lag p50 %llu us p99 %llu us, retransmitted %llu, pending %llu bytes, lost %llu bytes, "
		"kernel drops %llu, send errors %llu%s\n",
		(ull)row[ROW_LIVE_sessions], rates.sessions, rates.segments, rates.bytes / 1e6, rates.sent,
		rates.responses, us(&rates.lag, 0.5), us(&rates.lag, 0.99),
		(ull)row[ROW_ENGINE_retransmitted_segments], (ull)row[ROW_LIVE_bytes],
		(ull)row[ROW_ENGINE_lost_bytes], (ull)row[ROW_CAPTURE_kernel_drops],
		(ull)send_errors(&r->now), r->now.assistants_up ? "" : ", NO ASSISTANT CONNECTED");
}

static void print_sources(const struct account *a, FILE *to)
{
	for (unsigned i = 0; i < a->n_sources; i++) {
		const struct source_counters *c = &a->source[i].n;

		fprintf(to,
			"captured on %s: %llu packets, %llu dropped by the kernel, %llu truncated, %llu errors\n",
			a->source[i].name, (ull)c->packets, (ull)c->kernel_drops, (ull)c->truncated,
			(ull)c->errors);
		if (c->ring_most)
			fprintf(to,
				"  ring of %llu KiB: %llu %% in use, at most %llu %%, found full %llu times; "
				"changed to or from it %llu times\n",
				(ull)c->ring_bytes >> 10, (ull)(c->ring_used * 100 / c->ring_bytes),
				(ull)(c->ring_most * 100 / c->ring_bytes), (ull)c->ring_freezes,
				(ull)c->turns);
	}
}

static void print_loss(const struct account *a, FILE *to)
{
	struct account_loss l = account_loss(a);

	if (!l.bytes)
		return;
	fprintf(to,
		"never captured: %llu bytes, about %llu packets (%llu per million); dropped by the kernel: "
		"%llu packets; lost before this host's capture: about %llu packets\n",
		(ull)l.bytes, (ull)l.packets, (ull)l.per_million, (ull)a->row[ROW_CAPTURE_kernel_drops],
		(ull)l.upstream);
}

static void print_lag(const struct hist *h, FILE *to)
{
	if (h->count)
		fprintf(to, "capture to first send: p50 %llu us, p99 %llu us, max %llu us\n", us(h, 0.5),
			us(h, 0.99), (ull)h->max / 1000);
}

static void print_reasons(const struct report *r, unsigned most, FILE *to)
{
	struct report_reason reason[REPORT_MAX_REASONS];
	unsigned n = report_reasons(r, reason);

	fprintf(to, "ended early or not replicated:%s\n", n ? "" : " nothing");

	for (unsigned i = 0; i < n && i < most; i++) {
		char client[ENDPOINT_TEXT_LEN], online[ENDPOINT_TEXT_LEN], when[ACCOUNT_TIME_LEN];
		const struct engine_example *e = reason[i].example;

		fprintf(to, "  %s %llu, %llu bytes: %s\n", reason[i].name, (ull)reason[i].count,
			(ull)reason[i].lost, reason[i].text);
		if (e)
			fprintf(to, "    latest: %s -> %s at %s\n",
				endpoint_format(client, sizeof(client), &e->key.client),
				endpoint_format(online, sizeof(online), &e->key.online),
				reporter_time(&r->reporter, e->time, when));
	}
}

static void print_counts(FILE *to, const char *what, const uint64_t *n, unsigned count,
			 const char *(*name)(unsigned))
{
	const char *before = what;

	for (unsigned i = 0; i < count; i++) {
		if (!n[i])
			continue;
		fprintf(to, "%s%s %llu", before, name(i), (ull)n[i]);
		before = ", ";
	}
}

/* What the clients of each rule speak, and what follows from it. */
static void print_spoken(const struct report *r, FILE *to)
{
	for (unsigned i = 0; i < r->config->n_rules; i++) {
		const struct protocol_tally *t = &r->now.spoken[i];

		fprintf(to, "spoken         %s:", r->config->rules[i].text);
		print_counts(to, " ", t->sessions, PROTOCOL_COUNT, protocol_called);
		print_counts(to, "; of these ", t->details, DETAIL_COUNT, detail_called);
		print_counts(to, "; joined ", t->joined, PROTOCOL_COUNT, protocol_called);
		print_counts(to, "; not joined ", t->not_joined, PROTOCOL_COUNT, protocol_called);
		print_counts(to, "; answered by the target: ", t->answers, ANSWER_COUNT, answer_called);
		print_counts(to, "; by the online server, in a sample: ", t->online_answers, ANSWER_COUNT,
			     answer_called);
		if (t->sni[0] || t->alpn[0])
			fprintf(to, "; server name \"%s\", ALPN \"%s\"", t->sni, t->alpn);
		fputc('\n', to);
		for (unsigned d = 0; d < DETAIL_COUNT; d++)
			if (spoken_matters(t, (enum protocol_detail)d)) {
				char text[SPOKEN_TEXT];

				fprintf(to, "  %s\n",
					spoken_text(text, sizeof(text), &r->config->rules[i],
						    (enum protocol_detail)d, t, true));
			}
	}
}

/* How the target has answered the requests of each rule, beside the online server. */
static void print_exchanges(const struct report *r, FILE *to)
{
	const struct engine_examples *ex = &r->now.examples;
	char text[EXCHANGES_TEXT];

	for (unsigned i = 0; i < r->config->n_rules && !r->config->dry_run; i++) {
		const struct exchange_tally *t = &r->now.exchanges[i];
		const uint64_t sessions = protocol_sessions(&r->now.spoken[i]);

		fprintf(to, "answers        %s: ", r->config->rules[i].text);
		exchanges_print(to, t);
		fputc('\n', to);
		for (unsigned w = 0; w < EXCHANGES_WARNINGS; w++)
			if (exchanges_matter(t, sessions, (enum exchanges_warning)w) &&
			    !spoken_explains_most(&r->now.spoken[i], sessions))
				fprintf(to, "  %s\n",
					exchanges_text(text, sizeof(text), &r->config->rules[i], t, sessions,
						       (enum exchanges_warning)w));
	}
	for (unsigned d = 0; d < EXCHANGE_DIFFERENCE_COUNT; d++) {
		char client[ENDPOINT_TEXT_LEN], online[ENDPOINT_TEXT_LEN], when[ACCOUNT_TIME_LEN];

		if (!ex->differs[d].time)
			continue;
		fprintf(to,
			"  latest %s: %s -> %s at %s, exchange %u: %llu bytes online, %llu bytes of the target\n",
			exchange_difference_name((enum exchange_difference)d),
			endpoint_format(client, sizeof(client), &ex->differs[d].key.client),
			endpoint_format(online, sizeof(online), &ex->differs[d].key.online),
			reporter_time(&r->reporter, ex->differs[d].time, when), ex->answer[d].number,
			(ull)ex->answer[d].online, (ull)ex->answer[d].target);
	}
}

/* The ways that take less than their routes say. */
static void print_paths(const struct report *r, FILE *to)
{
	char text[PATHS_TEXT];

	for (unsigned i = 0; i < r->config->n_rules; i++)
		if (r->now.path[i].narrow)
			fprintf(to, "path MTU       %s\n",
				paths_text(text, sizeof(text), &r->config->rules[i], &r->now.path[i]));
}

static void print_breaker(const struct report *r, const char *what, const char *of,
			  const struct govern_breaker *b, FILE *to)
{
	char when[ACCOUNT_TIME_LEN];

	if (b->state.trips)
		fprintf(to, "%-15s%s%s, %llu time%s, last at %s by %s\n", what, of,
			b->state.tripped ? "no session begins" : "closed again", (ull)b->state.trips,
			b->state.trips > 1 ? "s" : "", reporter_time(&r->reporter, b->state.since, when),
			b->strain);
}

/* What has let the copies rest. */
static void print_govern(const struct report *r, FILE *to)
{
	const struct govern_state *g = govern_state(r->govern);
	char of[sizeof(r->config->rules[0].text) + 8];

	for (unsigned i = 0; i < r->config->n_rules; i++) {
		snprintf(of, sizeof(of), "-x %s: ", r->config->rules[i].text);
		print_breaker(r, "breaker", of, &g->breaker[i], to);
	}
	print_breaker(r, "yield", "", &g->yield, to);
}

/* Which sessions are replicated, if not all. */
static void print_choice(const struct report *r, FILE *to)
{
	char text[CONFIG_CHOICE_TEXT];

	if (*config_choice_format(text, &r->now.choice, r->reporter.at))
		fprintf(to, "replicated     %s\n", text);
}

static void print_workers(const struct account *a, FILE *to)
{
	for (unsigned i = 0; i < a->workers && a->workers > 1; i++)
		fprintf(to, "worker %u took %llu sessions\n", i, (ull)a->taken[i]);
}

static void print_account(struct reporter *reporter, FILE *to)
{
	const struct report *r = report_of(reporter);

	fprintf(to, "--- account ---\n");
	print_sources(&r->now, to);
	print_choice(r, to);
	print_govern(r, to);
	print_workers(&r->now, to);
	account_print(&account_table, r->now.row, to);
	print_loss(&r->now, to);
	if (r->now.figures.any)
		figures_print(&r->now.figures, to);
	else
		print_lag(&r->now.lag, to);
	if (r->config->dry_run)
		fprintf(to,
			"dry run: nothing was sent; of a target it was assumed that it takes everything and answers "
			"nothing, so sessions end as unanswered\n");
	else if (r->swallow)
		fprintf(to, "answers: %llu captured here; %llu of %llu ports in use\n",
			(ull)r->now.row[ROW_OWN_answers], (ull)r->now.row[ROW_OWN_ports_used],
			(ull)r->now.row[ROW_OWN_ports]);
	else
		fprintf(to, "assistants: %u connected, %llu connections lost, %llu attempts failed\n",
			r->now.assistants_up, (ull)r->now.row[ROW_CHANNEL_losses_of_connection],
			(ull)r->now.row[ROW_CHANNEL_attempts_failed]);
	print_exchanges(r, to);
	print_spoken(r, to);
	print_paths(r, to);
	print_reasons(r, UINT32_MAX, to);
}

static void print_states(const struct account *a, FILE *to)
{
	fprintf(to, "sessions       %llu live", (ull)a->row[ROW_LIVE_sessions]);
	for (unsigned i = 0; i < STATE_COUNT; i++)
		if (a->row[ROW_STATE_WAITING + i])
			fprintf(to, ", %llu %s", (ull)a->row[ROW_STATE_WAITING + i],
				account_table.rows[ROW_STATE_WAITING + i].key);
	fprintf(to, "; %llu opened, %llu joined, %llu complete\n", (ull)a->row[ROW_ENGINE_sessions_opened],
		(ull)a->row[ROW_ENGINE_sessions_joined], (ull)a->row[ROW_ENDED_COMPLETE]);
}

static void print_screen(struct reporter *reporter, FILE *to)
{
	const struct report *r = report_of(reporter);
	const struct account *a = &r->now;
	const uint64_t *row = a->row;
	struct report_rates rates;
	unsigned wrong = 0;

	report_rates(r, &rates);
	fprintf(to, "tcpcopy        pid %d, up %llu s, ", (int)getpid(),
		(ull)((reporter->at - reporter->started) / NS_PER_SEC));
	if (r->config->dry_run)
		fprintf(to, "dry run: nothing is sent\n");
	else if (r->swallow)
		fprintf(to, "answers come to this host, %llu of %llu ports in use\n",
			(ull)row[ROW_OWN_ports_used], (ull)row[ROW_OWN_ports]);
	else
		fprintf(to, "%u of %u assistants connected\n", a->assistants_up, r->config->n_assistants);
	if (rates.seconds > 0)
		fprintf(to,
			"rates          over %.1f s: %.0f sessions/s, captured %.0f segments/s %.2f MB/s, "
			"sent %.0f/s, responses %.0f/s\n",
			rates.seconds, rates.sessions, rates.segments, rates.bytes / 1e6, rates.sent,
			rates.responses);
	fprintf(to,
		"lag            behind the originals: p50 %llu us, p99 %llu us, max %llu us; "
		"since the last report: p50 %llu us, p99 %llu us\n",
		us(&a->lag, 0.5), us(&a->lag, 0.99), (ull)a->lag.max / 1000, us(&rates.lag, 0.5),
		us(&rates.lag, 0.99));
	if (a->figures.any) {
		char text[FIGURES_TEXT];

		fprintf(to, "replay         %s\n",
			figures_format(text, &a->figures,
				       a->figures.seconds > 0
					       ? (double)a->figures.requests / a->figures.seconds
					       : 0));
	}
	print_choice(r, to);
	print_govern(r, to);
	print_states(a, to);
	fprintf(to,
		"payload        %llu bytes captured, %llu acknowledged, %llu pending, %llu lost, %llu not replicated\n",
		(ull)row[ROW_ENGINE_captured_bytes], (ull)row[ROW_ENGINE_acked_bytes],
		(ull)row[ROW_LIVE_bytes], (ull)row[ROW_ENGINE_lost_bytes],
		(ull)row[ROW_ENGINE_unjoined_bytes]);
	fprintf(to, "capture        %llu packets, %llu dropped by the kernel\n",
		(ull)row[ROW_CAPTURE_packets], (ull)row[ROW_CAPTURE_kernel_drops]);
	fprintf(to, "sent           %llu packets, %llu refused by the kernel, %llu segments retransmitted\n",
		(ull)row[ROW_SENT_packets], (ull)send_errors(a), (ull)row[ROW_ENGINE_retransmitted_segments]);
	print_loss(a, to);
	if (r->record)
		fprintf(to,
			"written        %llu packets, %llu bytes in %llu files; %llu shed, %llu not written\n",
			(ull)row[ROW_WRITE_written], (ull)row[ROW_WRITE_bytes], (ull)row[ROW_WRITE_files],
			(ull)row[ROW_WRITE_shed], (ull)row[ROW_WRITE_failed]);
	fprintf(to, "memory         %llu of %llu KiB used by sessions\n", (ull)row[ROW_LIVE_memory] >> 10,
		(ull)r->config->memory >> 10);
	for (size_t i = 0; i < account_table.n_equations; i++) {
		uint64_t left, right;

		if (account_balanced(&account_table, row, &account_table.equations[i], &left, &right))
			continue;
		wrong++;
		fprintf(to, "account        %s: %llu = %llu, DIFFERENCE\n", account_table.equations[i].what,
			(ull)left, (ull)right);
	}
	if (!wrong)
		fprintf(to, "account        balanced\n");
	print_exchanges(r, to);
	print_spoken(r, to);
	print_paths(r, to);
	print_reasons(r, 8, to);
}

static const struct reporter_ops ops = {
	.program = "tcpcopy",
	.collect = collect,
	.line = print_line,
	.account = print_account,
	.screen = print_screen,
	.json = report_json,
};

struct reporter *report_new(const struct config *c, struct workers *w, struct swallow *s,
			    const struct record *record, const struct govern *g)
{
	struct report *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->reporter.ops = &ops;
	r->config = c;
	r->workers = w;
	r->swallow = s;
	r->record = record;
	r->govern = g;
	account_init(&r->now);
	account_init(&r->since);
	return &r->reporter;
}
