#ifndef SESSION_SESSION_H
#define SESSION_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hist.h"
#include "base/pool.h"
#include "base/siphash.h"
#include "compare/exchange.h"
#include "packet/online.h"
#include "packet/response.h"
#include "packet/segment.h"
#include "path/path.h"
#include "protocol/protocol.h"

/*
 * The session engine: events go in, actions come out. The events are the engine_*() calls that have a @now: a
 * captured segment, a response, an answer, the passing of time. The actions are struct engine_ops. The engine
 * is pure: it makes no system calls, reads no clock and logs nothing; its memory comes from a pool, and two
 * tables that grow. One engine belongs to one worker and is called from its thread only. doc/SESSION.md
 * describes it.
 *
 * All times are in nanoseconds of one monotonic clock, the same for @now and for segment.time. Sequence
 * numbers, ports and windows are in host byte order.
 */
struct engine;
struct session;

/* How a session ended. One table: enum, short name, text. */
#define SESSION_OUTCOMES(X)                                                                                  \
	X(COMPLETE, "complete", "both sides closed and the target acknowledged all data")                    \
	X(UNANSWERED, "unanswered", "both sides closed, the target without an answer to the last request")   \
	X(CLIENT_RESET, "client-reset", "the client reset the connection, and the reset was passed on")      \
	X(SERVER_RESET, "server-reset", "the online server reset the connection")                            \
	X(TARGET_RESET, "target-reset", "the target reset the connection")                                   \
	X(TARGET_CLOSED, "target-closed", "the target closed while the client continued")                    \
	X(REFUSED, "refused", "the target answered the SYN with a reset: nothing listens there")             \
	X(NO_ANSWER, "no-answer", "no answer to the SYN, although other SYNs were answered")                 \
	X(RETURN_SILENT, "return-silent",                                                                    \
	  "no answer to any SYN: check the target, the return route and the assistant")                      \
	X(TARGET_SILENT, "target-silent", "the target stopped responding in mid-connection")                 \
	X(CAPTURE_HOLE, "capture-hole", "part of the client's stream, or its end, was never captured")       \
	X(BUFFER_FULL, "buffer-full", "the target fell further behind than --session-buffer allows")         \
	X(NO_MEMORY, "no-memory", "shed: --memory was used up, and this session held the most data")         \
	X(HALF_OPEN, "half-open", "the client never completed its handshake")                                \
	X(TARGET_OPEN, "target-open", "the client closed, but the target did not within a minute")           \
	X(IDLE, "idle", "no segment from either side for more than two hours")                               \
	X(MPTCP, "mptcp", "the client and the online server speak Multipath TCP")                            \
	X(SOURCE_TAKEN, "source-taken", "another tcpcopy has a connection with this source at the target")   \
	X(SOURCE_LOST, "source-lost", "this host lost the address or port that the session was copied from") \
	X(UNWATCHED, "unwatched", "the assistant had no room for the watch: its responses were not heard")   \
	X(PORT_REUSED, "port-reused", "the client reused its port before this session could end")            \
	X(GAVE_WAY, "gave-way",                                                                              \
	  "a further copy (-n): its client began to use the port that it was copied from")                   \
	X(SHUTDOWN, "shutdown", "tcpcopy ended while the session was live")

enum session_outcome {
#define X(id, name, text) OUTCOME_##id,
	SESSION_OUTCOMES(X)
#undef X
		OUTCOME_COUNT
};
/* Returns the short name of @o, such as "client-reset". */
const char *session_outcome_name(enum session_outcome o);
/* Returns the text of @o, for people. */
const char *session_outcome_text(enum session_outcome o);

/*
 * Events in the life of a session. Each happens at most once, and together they say how far the session has
 * come. Whatever may come and go any number of times (a turn that waits, a hole, a repair, a timer, an open
 * question) is not an event but a field of struct session. doc/SESSION.md has the table of what may follow
 * what.
 */
#define SESSION_EVENTS(X)                                                                                    \
	X(OPENED, "the client's SYN was captured, or the engine decided to join")                            \
	X(JOINED, "joined in mid-stream: its SYN is synthetic")                                              \
	X(PROVED, "the online server is known to have the connection")                                       \
	X(CLIENT_ACKED, "a segment that the client sent after its SYN was captured")                         \
	X(STARTED, "the SYN was sent to the target")                                                         \
	X(ESTABLISHED, "the target's SYN-ACK was accepted")                                                  \
	X(CLIENT_FIN, "the client's FIN is in the queue")                                                    \
	X(CLIENT_RST, "the client's RST was captured")                                                       \
	X(CUT, "the rest of the client's stream was not captured: it ends here")                             \
	X(FIN_SENT, "the FIN was sent to the target")                                                        \
	X(FIN_ACKED, "the target acknowledged the FIN")                                                      \
	X(TARGET_FIN, "the target's FIN arrived")                                                            \
	X(RST_SENT, "an RST was sent to the target")                                                         \
	X(ENDED, "the session has its outcome, and lingers to answer stray segments")

enum session_event_bit {
#define X(id, text) EVENT_BIT_##id,
	SESSION_EVENTS(X)
#undef X
		EVENT_COUNT
};
enum session_event {
#define X(id, text) EV_##id = 1 << EVENT_BIT_##id,
	SESSION_EVENTS(X)
#undef X
};

/* Counters of the engine. One table: field, text. */
#define ENGINE_COUNTERS(X)                                                                                   \
	X(captured_segments, "segments given to the engine")                                                 \
	X(captured_data, "of these, with payload")                                                           \
	X(captured_bytes, "payload bytes in them")                                                           \
	X(duplicate_bytes,                                                                                   \
	  "payload bytes captured more than once (the client's retransmissions, duplicates)")                \
	X(keepalive_bytes, "payload bytes outside the stream of a session (after a FIN, or keep-alives)")    \
	X(refused_bytes, "payload bytes in segments that the online server did not take")                    \
	X(doubtful, "captured segments put aside until it was known whether the server took them")           \
	X(doubtful_taken, "of these, taken after all")                                                       \
	X(unjoined_bytes, "payload bytes of connections that are not, or not yet, replicated")               \
	X(truncated_bytes, "payload bytes cut off by the capture")                                           \
	X(queued_bytes, "payload bytes queued for the target")                                               \
	X(acked_bytes, "of these, acknowledged by the target")                                               \
	X(lost_bytes, "of these, lost with their session (by outcome)")                                      \
	X(sessions_opened, "sessions opened by a SYN")                                                       \
	X(sessions_joined, "sessions opened in mid-stream")                                                  \
	X(sessions_continued, "of these, successors of one whose target closed or reset before its client")  \
	X(sessions_copies, "of all these sessions, further copies of a connection (-n)")                     \
	X(joins_failed, "of those joined, closed or reset by the target without a second response")          \
	X(connections_given_up, "connections that are not joined again, because that happened three times")  \
	X(joins_stopped, "times that a target's joins stopped, because hardly any was taken")                \
	X(sources_moved, "sessions that got another source, because another tcpcopy had theirs")             \
	X(sessions_unproved, "sessions that no proof came for, and that were replicated all the same")       \
	X(turns, "turns opened (requests that wait for the previous response)")                              \
	X(released_on_answer, "turns released because the target had responded")                             \
	X(released_on_pause, "turns released because the target's response was shorter and had paused")      \
	X(released_on_close, "turns released because the target had closed")                                 \
	X(released_on_deadline, "turns released because --hold had passed")                                  \
	X(turns_resent, "turns that were under way when their target closed, and were sent again")           \
	X(turns_given_up, "turns never released, because their session ended first")                         \
	X(emitted_segments, "segments sent to targets (a super-packet counts once)")                         \
	X(emitted_acks, "of these, without data, SYN, FIN or RST")                                           \
	X(retransmitted_segments, "of these, retransmissions of data, SYN or FIN")                           \
	X(rto_fired, "retransmission timeouts")                                                              \
	X(probes_sent, "tail loss probes")                                                                   \
	X(window_probes, "zero-window probes")                                                               \
	X(fast_retransmits, "losses repaired by fast retransmit")                                            \
	X(path_probes, "segments larger than any that had arrived, sent to learn whether they do")           \
	X(path_probes_arrived, "of these, acknowledged")                                                     \
	X(path_probes_lost, "of these, lost while smaller segments arrived")                                 \
	X(path_probes_undecided, "of these, neither: only a time-out told of a loss, or the session ended")  \
	X(path_doubts, "times that segments of a size which had arrived timed out again and again")          \
	X(responses, "response records received")                                                            \
	X(responses_believed, "of these, accepted")                                                          \
	X(responses_unknown, "of these, for a session that no longer exists")                                \
	X(responses_refused, "of these, rejected: ack or sequence number out of range")                      \
	X(responses_late, "of these, for a session that had already ended")                                  \
	X(responses_merged, "response segments that arrived merged into another record")                     \
	X(response_bytes, "payload bytes of the targets' responses")                                         \
	X(leftovers_reset, "of the records, for an old connection on the target, which was reset")           \
	X(holes, "holes found in captured streams")                                                          \
	X(holes_filled, "of these, filled by a retransmission of the client or a late packet")               \
	X(holes_given_up, "of these, never filled: the session was cut there, or ended first")               \
	X(holes_proved, "of these, proved to be capture losses: the online server has the bytes")            \
	X(missing_bytes, "payload bytes that were never captured, although later ones were")

/* Why a connection, or a part of it, was not replicated. One table: enum, name, text. */
#define DECLINES(X)                                                                                          \
	X(CHANNEL, channel, "no assistant is connected")                                                     \
	X(HALF_OPEN, half_open, "too many half-open sessions")                                               \
	X(SOURCE, source, "no free source address and port, or too many answers (see --max-answers)")        \
	X(MEMORY, memory, "out of memory, or too many sessions")                                             \
	X(MAX_SESSIONS, max_sessions, "as many sessions are live as --max-sessions allows")                  \
	X(MAX_RATE, max_rate, "more sessions would begin in a second than --max-rate allows")                \
	X(BREAKER, breaker, "the target suffers, and gets no new sessions (see --breaker)")                  \
	X(YIELD, yield, "this host is busy, and copies give way to its service (see --yield)")               \
	X(OBSERVED, observed, "too many connections are observed, older than tcpcopy or given up")           \
	X(REFUSING, refusing, "the target refuses connections, and is tried only from time to time")         \
	X(NOT_THERE, not_there, "the online server has no such connection")                                  \
	X(UNPROVED, unproved, "the online server cannot be shown to have the connection (see --unproved)")   \
	X(MPTCP, mptcp, "Multipath TCP: a stream spread over several connections is not replicated")         \
	X(OLD, old, "older than tcpcopy, with --join=none")                                                  \
	X(PROTOCOL, protocol, "its protocol cannot be joined in the middle of a connection (see --join)")    \
	X(GIVEN_UP, given_up, "the target closed or reset it without a second response, three times")        \
	X(JOINS_STOPPED, joins_stopped,                                                                      \
	  "the target takes hardly any connection in its middle, and is tried every 30 s")                   \
	X(MIDDLE, middle, "in the middle of a turn; may be joined at the next one")

enum decline {
#define X(id, name, text) DECLINE_##id,
	DECLINES(X)
#undef X
		DECLINE_COUNT
};
/* Returns the name of @d, such as "half_open". */
const char *decline_name(enum decline d);
/* Returns the text of @d, for people. */
const char *decline_text(enum decline d);

/*
 * Why the online server did not accept a captured segment, which is therefore not replicated. One table:
 * enum, name, text.
 */
#define REFUSALS(X)                                                                                          \
	X(SEQUENCE, sequence, "outside any window that the server can have offered")                         \
	X(NO_ACK, no_ack, "no ACK flag")                                                                     \
	X(ACK, ack, "acknowledges what was never sent, or was acknowledged long ago")                        \
	X(PAWS, paws, "older timestamp than the server had seen (RFC 7323 PAWS)")                            \
	X(RST, rst, "a reset not at RCV.NXT, answered with a challenge ACK (RFC 5961)")                      \
	X(UNPROVED, unproved, "of a connection that the online server is not known to have")                 \
	X(RESET, reset, "after the online server had reset the connection")                                  \
	X(OPTION, option, "a source route, a malformed IP option, or authentication not negotiated")         \
	X(SYN, syn, "a SYN inside a connection, answered with a challenge ACK (RFC 5961)")

enum refusal {
#define X(id, name, text) REFUSAL_##id,
	REFUSALS(X)
#undef X
		REFUSAL_COUNT
};
/* Returns the name of @r, such as "no_ack". */
const char *refusal_name(enum refusal r);

/* The state of a live session, derived from its events. One table: enum, name, text. */
#define SESSION_STATES(X)                                                                                    \
	X(WAITING, waiting, "waiting for the previous session on the same port, or for its time (--spread)") \
	X(SYN_SENT, syn_sent, "waiting for the target's SYN-ACK")                                            \
	X(ESTABLISHED, established, "established")                                                           \
	X(CLIENT_CLOSED, client_closed, "the client has closed or reset")                                    \
	X(TARGET_CLOSED, target_closed, "the target has closed")                                             \
	X(CLOSING, closing, "both sides have closed")

enum session_state {
#define X(id, name, text) STATE_##id,
	SESSION_STATES(X)
#undef X
		STATE_COUNT
};

struct engine_counters {
#define X(field, text) uint64_t field;
	ENGINE_COUNTERS(X)
#undef X
	uint64_t ended[OUTCOME_COUNT];
	uint64_t lost_by_outcome[OUTCOME_COUNT]; /* bytes */
	uint64_t declined[DECLINE_COUNT];        /* times */
	uint64_t unjoined[DECLINE_COUNT];        /* bytes: unjoined_bytes by reason */
	uint64_t refused[REFUSAL_COUNT];         /* segments */
	struct hist capture_to_emit;             /* ns from capture to first emission of each data segment */
	struct hist spacing_error;               /* ns, of the time from one of these emissions to the next */
};

/* Which connections are joined in their middle. One table: enum, name as typed. */
#define ENGINE_JOINS(X)                                                                                      \
	X(AUTO, "auto") /* where the protocol allows it, or is not known */                                  \
	X(ALL, "all")                                                                                        \
	X(NONE, "none") /* none that is older than the engine */

enum engine_join {
#define X(id, name) ENGINE_JOIN_##id,
	ENGINE_JOINS(X)
#undef X
		ENGINE_JOIN_COUNT
};

struct engine_config {
	uint64_t hold;           /* ns since capture, after which a turn no longer waits; 0: never wait */
	uint64_t session_buffer; /* the most bytes of memory that one session may hold */
	unsigned max_half_open;  /* the most sessions whose client has not completed its handshake */
	unsigned max_observed;   /* the most connections that are observed and not joined yet */
	unsigned max_sessions;   /* the most sessions, observed connections included; 0: no limit */
	size_t max_memory;       /* bytes that all sessions and their data may hold; 0: no limit */
	uint32_t server_window;  /* bytes: the online server's largest possible receive window; 0: any */
	unsigned engines;        /* that send to the same targets, this one included; 0: one */
	bool prove;              /* replicate only what the online server is known to have, see proof.c */
	bool unproved;           /* with prove: believe what cannot be known */
	/*
	 * What is captured was recorded before: a target that is behind is waited for. So hold counts from
	 * when it acknowledged the turn before, or that was released, if that is later than the capture.
	 */
	bool recorded;
	uint16_t copy_mask; /* the bits of flow_key.copy that are not 0 in a further copy of a connection */
	enum engine_join join;  /* of targets that are not told otherwise */
	struct siphash_key key; /* random, for the flow table */
};

/* Identifies a session: which copy of which connection it is. */
struct flow_key {
	struct endpoint client, online;
	uint16_t target; /* index of engine_add_target() */
	uint16_t copy;   /* which copy of the connection, see engine_config.copy_mask */
};

/* The newest connection that had each outcome, or was declined for each reason. Time 0: none was. */
struct engine_example {
	struct flow_key key;
	uint64_t time; /* ns */
};
struct engine_examples {
	struct engine_example ended[OUTCOME_COUNT], declined[DECLINE_COUNT];
	/* and the newest whose target answered differently; in a row of such answers the first */
	struct engine_example differs[EXCHANGE_DIFFERENCE_COUNT];
	struct exchange answer[EXCHANGE_DIFFERENCE_COUNT]; /* of these */
};

/* What happened to the questions about the online server's sockets. One table: field, text. */
#define ENGINE_QUESTIONS(X)                                                                                  \
	X(asked, "questions asked")                                                                          \
	X(answered, "of these, answered in time")                                                            \
	X(overdue, "of these, not answered in time: \"unknown\"")                                            \
	X(withdrawn, "of these, withdrawn: the session ended, or asked again")                               \
	X(open, "of these, open")                                                                            \
	X(refused, "not asked, because too many were open: \"unknown\"")                                     \
	X(ignored, "answers to questions that were not open")

struct engine_questions {
#define X(field, text) uint64_t field;
	ENGINE_QUESTIONS(X)
#undef X
};
#define QUESTIONS_MOST 512 /* open at the same time */

/*
 * What the engine wants done. These are called from inside the engine_*() calls, and must not call back into
 * the engine.
 */
struct engine_ops {
	/* Send @t. @t is valid during the call, its payload until engine_flushed(). */
	void (*emit)(void *arg, const struct tx_segment *t);
	/*
	 * Tell the assistants that the responses of the tuple @response belong to session @id. src is the
	 * target, dst the session's source. @number + 1 is what the target acknowledges next: of a new
	 * session its SYN. Nobody else knows it, so it proves whose the responses are.
	 */
	void (*watch)(void *arg, uint64_t id, const struct tuple *response, uint32_t number);
	/*
	 * The same, but only on channels that came up since all sessions were announced last, see
	 * engine_channel_up(). Returns true if one of them brings these responses: then they may have been
	 * missed, and the session asks again. Like that of source_take, the answer is a look-up. NULL: there
	 * is one channel, and watch is called.
	 */
	bool (*announce)(void *arg, uint64_t id, const struct tuple *response, uint32_t number);
	/* Tell them that they no longer do. */
	void (*unwatch)(void *arg, uint64_t id, const struct tuple *response);
	/*
	 * May one more session be opened, where @live are live? DECLINE_COUNT: yes, and it will be if there
	 * is a source for it; else why not. A look-up as that of source_take. NULL: always. A session that
	 * goes on in the place of one whose target has closed is not asked for.
	 */
	enum decline (*admit)(void *arg, const struct flow_key *key, unsigned live, uint64_t now);
	/*
	 * Choose the source for a new session. False: none is free. If this is NULL, the source is the
	 * client's own endpoint. The answer is not an event: a session cannot be opened without a source, and
	 * its SYN is sent in the same step. It is a look-up in a table of the same worker.
	 */
	bool (*source_take)(void *arg, const struct flow_key *key, struct endpoint *source);
	/*
	 * Has a further copy of another connection the client's own endpoint, which *key is to have? Then its
	 * key is *holder; it ends, and source_take comes next. A look-up as that. May be NULL.
	 */
	bool (*source_holder)(void *arg, const struct flow_key *key, struct flow_key *holder);
	/* How much later than it could does the new session send its SYN and its turns, ns? NULL: 0. */
	uint64_t (*later)(void *arg, const struct flow_key *key);
	/* Send now what was emitted: memory is short, and its payload is not needed any more. May be NULL. */
	void (*flush)(void *arg);
	/*
	 * The same, for a session whose source another tcpcopy has: another source than the present one. That
	 * is given back after this. May be NULL.
	 */
	bool (*source_other)(void *arg, const struct flow_key *key, struct endpoint *source);
	/* The session no longer needs @source. May be NULL. */
	void (*source_give)(void *arg, const struct flow_key *key, const struct endpoint *source);
	/*
	 * Ask for the state of the online server's socket of this connection. @question is never 0 and never
	 * used again. The answer is engine_online_answer(): after this call has returned, at any time, in any
	 * order, or never. NULL: the server cannot be asked. The engine asks while captured bytes are
	 * missing, while segments are in doubt, about once a second at other times, about each quiet session
	 * after engine_capture_lost() and slowly at all times, and before it ends one for its silence.
	 */
	void (*online_ask)(void *arg, uint64_t question, const struct flow_key *key);
	/*
	 * May a packet be sent to the target with the index @target to learn whether packets of its size
	 * arrive? Of all engines that send there one does so at a time. A look-up as that of source_take;
	 * NULL: always.
	 */
	bool (*path_probe)(void *arg, unsigned target);
	/*
	 * That probe is over, or what is known of the way to @target has changed: *p is known. May be NULL.
	 */
	void (*path)(void *arg, unsigned target, const struct path *p);
	/* Session @s has its outcome. May be NULL. */
	void (*ended)(void *arg, const struct session *s, enum session_outcome o);
};

/* @ops and @arg must outlive the engine; @c is copied. Returns NULL if memory ran out. */
struct engine *engine_new(const struct engine_config *c, const struct engine_ops *ops, void *arg,
			  uint64_t now);
/* Frees all sessions without sending anything to the target; see engine_shutdown(). @e may be NULL. */
void engine_free(struct engine *e);

/*
 * Adds the target at @at. @mtu: bytes, of the path to it. Returns the target's index, or -1 if memory ran out
 * or there are 65535 targets.
 */
int engine_add_target(struct engine *e, const struct endpoint *at, uint32_t mtu);
/* Connections to the target with the index @target are joined in their middle as @join says. */
void engine_set_target_join(struct engine *e, unsigned target, enum engine_join join);
/*
 * The route to the target with the index @target now has the MTU @mtu, in bytes. @direct: no router is on the
 * way, so that such packets need no proof that they arrive; it is so until this is called.
 */
void engine_set_target_mtu(struct engine *e, unsigned target, uint32_t mtu, bool direct);
/* Another engine knows *p of the way to the target with the index @target. */
void engine_learn_path(struct engine *e, unsigned target, const struct path *p);
/* Returns how large packets the way to the target with the index @target takes. */
const struct path *engine_path(const struct engine *e, unsigned target);

/*
 * A segment of a client was captured. s->tuple goes from the client to the online server; k->client and
 * k->online must be the same endpoints. @s and its payload are not needed after the call.
 */
void engine_captured(struct engine *e, const struct flow_key *k, const struct segment *s, uint64_t now);

/* For each target: sessions for which a proof was found, and claims that were refused for lack of one. */
struct engine_proofs {
	uint64_t found, missing;
};
/* Returns the counters of the target with the index @target. */
const struct engine_proofs *engine_proofs(const struct engine *e, unsigned target);

/* For each target: what became of connections joined in mid-stream, see rejoin.c. */
struct engine_joins {
	uint64_t given_up; /* connections that are not joined again */
	uint64_t stops;    /* times that no connection was joined any more */
	bool stopped;      /* it is so now */
};
/* Returns them for the target with the index @target. */
const struct engine_joins *engine_joins(const struct engine *e, unsigned target);
/* What the sessions of the target with the index @target speak. */
const struct protocol_tally *engine_spoken(const struct engine *e, unsigned target);
/* What became of the exchanges of the target with the index @target. */
const struct exchange_tally *engine_exchanges(const struct engine *e, unsigned target);
/* For each target: how it copes. Each number has grown since the start. */
struct engine_pace {
	/*
	 * ns from when a turn went to the last byte of its answer, known when the next turn goes or the
	 * session ends; or until --hold let go the next one, where that was the whole of it
	 */
	struct hist answer;
	uint64_t released; /* turns that were let go, behind another one */
	uint64_t overdue;  /* of these, because --hold had passed */
	uint64_t begun;    /* sessions whose SYN was sent */
	uint64_t ended;    /* of these, ended */
	uint64_t refused;  /* of these, because the target refused the SYN */
	uint64_t reset;    /* because it reset the connection */
};
/* Returns it for the target with the index @target. */
const struct engine_pace *engine_pace(const struct engine *e, unsigned target);
/* Are there sessions whose clients wait for a proof? */
bool engine_waits_for_proof(const struct engine *e);

/*
 * The online server sent @s, a SYN-ACK, an RST or payload of any connection. s->tuple goes from the online
 * server to the client: it is the reverse of @k's. Of payload a sample is enough: where it begins an answer,
 * the class is counted (engine_spoken()).
 */
void engine_server(struct engine *e, const struct flow_key *k, const struct segment *s, uint64_t now);
/*
 * The same of an RST that was read ahead: engine_server() follows with it when all that was captured before
 * it has been handed over. The server did not take what was captured later.
 */
void engine_server_resets(struct engine *e, const struct flow_key *k, const struct segment *s);

/*
 * The prefetch functions are hints and change nothing. Called before a batch of engine_captured(), or of
 * engine_response(), they let the CPU fetch the memory of many sessions at the same time. This is the first
 * step for a captured segment. Returns a hint for the next steps.
 */
uint32_t engine_prefetch(const struct engine *e, const struct flow_key *k);
/* The second step: fetches the session. */
void engine_prefetch_session(const struct engine *e, uint32_t hint);
/* The third step: fetches what setting a timer of the session touches. */
void engine_prefetch_timer(const struct engine *e, uint32_t hint);
/* The first step for a response with the session id @id: fetches the session. */
void engine_prefetch_response(const struct engine *e, uint64_t id);
/* The second step: fetches the turn that it lets go, and the one that it acknowledges. */
void engine_prefetch_turn(const struct engine *e, uint64_t id);
/* The third step: fetches the turn behind that one. */
void engine_prefetch_turn_after(const struct engine *e, uint64_t id);

/* All segments captured before @until have been handed over. */
void engine_captured_all(struct engine *e, uint64_t until);

/*
 * Packets were lost recently, before they could be captured. The ends of connections may be among them, so
 * the engine asks about the sockets of all quiet sessions.
 */
void engine_capture_lost(struct engine *e, uint64_t now);

/*
 * Not all connections were shown until @now (ns): the first segment that is captured of one says nothing of
 * what was before.
 */
void engine_not_shown(struct engine *e, uint64_t now);

/*
 * A response record came over the channel. Records with an unknown id, and false ones, are counted and
 * ignored.
 */
void engine_response(struct engine *e, const struct response *r, uint64_t now);

/*
 * Another tcpcopy has the source of session @id at its target, and gets the responses. The session takes
 * another source, or ends.
 */
void engine_source_taken(struct engine *e, uint64_t id, uint64_t now);
/* The source of the session @id is none any more: nothing that the target answers comes to us. */
void engine_source_lost(struct engine *e, uint64_t id, uint64_t now);

/*
 * An assistant has no room to watch the responses of the session @id. @deaf: nobody else can hear them, so
 * the session ends at once. Otherwise another one may, and only if nothing comes is this the cause.
 */
void engine_unwatched(struct engine *e, uint64_t id, bool deaf, uint64_t now);

/*
 * The answer to a question of ops->online_ask. An answer that comes too late (the session has ended or has
 * asked again, or the engine has stopped waiting) is counted and ignored; so is any other number.
 */
void engine_online_answer(struct engine *e, uint64_t question, const struct online_answer *a, uint64_t now);

/* Does what is due: timers and portions of longer work. Call this at engine_next() or earlier. */
void engine_advance(struct engine *e, uint64_t now);
/* Returns when something is due next; UINT64_MAX: never. May be in the past: there is more to do at once. */
uint64_t engine_next(const struct engine *e);

/*
 * Everything emitted so far has been sent: its payload is no longer needed. Call this at the end of each
 * batch.
 */
void engine_flushed(struct engine *e);

/*
 * A channel to an assistant has come up. All live sessions are announced through ops->announce, in portions:
 * the first in this call, the others in calls of engine_advance() that are due at once. The channel is new
 * until all are announced, which engine_announcing() tells; others may come up meanwhile. @room: how many may
 * be announced before the next engine_channel_room(); UINT_MAX: all. New sessions are announced whether there
 * is room or not.
 */
void engine_channel_up(struct engine *e, unsigned room, uint64_t now);
/* From now on @room sessions may be announced. Must be called again and again while engine_announcing(). */
void engine_channel_room(struct engine *e, unsigned room, uint64_t now);
/* No assistant is connected any more: new connections are declined. */
void engine_channel_down(struct engine *e);

/* Ends every session: sends an RST to its target, with the outcome SHUTDOWN unless it has one already. */
void engine_shutdown(struct engine *e, uint64_t now);

/* What the engine has counted. The pointers are valid as long as @e. */
const struct engine_counters *engine_counters(const struct engine *e);
/* How far behind its capture was what was emitted for the first time last, ns. */
uint64_t engine_lag(const struct engine *e);
/* The newest connection with each outcome and each reason to decline. */
const struct engine_examples *engine_examples(const struct engine *e);
/* What happened to the questions about the online server's sockets. */
const struct engine_questions *engine_questions(const struct engine *e);
/* Live sessions: those that were opened and have no outcome yet. */
unsigned engine_sessions(const struct engine *e);
/* Sessions that have their outcome and are kept for a moment. */
unsigned engine_lingering(const struct engine *e);
/* Connections that are observed: older than the engine, or given up once, and not joined yet. */
unsigned engine_observed(const struct engine *e);
/* Are there sessions that have not been announced yet since engine_channel_up()? */
bool engine_announcing(const struct engine *e);
/* Bytes of memory that the sessions and their data hold. */
size_t engine_memory(const struct engine *e);
/* Payload bytes that are queued, and neither acknowledged nor given up. */
uint64_t engine_live_bytes(const struct engine *e);
/* Payload bytes of segments in doubt, see doubt.c. */
uint64_t engine_doubtful_bytes(const struct engine *e);
/* Turns that wait for the previous response. */
unsigned engine_turns_waiting(const struct engine *e);
/* Segments on their way that are to show whether packets of their size arrive. */
unsigned engine_path_probes(const struct engine *e);
/* Holes in the captured streams of live sessions. */
unsigned engine_holes_open(const struct engine *e);
/* Numbers of live sessions, by enum session_state. */
const unsigned *engine_states(const struct engine *e);

/* Checks every invariant of every session, and aborts if one is broken. For tests. */
void engine_check(const struct engine *e);

/* Returns the id of @s, by which responses find it. The engine reuses an id only after 2^32 sessions. */
uint64_t session_id(const struct session *s);
/* Returns the events of @s: a set of enum session_event. */
unsigned session_events(const struct session *s);
/* Returns the key of @s. */
const struct flow_key *session_key(const struct session *s);
/* Writes one line about @s into @buf, for traces and reports. Returns @buf. */
char *session_format(char *buf, size_t size, const struct session *s);
/* Returns the newest session of @k, or NULL. Valid until the next engine_*() call. */
struct session *engine_find(struct engine *e, const struct flow_key *k);

#endif
