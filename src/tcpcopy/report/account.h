#ifndef TCPCOPY_REPORT_ACCOUNT_H
#define TCPCOPY_REPORT_ACCOUNT_H

#include "program/account.h"
#include "tcpcopy/pipeline.h"
#include "tcpcopy/replay/figures.h"

/*
 * The account of tcpcopy: what became of every packet, session, byte and response. The rows of the stages
 * come from the stages' own tables; here are those that have none. One table each: key, text.
 */
#define ACCOUNT_CAPTURE(X)                                                                                   \
	X(let_in, "packets that passed the kernel's filter")                                                 \
	X(packets, "of these, captured")                                                                     \
	X(kernel_drops, "of these, dropped by the kernel: the buffer or ring was full")                      \
	X(unread, "of these, not read: still waiting, or left at the end")                                   \
	X(truncated, "of the captured ones, truncated by the capture")                                       \
	X(errors, "capture errors (such as an interface that went down)")                                    \
	X(ring_freezes, "times that a ring was found full")                                                  \
	X(ring_aside, "packets copied aside because a ring was filling up")                                  \
	X(turns, "changes between per-packet capture and a ring")                                            \
	X(replies, "SYN-ACKs and resets of the online server, seen as they left")                            \
	X(replies_dropped, "more of them, dropped by the kernel (counted by each worker)")

#define ACCOUNT_REPLAY(X) X(waiting, "packets read that are not taken yet")

#define ACCOUNT_WRITE(X)                                                                                     \
	X(answers_dropped, "packets of the online server that the kernel dropped before they were read")     \
	X(requests, "packets of clients that were to be written")                                            \
	X(answers, "packets of the online server that were to be written")                                   \
	X(copies, "packets that would have been sent, in a dry run, and were to be written")                 \
	X(shed, "of these, thrown away: the writing was too far behind")                                     \
	X(waiting, "of these, not written yet")

#define ACCOUNT_LIVE(X)                                                                                      \
	X(sessions, "live sessions")                                                                         \
	X(bytes, "payload bytes that the target has not acknowledged yet")                                   \
	X(doubtful, "payload bytes put aside until it is known whether the online server took them")         \
	X(turns, "turns waiting for a response")                                                             \
	X(holes, "holes that may still be filled")                                                           \
	X(path_probes, "segments on their way to show whether packets of their size arrive")                 \
	X(lingering, "ended sessions that still answer stray segments")                                      \
	X(observed, "connections that are not, or not yet, replicated")                                      \
	X(memory, "bytes of memory held by sessions and their data")

#define ACCOUNT_SENT(X)                                                                                      \
	X(segments, "segments given to the sender (a super-packet counts once)")                             \
	X(offered, "packets made from them")                                                                 \
	X(packets, "of these, accepted by the kernel")                                                       \
	X(bytes, "bytes in them")                                                                            \
	X(fallback,                                                                                          \
	  "of the accepted ones, through raw sockets: neighbour unknown or being refreshed, or not Ethernet")

#define ACCOUNT_CHANNEL(X)                                                                                   \
	X(connects, "connections made to assistants")                                                        \
	X(losses_of_connection, "of these, lost")                                                            \
	X(attempts_failed, "failed connection attempts")                                                     \
	X(messages_dropped, "connections given up because the assistant read too slowly")                    \
	X(watches_refused, "watches that an assistant had no room for")

#define ACCOUNT_REMOTE(X)                                                                                    \
	X(records_merged, "response records merged by assistants")                                           \
	X(records_dropped, "response records dropped by assistants")                                         \
	X(kernel_drops, "responses dropped by the assistants' kernels")                                      \
	X(unowned, "responses at the assistants that belong to no session")

#define ACCOUNT_STRAYS(X)                                                                                    \
	X(reset, "connections left on a target by an earlier tcpcopy, and reset")                            \
	X(refused,                                                                                           \
	  "stray responses left unanswered: not from a target, sessions not announced yet, or too many")

#define ACCOUNT_EXCHANGES(X)                                                                                 \
	X(all, "requests sent, or given up before")                                                          \
	X(same, "of these, answered by both sides with the same length")                                     \
	X(open, "of these, whose answer goes on, or that wait for the next one to be told apart")            \
	X(followers, "of the different ones, behind a difference on the same connection")                    \
	X(merged, "of all, with a response record that was merged from several")                             \
	X(unsolicited, "of all, without a request: what a server says first")

#define ACCOUNT_GOVERN(X)                                                                                    \
	X(breaker_trips, "times that the breaker of a target tripped (see --breaker)")                       \
	X(breakers_open, "targets that get no new sessions because of it")                                   \
	X(yields, "times that the copies gave way to this host's service (see --yield)")                     \
	X(yielding, "whether they do now")

#define ACCOUNT_OWN(X)                                                                                       \
	X(swallowed, "answers that were kept from this host's TCP, as the kernel counts them")               \
	X(accepted, "answers without a session that this host's TCP got, because a socket has the port")     \
	X(uncaptured, "of these, not captured: on their way, dropped by the kernel, or not parsed")          \
	X(ports, "ports of this host to copy from, over all targets")                                        \
	X(ports_used, "of these, in use")                                                                    \
	X(bytes, "bytes of the answers, with their headers")                                                 \
	X(over, "times that a connection was declined because of --max-answers")

/* clang-format off */
enum account_row_id {
#define X(key, text) ROW_CAPTURE_##key,
	ACCOUNT_CAPTURE(X)
#undef X
#define X(key, text) ROW_REPLAY_##key,
	RECORDING_COUNTERS(X)
	REPLAY_COUNTERS(X)
	ACCOUNT_REPLAY(X)
#undef X
#define X(id, name, text) ROW_PARSE_##id,
	PARSE_REASONS(X)
#undef X
#define X(key, text) ROW_CLASSIFY_##key,
	CLASSIFY_COUNTERS(X)
#undef X
#define X(key, text) ROW_WRITE_##key,
	ACCOUNT_WRITE(X)
	OUTPUT_COUNTERS(X)
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
#define X(id, name, text, join) ROW_SPOKEN_##id,
	PROTOCOLS(X)
#undef X
#define X(id, name, weight, text, remedy) ROW_DETAIL_##id,
	PROTOCOL_DETAILS(X)
#undef X
#define X(id, name, text, join) ROW_JOINED_##id,
	PROTOCOLS(X)
#undef X
#define X(id, name, text, join) ROW_NOT_JOINED_##id,
	PROTOCOLS(X)
#undef X
#define X(id, name, text) ROW_ANSWERS_##id,
	PROTOCOL_ANSWERS(X)
#undef X
#define X(id, name, text) ROW_ONLINE_ANSWERS_##id,
	PROTOCOL_ANSWERS(X)
#undef X
#define X(key, text) ROW_EXCHANGE_##key,
	ACCOUNT_EXCHANGES(X)
#undef X
#define X(id, name, text) ROW_DIFFERENT_##id,
	EXCHANGE_DIFFERENCES(X)
#undef X
#define X(id, name, text) ROW_NOT_COMPARABLE_##id,
	EXCHANGE_OBSTACLES(X)
#undef X
#define X(id, name, text) ROW_ANSWER_ENDED_##id,
	EXCHANGE_ENDS(X)
#undef X
#define X(id, name, text) ROW_TARGET_FIRST_##id,
	EXCHANGE_TURNS(X)
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
#define X(key, text) ROW_OWN_##key,
	OWN_COUNTERS(X)
	ACCOUNT_OWN(X)
#undef X
#define X(key, text) ROW_STRAYS_##key,
	ACCOUNT_STRAYS(X)
#undef X
#define X(key, text) ROW_GOVERN_##key,
	ACCOUNT_GOVERN(X)
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
	struct hist lag;        /* ns from the capture of a segment to its first sending */
	struct figures figures; /* of a replay */
	struct choice choice;   /* of sessions; the newest ramp, if they do not begin together */
	struct engine_examples examples;
	struct protocol_tally spoken[CONFIG_MAX_RULES];      /* for each rule */
	struct exchange_tally exchanges[CONFIG_MAX_RULES];   /* for each rule */
	struct path path[CONFIG_MAX_RULES];                  /* the way to its target */
	struct account_source source[CONFIG_MAX_INTERFACES]; /* by name */
	unsigned n_sources;
	unsigned assistants_up;             /* of the worker with the fewest */
	unsigned workers;                   /* that were added up */
	uint64_t taken[FANOUT_MAX_WORKERS]; /* sessions opened and joined by each */
};

/* Make *a the sum of no worker. */
void account_init(struct account *a);

/*
 * Add what @pipeline, a struct pipeline, has counted to @sum, a struct account. Call it on the pipeline's own
 * thread; see workers_collect().
 */
void account_collect(void *pipeline, void *sum);

/*
 * Add to *@sum, a uint64_t, the most answers that @pipeline can have captured: also what it has not read,
 * what the kernel has dropped, and what could not be parsed. As account_collect().
 */
void account_answers(void *pipeline, void *sum);

/* What *one knows of a way is known of *sum, unless that knows something newer. */
void account_path(struct path *sum, const struct path *one);

/* Add the account *one to *sum. */
void account_add(struct account *sum, const struct account *one);

/*
 * Loss that the kernel's counters do not show: bytes that the client must have sent, because later ones were
 * captured, and often because the online server said that it has them. The number of packets is what so many
 * bytes usually fill.
 */
struct account_loss {
	uint64_t bytes, packets; /* the packets are an estimate */
	/* of the packets, those beyond what the kernel dropped: lost before this host's capture */
	uint64_t upstream;
	uint64_t per_million; /* of the client's data segments */
};
/* What was never captured, from the rows of *a. */
struct account_loss account_loss(const struct account *a);

#endif
