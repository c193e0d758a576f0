/*
 * Reports - theory of operation
 *
 * Reads the counters of all stages and says them in words. Every row comes from the table that also makes the counter (X-macros), so that no counter is without a
 * text. The account is printed at the end and on SIGUSR1; its sums add up: captured bytes = each way they went.
 */
#include "tcpcopy/report.h"

#include "base/log.h"

static uint64_t sum_of_kernel_drops(struct pipeline *p)
{
	uint64_t drops = 0;

	for (unsigned i = 0; i < p->n_sources; i++) {
		struct source_counters c;

		source_counters(p->source[i], &c);
		drops += c.kernel_drops;
	}
	return drops;
}

static uint64_t sum_of_send_errors(const struct pipeline *p)
{
	uint64_t sum = 0;

	for (int i = 0; i < SINK_ERROR_COUNT; i++)
		sum += p->sink->counters.errors[i];
	return sum;
}

void report_status(struct pipeline *p)
{
	static struct engine_counters last;
	static uint64_t last_time;
	const struct engine_counters *n = engine_counters(p->engine);
	uint64_t now = pipeline_clock();
	double s = last_time ? (double)(now - last_time) / 1e9 : 0;

	if (s > 0)
		log_info("%u sessions, %.0f opened/s, captured %.0f segments/s %.2f MB/s, sent %.0f/s, answers %.0f/s, "
			 "resent %llu, waiting %llu bytes, lost %llu bytes, kernel drops %llu, send errors %llu%s",
			 engine_sessions(p->engine),
			 (double)(n->sessions_opened + n->sessions_joined - last.sessions_opened - last.sessions_joined) / s,
			 (double)(n->captured_segments - last.captured_segments) / s,
			 (double)(n->captured_bytes - last.captured_bytes) / s / 1e6,
			 (double)(n->emitted_segments - last.emitted_segments) / s,
			 (double)(n->responses - last.responses) / s,
			 (unsigned long long)n->retransmitted_segments, (unsigned long long)engine_live_bytes(p->engine),
			 (unsigned long long)n->lost_bytes, (unsigned long long)sum_of_kernel_drops(p),
			 (unsigned long long)sum_of_send_errors(p), peers_up(p->peers) ? "" : ", NO ASSISTANT CONNECTED");
	last = *n;
	last_time = now;
}

static void row(uint64_t value, const char *text)
{
	if (value)
		log_info("  %14llu  %s", (unsigned long long)value, text);
}

static void account_capture(struct pipeline *p)
{
	for (unsigned i = 0; i < p->n_sources; i++) {
		struct source_counters c;

		source_counters(p->source[i], &c);
		log_info("captured on %s: %llu packets, %llu dropped by the kernel, %llu truncated, %llu errors",
			 p->source[i]->name, (unsigned long long)c.packets, (unsigned long long)c.kernel_drops,
			 (unsigned long long)c.truncated, (unsigned long long)c.errors);
		if (c.ring_most)
			log_info("  ring of %llu KiB: %llu %% in use, at most %llu %%, found full %llu times; changed to or from it "
				 "%llu times",
				 (unsigned long long)c.ring_bytes >> 10,
				 (unsigned long long)(c.ring_used * 100 / c.ring_bytes),
				 (unsigned long long)(c.ring_most * 100 / c.ring_bytes),
				 (unsigned long long)c.ring_freezes, (unsigned long long)c.turns);
	}
	for (int i = 0; i < PARSE_REASON_COUNT; i++)
		row(p->classified.parse[i], parse_reason_text((enum parse_reason)i));
#define X(field, text) row(p->classified.field, text);
	CLASSIFY_COUNTERS(X)
#undef X
}

static void account_sessions(struct pipeline *p)
{
	const struct engine_counters *n = engine_counters(p->engine);

	log_info("sessions: %u live", engine_sessions(p->engine));
	for (int i = 0; i < OUTCOME_COUNT; i++) {
		if (!n->ended[i])
			continue;
		log_info("  %14llu  %s: %s%s", (unsigned long long)n->ended[i], session_outcome_name((enum session_outcome)i),
			 session_outcome_text((enum session_outcome)i), n->lost_by_outcome[i] ? "," : "");
		if (n->lost_by_outcome[i])
			log_info("  %14llu  bytes lost with them", (unsigned long long)n->lost_by_outcome[i]);
	}
	log_info("session engine:");
#define X(field, text) row(n->field, text);
	ENGINE_COUNTERS(X)
#undef X
	row(engine_live_bytes(p->engine), "payload bytes still waiting for the target");
	if (n->capture_to_emit.count)
		log_info("capture to first sending: p50 %llu us, p99 %llu us, most %llu us",
			 (unsigned long long)hist_quantile(&n->capture_to_emit, 0.5) / 1000,
			 (unsigned long long)hist_quantile(&n->capture_to_emit, 0.99) / 1000,
			 (unsigned long long)n->capture_to_emit.max / 1000);
}

static void account_way_out(struct pipeline *p)
{
	const struct sink_counters *s = &p->sink->counters;
	const struct peers_counters *c = peers_counters(p->peers);

	log_info("sent: %llu segments as %llu packets, %llu bytes", (unsigned long long)s->segments,
		 (unsigned long long)s->packets, (unsigned long long)s->bytes);
	row(s->fallback, "of these packets by raw sockets: the neighbour was not known, is to be asked again, or is "
			 "not reached over Ethernet");
	for (int i = 0; i < SINK_ERROR_COUNT; i++)
		if (s->errors[i])
			log_info("  %14llu  packets not taken by the kernel: %s", (unsigned long long)s->errors[i],
				 sink_error_text((enum sink_error)i));
	log_info("assistants: %u connected, %llu connections lost, %llu attempts failed", peers_up(p->peers),
		 (unsigned long long)c->losses_of_connection, (unsigned long long)c->attempts_failed);
	row(p->strays.reset, "connections left by an earlier tcpcopy and reset");
	row(p->strays.refused, "stray responses that were not answered: no target of ours, or too many");
	row(c->messages_dropped, "connections given up because the assistant was too slow");
	row(c->remote.records_merged, "response records that assistants merged");
	row(c->remote.records_dropped, "response records that assistants dropped");
	row(c->remote.kernel_drops, "responses that the assistants' kernels dropped");
	row(c->remote.unowned, "responses at the assistants without an owner");
}

void report_account(struct pipeline *p)
{
	log_info("--- account ---");
	account_capture(p);
	account_sessions(p);
	account_way_out(p);
}
