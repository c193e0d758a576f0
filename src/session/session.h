#ifndef SESSION_SESSION_H
#define SESSION_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hist.h"
#include "base/pool.h"
#include "base/siphash.h"
#include "packet/online.h"
#include "packet/response.h"
#include "packet/segment.h"

/*
 * The session engine: (event, now) in, actions out. The events are the engine_*() calls with a @now: a
 * captured segment, a response, an answer, the time. The actions are struct engine_ops. Pure: it makes no
 * system call, reads no clock, logs nothing; memory comes from a pool and from the growth of two tables.
 * One engine belongs to one worker. doc/SESSION.md describes it.
 */
struct engine;
struct session;

/* How a session ended. One table: enum, short name, text. */
#define SESSION_OUTCOMES(X)                                                                                  \
	X(COMPLETE, "complete", "both sides closed and the target acknowledged all data")                    \
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
	X(IDLE, "idle", "no segment from either side for two hours")                                         \
	X(PORT_REUSED, "port-reused", "the client reused its port before this session could end")            \
	X(SHUTDOWN, "shutdown", "tcpcopy ended while the session was live")

enum session_outcome {
#define X(id, name, text) OUTCOME_##id,
	SESSION_OUTCOMES(X)
#undef X
		OUTCOME_COUNT
};
const char *session_outcome_name(enum session_outcome o);
const char *session_outcome_text(enum session_outcome o);

/*
 * Events of a session's life, each at most once: how far it has come. What it is busy with beside that (a
 * turn that waits, a hole, a repair, eight timers, an open question) can come and go any number of times,
 * and stands in struct session. doc/SESSION.md has the table of what may follow what.
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
	X(sessions_unproved, "sessions that no proof came for, and that were replicated all the same")       \
	X(turns, "turns opened (requests that wait for the previous response)")                              \
	X(released_on_answer, "turns released because the target had responded")                             \
	X(released_on_pause, "turns released because the target's response was shorter and had paused")      \
	X(released_on_close, "turns released because the target had closed")                                 \
	X(released_on_deadline, "turns released because --hold had passed")                                  \
	X(turns_given_up, "turns never released, because their session ended first")                         \
	X(emitted_segments, "segments sent to targets (a super-packet counts once)")                         \
	X(emitted_acks, "of these, without data, SYN, FIN or RST")                                           \
	X(retransmitted_segments, "of these, retransmissions of data, SYN or FIN")                           \
	X(rto_fired, "retransmission timeouts")                                                              \
	X(probes_sent, "tail loss probes")                                                                   \
	X(window_probes, "zero-window probes")                                                               \
	X(fast_retransmits, "losses repaired by fast retransmit")                                            \
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
	X(SOURCE, source, "no free source address and port")                                                 \
	X(MEMORY, memory, "out of memory, or too many sessions")                                             \
	X(REFUSING, refusing, "the target refuses connections, and is tried only from time to time")         \
	X(NOT_THERE, not_there, "the online server has no such connection")                                  \
	X(UNPROVED, unproved, "the online server cannot be shown to have the connection (see --unproved)")   \
	X(OLD, old, "older than tcpcopy, with --no-join")                                                    \
	X(MIDDLE, middle, "in the middle of a turn; may be joined at the next one")

enum decline {
#define X(id, name, text) DECLINE_##id,
	DECLINES(X)
#undef X
		DECLINE_COUNT
};
const char *decline_name(enum decline d);
const char *decline_text(enum decline d);

/*
 * Why the online server did not take a captured segment, so that it is not replicated. One table: enum,
 * name, text.
 */
#define REFUSALS(X)                                                                                          \
	X(SEQUENCE, sequence, "outside any window that the server can have offered")                         \
	X(NO_ACK, no_ack, "no ACK flag")                                                                     \
	X(ACK, ack, "acknowledges what was never sent, or was acknowledged long ago")                        \
	X(PAWS, paws, "older timestamp than the server had seen (RFC 7323 PAWS)")                            \
	X(RST, rst, "a reset not at RCV.NXT, answered with a challenge ACK (RFC 5961)")                      \
	X(UNPROVED, unproved, "of a connection that the online server is not known to have")                 \
	X(OPTION, option, "a source route, or an authentication option that was not agreed on")              \
	X(SYN, syn, "a SYN inside a connection, answered with a challenge ACK (RFC 5961)")

enum refusal {
#define X(id, name, text) REFUSAL_##id,
	REFUSALS(X)
#undef X
		REFUSAL_COUNT
};
const char *refusal_name(enum refusal r);

/* What the live sessions do, by their events. One table: enum, name, text. */
#define SESSION_STATES(X)                                                                                    \
	X(WAITING, waiting, "waiting for the previous session on the same port")                             \
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
};

struct engine_config {
	uint64_t hold;           /* ns from capture after which a turn no longer waits; 0: never wait */
	uint64_t session_buffer; /* most bytes of memory that one session may hold */
	unsigned max_half_open;  /* most sessions whose client has not completed its handshake */
	unsigned max_sessions;
	size_t max_memory; /* bytes that sessions and their data may hold; 0: no limit */
	uint32_t
		server_window; /* bytes; the largest receive window that the online server can have; 0: any */
	bool prove;    /* replicate nothing that the online server is not known to have, see proof.c */
	bool unproved; /* with prove: but what cannot be known is believed */
	bool no_join;  /* decline connections older than the engine */
	struct siphash_key key; /* random, for the flow table */
};

/* Whose copy of whose connection a session is. */
struct flow_key {
	struct endpoint client, online;
	uint16_t target; /* index of engine_add_target() */
	uint16_t copy;   /* 0, 1, ... for multiplied copies */
};

/* The newest connection that met each end; time 0: none did. */
struct engine_example {
	struct flow_key key;
	uint64_t time; /* ns */
};
struct engine_examples {
	struct engine_example ended[OUTCOME_COUNT], declined[DECLINE_COUNT];
};

/* Questions about the online server's sockets: what has become of them. One table: field, text. */
#define ENGINE_QUESTIONS(X)                                                                                  \
	X(asked, "questions asked")                                                                          \
	X(answered, "of these, answered in time")                                                            \
	X(overdue, "of these, not answered in time: \"unknown\"")                                            \
	X(withdrawn, "of these, of no interest any more: the session ended, or asked anew")                  \
	X(open, "of these, open")                                                                            \
	X(refused, "not asked, since too many were open: \"unknown\"")                                       \
	X(ignored, "answers to questions that were not open")

struct engine_questions {
#define X(field, text) uint64_t field;
	ENGINE_QUESTIONS(X)
#undef X
};
#define QUESTIONS_MOST 512 /* open at the same time */

/*
 * What the engine wants done. Called from inside the engine_*() calls; they must not call back into the
 * engine.
 */
struct engine_ops {
	/* Send @t. It may go away after the call; its payload stays until engine_flushed(). */
	void (*emit)(void *arg, const struct tx_segment *t);
	/*
	 * Tell the assistants whose responses these are. @response: src = target, dst = the session's
	 * source.
	 */
	void (*watch)(void *arg, uint64_t id, const struct tuple *response);
	void (*unwatch)(void *arg, uint64_t id, const struct tuple *response);
	/*
	 * Choose the source for a new session; false: none is free. NULL op: the client's own endpoint. The
	 * one action with an answer of its own: the session cannot be opened without, its SYN leaves in the
	 * same step, and the answer is a look-up in a table of the same worker, which waits for nobody.
	 */
	bool (*source_take)(void *arg, const struct flow_key *key, struct endpoint *source);
	void (*source_give)(void *arg, const struct flow_key *key, const struct endpoint *source);
	/*
	 * Ask what the online server's socket of this connection says. The answer is engine_online_answer()
	 * with @question, which is never 0 and never used again: after this call has returned, at any time,
	 * in any order, or never. NULL op: it cannot be asked. Asked while captured bytes are missing,
	 * about once a second, and for each quiet session after engine_capture_lost().
	 */
	void (*online_ask)(void *arg, uint64_t question, const struct flow_key *key);
	/* A session has its outcome. May be NULL. */
	void (*ended)(void *arg, const struct session *s, enum session_outcome o);
};

/* NULL when out of memory. @now: ns. @ops and @arg must outlive the engine. */
struct engine *engine_new(const struct engine_config *c, const struct engine_ops *ops, void *arg,
			  uint64_t now);
/* frees all sessions without a word to the target; see engine_shutdown() */
void engine_free(struct engine *e);

/*
 * A target to send to; @mtu in bytes of the way there. Returns its index, or -1 (no memory, more than
 * 65535).
 */
int engine_add_target(struct engine *e, const struct endpoint *at, uint32_t mtu);
void engine_set_target_mtu(struct engine *e, unsigned target, uint32_t mtu);

/* A segment of a client was captured. s->tuple is client -> online; k->client and k->online equal it. */
void engine_captured(struct engine *e, const struct flow_key *k, const struct segment *s, uint64_t now);

/* For each target: sessions whose proof was found, and claims that were refused for want of one. */
struct engine_proofs {
	uint64_t found, missing;
};
const struct engine_proofs *engine_proofs(const struct engine *e, unsigned target);
/* Are there sessions whose clients wait for a proof? */
bool engine_waits_for_proof(const struct engine *e);

/*
 * The online server sent @s: a SYN-ACK or a RST, of any connection. s->tuple is online -> client, the
 * opposite of @k's.
 */
void engine_server(struct engine *e, const struct flow_key *k, const struct segment *s, uint64_t now);

/*
 * Ahead of a batch of engine_captured() or engine_response(), so that the memory of many sessions
 * is fetched at once: engine_prefetch() for each key, then engine_prefetch_session() for each with
 * what it returned; engine_prefetch_response() for each id. Hints only, nothing changes by them.
 */
uint32_t engine_prefetch(const struct engine *e, const struct flow_key *k);
void engine_prefetch_session(const struct engine *e, uint32_t hint);
void engine_prefetch_timer(const struct engine *e, uint32_t hint);
void engine_prefetch_response(const struct engine *e, uint64_t id);

/* All that was captured before @until has been handed over. */
void engine_captured_all(struct engine *e, uint64_t until);

/* Packets were lost before they could be captured, not long ago: ends of connections may be among them. */
void engine_capture_lost(struct engine *e, uint64_t now);

/* A response record came over the channel. */
void engine_response(struct engine *e, const struct response *r, uint64_t now);

/*
 * The answer to a question of ops->online_ask. One that comes too late, for the session has ended or asked
 * anew, or the time for it is over, changes nothing; neither does any other number.
 */
void engine_online_answer(struct engine *e, uint64_t question, const struct online_answer *a, uint64_t now);

/* Fire what is due. Call at engine_next() or earlier. */
void engine_advance(struct engine *e, uint64_t now);
uint64_t engine_next(const struct engine *e); /* ns; UINT64_MAX: nothing is due */

/* Everything emitted so far has left: its payload is no longer needed. Call at the end of each batch. */
void engine_flushed(struct engine *e);

/*
 * An assistant came up, or all are gone. Its connection is new, so all live sessions are announced through
 * ops->watch, in portions: one in this call, each further one in an engine_advance() that is due at once.
 * @room: so many of them may be announced; UINT_MAX: all. engine_channel_room() is the event that from now
 * on so many may; it has to come while engine_announcing(). New sessions are announced whether there is
 * room or not.
 */
void engine_channel_up(struct engine *e, unsigned room, uint64_t now);
void engine_channel_room(struct engine *e, unsigned room, uint64_t now);
void engine_channel_down(struct engine *e);

/* End every session: RST to the target, outcome SHUTDOWN (or the one it had). */
void engine_shutdown(struct engine *e, uint64_t now);

const struct engine_counters *engine_counters(const struct engine *e);
const struct engine_examples *engine_examples(const struct engine *e);
const struct engine_questions *engine_questions(const struct engine *e);
unsigned engine_sessions(const struct engine *e);  /* live: opened and without an outcome yet */
unsigned engine_lingering(const struct engine *e); /* with an outcome, kept briefly */
unsigned engine_observed(const struct engine *e);  /* connections older than the engine, not joined yet */
bool engine_announcing(const struct engine *e); /* sessions are still to be announced to a new connection */
size_t engine_memory(const struct engine *e);   /* bytes in blocks handed out by the pool */
/* payload bytes queued and neither acknowledged nor given up */
uint64_t engine_live_bytes(const struct engine *e);
uint64_t engine_doubtful_bytes(const struct engine *e); /* put aside, see doubt.c */
unsigned engine_turns_waiting(const struct engine *e);
unsigned engine_holes_open(const struct engine *e);
const unsigned *engine_states(const struct engine *e); /* live sessions by enum session_state */

/* Check every invariant of every session; aborts with assert() on a broken one. For tests. */
void engine_check(const struct engine *e);

/* For reports and tests. */
uint64_t session_id(const struct session *s);
unsigned session_events(const struct session *s);
const struct flow_key *session_key(const struct session *s);
char *session_format(char *buf, size_t size, const struct session *s); /* one line */
struct session *engine_find(struct engine *e, const struct flow_key *k);

#endif
