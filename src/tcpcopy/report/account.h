#ifndef TCPCOPY_REPORT_ACCOUNT_H
#define TCPCOPY_REPORT_ACCOUNT_H

#include "program/account.h"
#include "tcpcopy/pipeline.h"

/*
 * The account of tcpcopy: what became of every packet, session, byte and response. The rows of the stages
 * come from the stages' own tables; here are those that have none. One table each: key, text.
 */
#define ACCOUNT_CAPTURE(X)                                                                                   \
	X(let_in, "packets that the kernel's filter let in")                                                 \
	X(packets, "of these, captured")                                                                     \
	X(kernel_drops, "of these, dropped by the kernel: no room in the buffer or ring")                    \
	X(unread, "of these, not read yet, or not before the end")                                           \
	X(truncated, "of the captured, cut by the capture")                                                  \
	X(errors, "errors of the capture (an interface that went down)")                                     \
	X(ring_freezes, "times that a ring was found full")                                                  \
	X(ring_aside, "packets copied aside because a ring was filling up")                                  \
	X(turns, "changes between wake-ups for each packet and a ring")

#define ACCOUNT_LIVE(X)                                                                                      \
	X(sessions, "sessions that live")                                                                    \
	X(bytes, "payload bytes still waiting for the target")                                               \
	X(doubtful, "payload bytes put aside until it is known whether the online server took them")         \
	X(turns, "turns that wait for an answer")                                                            \
	X(holes, "holes that may still be filled")                                                           \
	X(lingering, "ended sessions that still answer strays")                                              \
	X(observed, "connections that are not replicated, or not yet")                                       \
	X(memory, "bytes of memory that sessions and their data hold")

#define ACCOUNT_SENT(X)                                                                                      \
	X(segments, "segments given to the sender (a super-packet counts once)")                             \
	X(offered, "packets made of them")                                                                   \
	X(packets, "of these, taken by the kernel")                                                          \
	X(bytes, "bytes of these")                                                                           \
	X(fallback,                                                                                          \
	  "of these packets by raw sockets: the neighbour was not known, is to be asked again, or is not reached over Ethernet")

#define ACCOUNT_CHANNEL(X)                                                                                   \
	X(connects, "connections made to assistants")                                                        \
	X(losses_of_connection, "of these, lost")                                                            \
	X(attempts_failed, "attempts to connect that failed")                                                \
	X(messages_dropped, "connections given up because the assistant was too slow")

#define ACCOUNT_REMOTE(X)                                                                                    \
	X(records_merged, "response records that assistants merged")                                         \
	X(records_dropped, "response records that assistants dropped")                                       \
	X(kernel_drops, "responses that the assistants' kernels dropped")                                    \
	X(unowned, "responses at the assistants without an owner")

#define ACCOUNT_STRAYS(X)                                                                                    \
	X(reset, "connections left by an earlier tcpcopy and reset")                                         \
	X(refused,                                                                                           \
	  "stray responses that were not answered: no target of ours, sessions not announced yet, or too many")

#define ACCOUNT_LOG(X)                                                                                       \
	X(suppressed, "log lines kept back, because there were many like them")                              \
	X(dropped, "log lines that could not be written")

/* clang-format off */
enum account_row_id {
#define X(key, text) ROW_CAPTURE_##key,
	ACCOUNT_CAPTURE(X)
#undef X
#define X(id, name, text) ROW_PARSE_##id,
	PARSE_REASONS(X)
#undef X
#define X(key, text) ROW_CLASSIFY_##key,
	CLASSIFY_COUNTERS(X)
#undef X
#define X(id, name, text) ROW_ENDED_##id,
	SESSION_OUTCOMES(X)
#undef X
#define X(id, name, text) ROW_LOST_##id,
	SESSION_OUTCOMES(X)
#undef X
#define X(id, name, text) ROW_DECLINED_##id,
	DECLINES(X)
#undef X
#define X(id, name, text) ROW_UNJOINED_##id,
	DECLINES(X)
#undef X
#define X(id, name, text) ROW_REFUSED_##id,
	REFUSALS(X)
#undef X
#define X(key, text) ROW_ENGINE_##key,
	ENGINE_COUNTERS(X)
#undef X
#define X(key, text) ROW_LIVE_##key,
	ACCOUNT_LIVE(X)
#undef X
#define X(id, name, text) ROW_STATE_##id,
	SESSION_STATES(X)
#undef X
#define X(key, text) ROW_SENT_##key,
	ACCOUNT_SENT(X)
#undef X
#define X(id, name, text) ROW_SEND_ERROR_##id,
	SINK_ERRORS(X)
#undef X
#define X(key, text) ROW_CHANNEL_##key,
	ACCOUNT_CHANNEL(X)
#undef X
#define X(key, text) ROW_REMOTE_##key,
	ACCOUNT_REMOTE(X)
#undef X
#define X(key, text) ROW_STRAYS_##key,
	ACCOUNT_STRAYS(X)
#undef X
#define X(key, text) ROW_LOG_##key,
	ACCOUNT_LOG(X)
#undef X
	ACCOUNT_ROWS
};
/* clang-format on */

extern const struct account_table account_table;

struct account_source {
	char name[64];
	struct source_counters n;
};

/* Of one worker, or the sum of several. */
struct account {
	uint64_t row[ACCOUNT_ROWS];
	struct hist lag; /* ns from the capture of a segment to its first sending */
	struct engine_examples examples;
	struct account_source source[CONFIG_MAX_INTERFACES]; /* by name */
	unsigned n_sources;
	unsigned assistants_up;             /* of the worker with the fewest */
	unsigned workers;                   /* that were added up */
	uint64_t taken[FANOUT_MAX_WORKERS]; /* sessions opened and joined by each */
};

void account_init(struct account *a);
/*
 * Add what @pipeline has counted to @sum, a struct account. On the thread that it belongs to; see
 * workers_collect().
 */
void account_collect(void *pipeline, void *sum);
void account_add(struct account *sum, const struct account *one);
/* What the process counts, not a worker: lines of the log. Once for each report. */
void account_collect_process(struct account *sum);

/*
 * What the kernel's counters of drops do not show: bytes that were not captured although the client sent
 * them, since later ones were captured (and often because the online server said that it had them). In
 * packets, as many as such bytes mostly fill.
 */
struct account_loss {
	uint64_t bytes, packets; /* the packets are an estimate */
	/* of the packets, those beyond what the kernel dropped: lost before this host's capture */
	uint64_t upstream;
	uint64_t per_million; /* of the client's data segments */
};
struct account_loss account_loss(const struct account *a);

#endif
