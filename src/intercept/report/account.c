/*
 * The account of intercept - theory of operation
 *
 * In: the counters of the stages. Out: one array of numbers, and the table that names them, which is put
 * together from the stages' own tables. Every packet that the kernel handed over became a segment or was
 * rejected for a counted reason. Every segment became a record that was sent, merged, dropped or is held, or
 * has no owner, or waits for one.
 */
#include "intercept/report/account.h"

#include "base/util.h"
#include "intercept/captures.h"

/* clang-format off */
static const struct account_row rows[ACCOUNT_ROWS] = {
#define X(key, text) [ROW_CAPTURE_##key] = { "capture", #key, text },
	ACCOUNT_CAPTURE(X)
#undef X
#define X(id, name, text) [ROW_PARSE_##id] = { "parse", name, text },
	PARSE_REASONS(X)
#undef X
#define X(key, text) [ROW_SEGMENTS_##key] = { "segments", #key, text },
	SEGMENT_STATS(X)
#undef X
#define X(key, text) [ROW_WAITING_##key] = { "waiting", #key, text },
	ACCOUNT_WAITING(X)
#undef X
#define X(key, text) [ROW_WATCHES_##key] = { "watches", #key, text },
	WATCH_STATS(X)
#undef X
#define X(key, text) [ROW_CONNECTIONS_##key] = { "connections", #key, text },
	CONNECTION_STATS(X)
#undef X
#define X(key, text) [ROW_LOG_##key] = { "log", #key, text },
	ACCOUNT_LOG(X)
#undef X
};
/* clang-format on */

static const struct account_section sections[] = {
	{ "capture", "the capture" },
	{ "parse", "captured packets, by parse result" },
	{ "segments", "parsed segments, by what happened to them" },
	{ "waiting", "live state at the time of the report" },
	{ "watches", "sessions announced by tcpcopy" },
	{ "connections", "connections from tcpcopy" },
	{ "log", "the log" },
};

static const struct account_equation equations[] = {
	{ "packets captured = all parse results", "capture.packets", "parse.*" },
	{ "segments, some for two askers = sent + waiting + not sent, by reason", "parse.ok + watches.shared",
	  "segments.* + waiting.held + waiting.early" },
	{ "watches = ended + live", "watches.watches", "watches.ended + waiting.watches" },
};

const struct account_table account_table = {
	.rows = rows,
	.n_rows = ACCOUNT_ROWS,
	.sections = sections,
	.n_sections = ARRAY_SIZE(sections),
	.equations = equations,
	.n_equations = ARRAY_SIZE(equations),
};

void account_collect(void *pipeline, void *sum)
{
	const struct pipeline *p = pipeline;
	const struct source_counters c = captures_counters(p->captures);
	const struct stats *s = &p->stats;
	uint64_t *row = sum;

	row[ROW_CAPTURE_let_in] += c.let_in;
	row[ROW_CAPTURE_packets] += c.packets;
	row[ROW_CAPTURE_kernel_drops] += c.kernel_drops;
	row[ROW_CAPTURE_outdated] += c.outdated;
	row[ROW_CAPTURE_unread] += source_unread(&c);
	row[ROW_CAPTURE_errors] += c.errors;
	for (int i = 0; i < PARSE_REASON_COUNT; i++)
		row[ROW_PARSE_OK + i] += s->parse[i];
#define X(key, text) row[ROW_SEGMENTS_##key] += s->key;
	SEGMENT_STATS(X)
#undef X
#define X(key, text) row[ROW_WATCHES_##key] += s->key;
	WATCH_STATS(X)
#undef X
#define X(key, text) row[ROW_CONNECTIONS_##key] += s->key;
	CONNECTION_STATS(X)
#undef X
	row[ROW_WAITING_held] += relay_held(p->relay);
	row[ROW_WAITING_early] += early_waiting(p->early);
	row[ROW_WAITING_watches] += route_count(p->route);
	for (struct client *client = NULL; (client = clients_next(p->clients, client));)
		row[ROW_WAITING_peers]++;
}
