/*
 * The account of tcpcopy - theory of operation
 *
 * Every stage counts for itself, in a struct of its own that is filled on the packet path. Here these are
 * gathered into one array of numbers, whose table is put together from the tables of the stages. A worker's
 * account is gathered by the worker's own thread, and the accounts of all workers are added up; sums stay
 * balanced, because every equation holds for each worker alone.
 */
#include "tcpcopy/report/account.h"

#include <string.h>

/* clang-format off */
static const struct account_row rows[ACCOUNT_ROWS] = {
#define X(key, text) [ROW_CAPTURE_##key] = { "capture", #key, text },
	ACCOUNT_CAPTURE(X)
#undef X
#define X(key, text) [ROW_REPLAY_##key] = { "replay", #key, text },
	RECORDING_COUNTERS(X)
	REPLAY_COUNTERS(X)
	ACCOUNT_REPLAY(X)
#undef X
#define X(id, name, text) [ROW_PARSE_##id] = { "parse", name, text },
	PARSE_REASONS(X)
#undef X
#define X(key, text) [ROW_CLASSIFY_##key] = { "classify", #key, text },
	CLASSIFY_COUNTERS(X)
#undef X
#define X(key, text) [ROW_WRITE_##key] = { "write", #key, text },
	ACCOUNT_WRITE(X)
	OUTPUT_COUNTERS(X)
#undef X
#define X(id, name, text) [ROW_ENDED_##id] = { "ended", name, name ": " text },
	SESSION_OUTCOMES(X)
#undef X
#define X(id, name, text) [ROW_LOST_##id] = { "lost", name, "payload bytes lost: " name },
	SESSION_OUTCOMES(X)
#undef X
#define X(id, name, text) [ROW_DECLINED_##id] = { "declined", #name, "connections declined: " text },
	DECLINES(X)
#undef X
#define X(id, name, text) [ROW_UNJOINED_##id] = { "unjoined", #name, "payload bytes not replicated: " text },
	DECLINES(X)
#undef X
#define X(id, name, text) [ROW_REFUSED_##id] = { "refused", #name, "segments refused: " text },
	REFUSALS(X)
#undef X
#define X(id, name, text, join) [ROW_SPOKEN_##id] = { "spoken", #name, "sessions that speak " text },
	PROTOCOLS(X)
#undef X
#define X(id, name, weight, text, remedy) [ROW_DETAIL_##id] = { "detail", #name, "sessions: " text },
	PROTOCOL_DETAILS(X)
#undef X
#define X(id, name, text, join) [ROW_JOINED_##id] = { "joined", #name, "joined sessions that speak " text },
	PROTOCOLS(X)
#undef X
#define X(id, name, text, join)                                                                              \
	[ROW_NOT_JOINED_##id] = { "not_joined", #name, "connections not joined that speak " text },
	PROTOCOLS(X)
#undef X
#define X(id, name, text) [ROW_ANSWERS_##id] = { "answers", #name, "answers of the targets: " text },
	PROTOCOL_ANSWERS(X)
#undef X
#define X(id, name, text)                                                                                    \
	[ROW_ONLINE_ANSWERS_##id] = { "online_answers", #name, "answers of the online server: " text },
	PROTOCOL_ANSWERS(X)
#undef X
#define X(key, text) [ROW_EXCHANGE_##key] = { "exchange", #key, text },
	ACCOUNT_EXCHANGES(X)
#undef X
#define X(id, name, text) [ROW_DIFFERENT_##id] = { "different", #name, text },
	EXCHANGE_DIFFERENCES(X)
#undef X
#define X(id, name, text) [ROW_NOT_COMPARABLE_##id] = { "not_comparable", #name, text },
	EXCHANGE_OBSTACLES(X)
#undef X
#define X(id, name, text) [ROW_ANSWER_ENDED_##id] = { "answer_ended", #name, "answers ended by " text },
	EXCHANGE_ENDS(X)
#undef X
#define X(id, name, text) [ROW_TARGET_FIRST_##id] = { "target_first", #name, "sessions, after " text },
	EXCHANGE_TURNS(X)
#undef X
#define X(key, text) [ROW_ENGINE_##key] = { "engine", #key, text },
	ENGINE_COUNTERS(X)
#undef X
#define X(key, text) [ROW_LIVE_##key] = { "live", #key, text },
	ACCOUNT_LIVE(X)
#undef X
#define X(id, name, text) [ROW_STATE_##id] = { "state", #name, "live sessions: " text },
	SESSION_STATES(X)
#undef X
#define X(key, text) [ROW_SENT_##key] = { "sent", #key, text },
	ACCOUNT_SENT(X)
#undef X
#define X(id, name, text)                                                                                    \
	[ROW_SEND_ERROR_##id] = { "send_error", name, "packets refused by the kernel: " text },
	SINK_ERRORS(X)
#undef X
#define X(key, text) [ROW_CHANNEL_##key] = { "channel", #key, text },
	ACCOUNT_CHANNEL(X)
#undef X
#define X(key, text) [ROW_REMOTE_##key] = { "remote", #key, text },
	ACCOUNT_REMOTE(X)
#undef X
#define X(key, text) [ROW_OWN_##key] = { "own", #key, text },
	OWN_COUNTERS(X)
	ACCOUNT_OWN(X)
#undef X
#define X(key, text) [ROW_STRAYS_##key] = { "strays", #key, text },
	ACCOUNT_STRAYS(X)
#undef X
#define X(key, text) [ROW_GOVERN_##key] = { "govern", #key, text },
	ACCOUNT_GOVERN(X)
#undef X
#define X(key, text) [ROW_LOG_##key] = { "log", #key, text },
	ACCOUNT_LOG(X)
#undef X
};
/* clang-format on */

static const struct account_section sections[] = {
	{ "capture", "the capture" },
	{ "replay", "the recorded traffic (--read)" },
	{ "parse", "captured packets, by parse result" },
	{ "classify", "parsed segments, by matching rule" },
	{ "write", "what is written to files (--write)" },
	{ "ended", "ended sessions, by outcome" },
	{ "lost", "payload bytes lost with sessions, by outcome" },
	{ "declined", "times that a connection was declined, by reason" },
	{ "unjoined", "payload bytes of connections not replicated, by reason" },
	{ "refused", "captured segments that the online server did not take, by reason" },
	{ "spoken", "sessions, by the protocol of the client" },
	{ "detail", "sessions with something that matters to their copy" },
	{ "joined", "sessions joined in the middle of a connection, by protocol" },
	{ "not_joined", "connections not joined because of their protocol (see --join)" },
	{ "answers",
	  "answers of the targets, by class, as far as their first bytes are known (without -s, or with --secret)" },
	{ "online_answers", "answers of the online server, by class: a sample, of about one in 64 packets" },
	{ "exchange", "requests with the answers of both sides" },
	{ "different", "exchanges whose answers differ, by kind" },
	{ "not_comparable", "exchanges whose answers cannot be compared, by reason" },
	{ "answer_ended", "exchanges, by what ended the target's answer" },
	{ "target_first", "sessions that the target ended while the client went on, by turns answered" },
	{ "engine", "the session engine" },
	{ "live", "live state at the time of the report" },
	{ "state", "live sessions, by state" },
	{ "sent", "sending to the targets" },
	{ "send_error", "packets refused by the kernel, by reason" },
	{ "channel", "connections to the assistants" },
	{ "remote", "losses reported by the assistants" },
	{ "own", "answers to addresses of this host" },
	{ "strays", "connections left on the targets by an earlier tcpcopy" },
	{ "govern", "what lets the copies rest" },
	{ "log", "the log" },
};

static const struct account_equation equations[] = {
	{ "packets captured + taken from the recording = all parse results", "capture.packets + replay.taken",
	  "parse.*" },
	{ "packets read = taken + not taken yet", "replay.packets", "replay.taken + replay.waiting" },
	{ "packets parsed = given to the engine + not given, by reason + answers", "parse.ok",
	  "classify.given + classify.no_rule + classify.loopback_source + classify.foreign + "
	  "classify.from_here + classify.not_chosen + own.answers + replay.server + replay.unanswered + replay.filtered" },
	{ "packets to be written = written + not written, by reason",
	  "write.requests + write.answers + write.copies",
	  "write.written + write.failed + write.shed + write.waiting" },
	{ "segments in the engine = given, once per matching rule and copy", "engine.captured_segments",
	  "classify.given + classify.given_again + classify.given_copies" },
	{ "payload captured = acknowledged + pending + everything else, by reason", "engine.captured_bytes",
	  "engine.acked_bytes + live.bytes + lost.* + engine.duplicate_bytes + engine.keepalive_bytes + "
	  "engine.truncated_bytes + engine.refused_bytes + live.doubtful + unjoined.*" },
	{ "sessions = ended + live", "engine.sessions_opened + engine.sessions_joined",
	  "ended.* + live.sessions" },
	{ "sessions = all protocols", "engine.sessions_opened + engine.sessions_joined", "spoken.*" },
	{ "sessions joined = all protocols", "engine.sessions_joined", "joined.*" },
	{ "exchanges = same + different, by kind + not comparable, by reason + open", "exchange.all",
	  "exchange.same + different.* + not_comparable.* + exchange.open" },
	{ "exchanges = ended, by what ended the answer + open", "exchange.all",
	  "answer_ended.* + exchange.open" },
	{ "live sessions = all states", "live.sessions", "state.*" },
	{ "turns = released + given up + waiting", "engine.turns",
	  "engine.released_on_answer + engine.released_on_pause + engine.released_on_close + "
	  "engine.released_on_deadline + engine.turns_given_up + live.turns" },
	{ "responses = accepted + not accepted, by reason", "engine.responses",
	  "engine.responses_believed + engine.responses_refused + engine.responses_unknown + "
	  "engine.responses_late + engine.leftovers_reset" },
	{ "answers = given to the engine + to ports without a session, by whose they are", "own.answers",
	  "own.given + own.unknown + own.host" },
	{ "answers kept from this host's TCP + taken by it = captured + not captured",
	  "own.swallowed + own.accepted", "own.answers + own.uncaptured" },
	{ "holes = filled + given up + open", "engine.holes",
	  "engine.holes_filled + engine.holes_given_up + live.holes" },
	{ "path probes = arrived + lost + undecided + on their way", "engine.path_probes",
	  "engine.path_probes_arrived + engine.path_probes_lost + engine.path_probes_undecided + "
	  "live.path_probes" },
	{ "segments emitted + stray resets = given to the sender", "engine.emitted_segments + strays.reset",
	  "sent.segments" },
	{ "packets made = accepted by the kernel + refused, by reason", "sent.offered",
	  "sent.packets + send_error.*" },
};

const struct account_table account_table = {
	.rows = rows,
	.n_rows = ACCOUNT_ROWS,
	.sections = sections,
	.n_sections = ARRAY_SIZE(sections),
	.equations = equations,
	.n_equations = ARRAY_SIZE(equations),
};

void account_init(struct account *a)
{
	memset(a, 0, sizeof(*a));
	hist_reset(&a->lag);
	a->assistants_up = UINT32_MAX;
}

static void add_source(struct account *a, const char *name, const struct source_counters *n)
{
	unsigned i = 0;

	while (i < a->n_sources && strcmp(a->source[i].name, name))
		i++;
	if (i == CONFIG_MAX_INTERFACES)
		return;
	if (i == a->n_sources) {
		a->n_sources++;
		memcpy(a->source[i].name, name, sizeof(a->source[i].name));
	}
	source_counters_add(&a->source[i].n, n);
}

static void collect_capture(struct account *a, struct pipeline *p)
{
	struct source_counters n;
	uint64_t *row = a->row;

	if (p->replies) {
		source_counters(p->replies, &n);
		row[ROW_CAPTURE_replies] += p->replies_seen;
		row[ROW_CAPTURE_replies_dropped] += n.kernel_drops;
	}
	for (unsigned i = 0; i < p->n_sources; i++) {
		source_counters(p->source[i], &n);
		add_source(a, p->source[i]->name, &n);
		row[ROW_CAPTURE_let_in] += n.let_in;
		row[ROW_CAPTURE_packets] += n.packets;
		row[ROW_CAPTURE_kernel_drops] += n.kernel_drops;
		row[ROW_CAPTURE_unread] += source_unread(&n);
		row[ROW_CAPTURE_truncated] += n.truncated;
		row[ROW_CAPTURE_errors] += n.errors;
		row[ROW_CAPTURE_ring_freezes] += n.ring_freezes;
		row[ROW_CAPTURE_ring_aside] += n.ring_aside;
		row[ROW_CAPTURE_turns] += n.turns;
	}
	if (p->record) {
		row[ROW_WRITE_requests] += p->record->requests;
		row[ROW_WRITE_copies] += p->record->copies;
		row[ROW_WRITE_shed] += p->record->shed;
	}
	for (int i = 0; i < PARSE_REASON_COUNT; i++)
		row[ROW_PARSE_OK + i] += p->classified.parse[i];
#define X(key, text) row[ROW_CLASSIFY_##key] += p->classified.key;
	CLASSIFY_COUNTERS(X)
#undef X
}

static void collect_replay(struct account *a, const struct pipeline *p)
{
	const struct replay_state *s;
	struct recording_counters n;
	uint64_t *row = a->row;

	if (!p->replay)
		return;
	s = replay_state(p->replay);
	recording_counters(replay_recording(p->replay), &n);
#define X(key, text) row[ROW_REPLAY_##key] += n.key;
	RECORDING_COUNTERS(X)
#undef X
#define X(key, text) row[ROW_REPLAY_##key] += s->key;
	REPLAY_COUNTERS(X)
#undef X
	row[ROW_REPLAY_waiting] += n.packets - s->taken;
}

static void collect_spoken(struct account *a, const struct pipeline *p)
{
	for (unsigned i = 0; i < p->config->n_rules; i++) {
		const struct protocol_tally *t = engine_spoken(p->engine, i);

		protocol_tally_add(&a->spoken[i], t);
		for (unsigned j = 0; j < PROTOCOL_COUNT; j++) {
			a->row[ROW_SPOKEN_NONE + j] += t->sessions[j];
			a->row[ROW_JOINED_NONE + j] += t->joined[j];
			a->row[ROW_NOT_JOINED_NONE + j] += t->not_joined[j];
		}
		for (unsigned j = 0; j < DETAIL_COUNT; j++)
			a->row[ROW_DETAIL_PROXY + j] += t->details[j];
		for (unsigned j = 0; j < ANSWER_COUNT; j++)
			a->row[ROW_ANSWERS_NONE + j] += t->answers[j];
		for (unsigned j = 0; j < ANSWER_COUNT; j++)
			a->row[ROW_ONLINE_ANSWERS_NONE + j] += t->online_answers[j];
	}
}

static void collect_exchanges(struct account *a, const struct pipeline *p)
{
	for (unsigned i = 0; i < p->config->n_rules; i++) {
		const struct exchange_tally *t = engine_exchanges(p->engine, i);

		exchange_tally_add(&a->exchanges[i], t);
#define X(key, text) a->row[ROW_EXCHANGE_##key] += t->key;
		ACCOUNT_EXCHANGES(X)
#undef X
		for (unsigned j = 0; j < EXCHANGE_DIFFERENCE_COUNT; j++)
			a->row[ROW_DIFFERENT_SHORTER + j] += t->different[j];
		for (unsigned j = 0; j < EXCHANGE_OBSTACLE_COUNT; j++)
			a->row[ROW_NOT_COMPARABLE_JOINED + j] += t->not_comparable[j];
		for (unsigned j = 0; j < EXCHANGE_END_COUNT; j++)
			a->row[ROW_ANSWER_ENDED_REQUEST + j] += t->ended_by[j];
		for (unsigned j = 0; j < EXCHANGE_TURNS_COUNT; j++)
			a->row[ROW_TARGET_FIRST_NONE + j] += t->target_first[j];
	}
}

static void collect_engine(struct account *a, const struct engine *e)
{
	const struct engine_counters *n = engine_counters(e);
	uint64_t *row = a->row;

	for (unsigned i = 0; i < OUTCOME_COUNT; i++) {
		row[ROW_ENDED_COMPLETE + i] += n->ended[i];
		row[ROW_LOST_COMPLETE + i] += n->lost_by_outcome[i];
	}
	for (unsigned i = 0; i < DECLINE_COUNT; i++) {
		row[ROW_DECLINED_CHANNEL + i] += n->declined[i];
		row[ROW_UNJOINED_CHANNEL + i] += n->unjoined[i];
	}
	for (unsigned i = 0; i < REFUSAL_COUNT; i++)
		row[ROW_REFUSED_SEQUENCE + i] += n->refused[i];
#define X(key, text) row[ROW_ENGINE_##key] += n->key;
	ENGINE_COUNTERS(X)
#undef X
	row[ROW_LIVE_sessions] += engine_sessions(e);
	row[ROW_LIVE_bytes] += engine_live_bytes(e);
	row[ROW_LIVE_doubtful] += engine_doubtful_bytes(e);
	row[ROW_LIVE_turns] += engine_turns_waiting(e);
	row[ROW_LIVE_holes] += engine_holes_open(e);
	row[ROW_LIVE_path_probes] += engine_path_probes(e);
	row[ROW_LIVE_lingering] += engine_lingering(e);
	row[ROW_LIVE_observed] += engine_observed(e);
	row[ROW_LIVE_memory] += engine_memory(e);
	for (unsigned i = 0; i < STATE_COUNT; i++)
		row[ROW_STATE_WAITING + i] += engine_states(e)[i];
	hist_merge(&a->lag, &n->capture_to_emit);
}

static void collect_way_out(struct account *a, const struct pipeline *p)
{
	const struct sink_counters *s = &p->sink->counters;
	uint64_t *row = a->row;

#define X(key, text) row[ROW_SENT_##key] += s->key;
	ACCOUNT_SENT(X)
#undef X
	for (int i = 0; i < SINK_ERROR_COUNT; i++)
		row[ROW_SEND_ERROR_NOBUFS + i] += s->errors[i];
	if (p->own) {
#define X(key, text) row[ROW_OWN_##key] += own_counters(p->own)->key;
		OWN_COUNTERS(X)
#undef X
		own_ports(p->own, &row[ROW_OWN_ports_used], &row[ROW_OWN_ports]);
		row[ROW_OWN_bytes] += p->inflow.bytes;
		row[ROW_OWN_over] += p->inflow.avoided;
	}
#define X(key, text) row[ROW_STRAYS_##key] += p->strays.key;
	ACCOUNT_STRAYS(X)
#undef X
	if (!p->returns)
		return;
#define X(key, text) row[ROW_CHANNEL_##key] += p->returns->n.key;
	ACCOUNT_CHANNEL(X)
#undef X
#define X(key, text) row[ROW_REMOTE_##key] += p->returns->n.remote.key;
	ACCOUNT_REMOTE(X)
#undef X
}

void account_path(struct path *sum, const struct path *one)
{
	if (!sum->route || (one->narrow && (!sum->narrow || one->lost_at > sum->lost_at)))
		*sum = *one;
}

static void newest(struct engine_example *to, const struct engine_example *from)
{
	if (from->time > to->time)
		*to = *from;
}

static void add_examples(struct engine_examples *to, const struct engine_examples *from)
{
	for (int i = 0; i < OUTCOME_COUNT; i++)
		newest(&to->ended[i], &from->ended[i]);
	for (int i = 0; i < DECLINE_COUNT; i++)
		newest(&to->declined[i], &from->declined[i]);
	for (int i = 0; i < EXCHANGE_DIFFERENCE_COUNT; i++)
		if (from->differs[i].time > to->differs[i].time) {
			to->differs[i] = from->differs[i];
			to->answer[i] = from->answer[i];
		}
}

void account_collect(void *pipeline, void *sum)
{
	struct pipeline *p = pipeline;
	struct account *a = sum;

	collect_capture(a, p);
	collect_replay(a, p);
	figures_collect(pipeline, &a->figures);
	if (p->choice.since >= a->choice.since)
		a->choice = p->choice;
	collect_engine(a, p->engine);
	collect_spoken(a, p);
	collect_exchanges(a, p);
	for (unsigned i = 0; i < p->config->n_rules; i++)
		account_path(&a->path[i], engine_path(p->engine, i));
	collect_way_out(a, p);
	add_examples(&a->examples, engine_examples(p->engine));
	a->assistants_up = MIN(a->assistants_up, p->returns ? returns_parts_up(p->returns) : 0);
	a->workers++;
	a->taken[p->worker] +=
		engine_counters(p->engine)->sessions_opened + engine_counters(p->engine)->sessions_joined;
}

void account_answers(void *pipeline, void *sum)
{
	struct pipeline *p = pipeline;
	uint64_t *most = sum;

	*most += p->own ? own_counters(p->own)->answers : 0;
	for (int i = PARSE_OK + 1; i < PARSE_REASON_COUNT; i++)
		*most += p->classified.parse[i];
	for (unsigned i = 0; i < p->n_sources; i++) {
		struct source_counters n;

		source_counters(p->source[i], &n);
		*most += n.kernel_drops + source_unread(&n);
	}
}

void account_add(struct account *sum, const struct account *one)
{
	for (unsigned i = 0; i < ACCOUNT_ROWS; i++)
		sum->row[i] += one->row[i];
	hist_merge(&sum->lag, &one->lag);
	if (one->choice.since >= sum->choice.since)
		sum->choice = one->choice;
	add_examples(&sum->examples, &one->examples);
	for (unsigned i = 0; i < CONFIG_MAX_RULES; i++) {
		protocol_tally_add(&sum->spoken[i], &one->spoken[i]);
		exchange_tally_add(&sum->exchanges[i], &one->exchanges[i]);
		account_path(&sum->path[i], &one->path[i]);
	}
	for (unsigned i = 0; i < one->n_sources; i++)
		add_source(sum, one->source[i].name, &one->source[i].n);
	sum->assistants_up = MIN(sum->assistants_up, one->assistants_up);
	sum->workers += one->workers;
	for (unsigned i = 0; i < FANOUT_MAX_WORKERS; i++)
		sum->taken[i] += one->taken[i];
}

struct account_loss account_loss(const struct account *a)
{
	const uint64_t *row = a->row;
	struct account_loss l = { .bytes = row[ROW_ENGINE_missing_bytes] };
	uint64_t segments = row[ROW_ENGINE_captured_data], bytes = row[ROW_ENGINE_captured_bytes];

	if (!l.bytes || !bytes)
		return l;
	/* a hole is a packet at least */
	l.packets = MAX((uint64_t)((double)l.bytes * (double)segments / (double)bytes + 0.5),
			row[ROW_ENGINE_holes_given_up]);
	l.upstream = l.packets - MIN(l.packets, row[ROW_CAPTURE_kernel_drops]);
	l.per_million = (uint64_t)((double)l.packets * 1e6 / (double)(segments + l.packets));
	return l;
}
