#ifndef SESSION_IMPL_H
#define SESSION_IMPL_H

/*
 * The inside of the session engine, for the files of this folder. The call order:
 *
 *   engine_captured()  client.c   what the client did      -> queue, turns
 *   engine_response()  target.c   what the target did      -> acknowledged, answered, closed
 *   engine_online_answer()  question.c  what the online server's socket said
 *   engine_advance()   timer.c    what the time does       -> time-outs
 *        each of them ends in
 *   session_step()     output.c   release turns, send what may be sent, acknowledge, finish
 *
 * queue.c holds the client's bytes in order, hole.c watches what is missing of them, unseen.c looks for
 * ends that were not captured, turn.c decides when a turn may go, handover.c saves what waits when the
 * target has closed, rejoin.c decides whether a connection may be joined, loss.c finds and repairs losses,
 * life.c owns the life of sessions: the one mutator of events, end and free.
 */
#include "base/share.h"
#include "base/slots.h"
#include "base/util.h"
#include "base/wheel.h"
#include "packet/seq.h"
#include "session/flow_table.h"
#include "session/rejoin.h"
#include "session/turn.h"
#include "session/session.h"
#include "stream/stream.h"

#define RTO_INITIAL (1000 * NS_PER_MS)   /* RFC 6298 2.1 */
#define RTO_AFTER_SYN (3000 * NS_PER_MS) /* RFC 6298 5.7: of the first data, where the SYN timed out */
#define RTO_FLOOR (200 * NS_PER_MS)      /* Linux's, below RFC 6298's 1 s */
#define RTO_CAP_ALIVE (1000 * NS_PER_MS) /* while anything of the target answers */
#define RTO_CAP_DEAD (8000 * NS_PER_MS)  /* while it is silent: cut short at its first sign of life */
#define ALIVE_WITHIN (3000 * NS_PER_MS)  /* heard of in this time: the target is alive */
#define SYN_GIVE_UP (60 * NS_PER_SEC)    /* from the first SYN, without an answer */
#define DATA_GIVE_UP (120 * NS_PER_SEC)  /* without progress (RFC 9293 3.8.3 asks for 100 s at least) */
#define TLP_FLOOR (10 * NS_PER_MS)
#define TLP_ACK_DELAY (40 * NS_PER_MS)  /* allowance for the target's delayed ACK, RFC 8985 7.2 */
#define ACK_DELAY (40 * NS_PER_MS)      /* Linux's minimum, RFC 9293 3.8.6.3 allows 500 ms */
#define ACK_DELAY_SHORT (4 * NS_PER_MS) /* where a segment of the client mostly follows at once */
#define HOLE_PATIENCE (3000 * NS_PER_MS)
#define HOLE_PATIENCE_KNOWN (60 * NS_PER_SEC) /* the server has not got the bytes: the client backs off */
#define HOLE_PATIENCE_ACKED (600 * NS_PER_MS) /* the client was answered: it would have sent again by now */
#define HALF_OPEN_LIFE (3000 * NS_PER_MS)
#define LINGER (1000 * NS_PER_MS) /* answers to a retransmitted FIN or a challenge ACK */
#define FIN_WAIT_2_LIFE (60 * NS_PER_SEC)
#define IDLE_LIFE (7500 * NS_PER_SEC) /* Linux's keep-alives begin after 7200 s, 131 s late at most */
#define TS_FORGOTTEN (24 * 24 * 3600 * NS_PER_SEC) /* RFC 7323 5.5: half the circle of a clock of 1 ms */
#define PROOF_AGE (10 * NS_PER_SEC)                /* capture is not that far behind */
#define GONE_AGAIN (1000 * NS_PER_MS)              /* until a socket that was gone is asked about again */
#define OBSERVE_LIFE (10 * NS_PER_SEC)             /* after it, silence says the same */
#define JOIN_SILENCE (200 * NS_PER_MS)
#define REFUSALS_FEW 16 /* in a row, of one target: then it is asked from time to time only */
#define REFUSED_PAUSE (100 * NS_PER_MS)
#define DUP_THRESH 3
#define JOIN_WSCALE 7
#define JOIN_WINDOW 512 /* raw: 64 KB at scale 7 */
#define MAX_SACKED 8
#define EVICT_LOOK 64                  /* sessions looked at when half-open ones have to make room */
#define TRIM_PERIOD (1000 * NS_PER_MS) /* memory that was not needed for so long is given back */
#define BELIEVE_WITHIN (1u << 30)
#define ANNOUNCE_AT_ONCE 128          /* sessions announced to a new connection in one go */
#define REVIVE_AT_ONCE 128            /* backed-off sessions that one sign of life helps */
#define REVIVE_APART (20 * NS_PER_US) /* between their repairs */
#define ADVANCE_AT_ONCE 128           /* timers that one engine_advance() serves */
#define ONLINE_MOST 8                 /* service addresses of one target */
#define SWEEP_ASKS 8                  /* questions in one portion of a sweep */

/* A piece of the client's stream as captured, up to 64 KB. What is read of it begins at piece.seq. */
struct qseg {
	struct piece piece;   /* first: its place in the stream, and its bytes */
	uint64_t captured_at; /* ns */
	uint64_t sent_at;     /* ns, first transmission of its last byte; 0: not sent */
	uint64_t expect;      /* with turn: bytes of answer to wait for */
	uint32_t ack;         /* the client's, in the online server's space */
	uint32_t tsval;       /* 0 if the client uses no timestamps */
	uint32_t urgent_end;  /* sequence number behind the urgent data; valid with urg */
	uint16_t window;      /* raw */
	uint16_t ip_id;
	uint16_t gso_size; /* the client's segment size inside a super-packet; 0: a single one */
	bool turn : 1, psh : 1, urg : 1, resent : 1;
};
#define QSEG_MAX_DATA UINT16_MAX /* as long as what an IPv4 packet can carry */

static inline struct qseg *qseg_of(struct piece *p)
{
	return (struct qseg *)(void *)p; /* NULL stays NULL */
}
static inline struct qseg *qseg_next(const struct qseg *q)
{
	return qseg_of(q->piece.next);
}
static inline uint32_t qseg_end(const struct qseg *q)
{
	return piece_end(&q->piece);
}

/* Exists only while something is being repaired: RFC 5681, 6582, 6675. */
struct recovery {
	bool active;   /* between the detection of a loss and the acknowledgment of `point` */
	bool by_rto;   /* everything not SACKed counts as lost */
	bool by_probe; /* everything below the SACK of a tail loss probe does */
	uint8_t n_sacked;
	uint32_t point;                       /* SND.NXT when the loss was found */
	uint32_t rtx_nxt;                     /* retransmitted up to here */
	struct qseg *again;                   /* holds what was retransmitted last; NULL: unknown */
	uint32_t cwnd, ssthresh;              /* bytes */
	uint32_t bytes_acked;                 /* since the last growth in congestion avoidance (RFC 3465) */
	struct sack_block sacked[MAX_SACKED]; /* ascending, disjoint, above SND.UNA */
};

/* What the online server's TCP knows of the client, as far as capture tells; see judge.c. */
struct judge {
	uint64_t ts_recent_at; /* ns; valid with has_ts */
	uint32_t window;       /* bytes; its largest possible receive window */
	uint32_t max_window;   /* bytes; the largest window that the client has offered */
	uint32_t edge;      /* and the right edge of them: what the server may have sent; valid with acked */
	uint32_t first_ack; /* valid with acked */
	uint32_t ts_recent; /* valid with has_ts */
	bool has_ts, acked;
	bool no_sack;  /* SACK was not agreed */
	bool has_auth; /* its segments are authenticated: MD5 or AO was agreed */
};

enum session_timer {
	TIMER_RTX,     /* retransmission time-out or tail loss probe */
	TIMER_PERSIST, /* zero window probe */
	TIMER_ACK,     /* delayed acknowledgment */
	TIMER_HOLD,    /* deadline of the turn that waits */
	TIMER_PAUSE,   /* has the answer paused? */
	TIMER_HOLE,    /* patience with a hole in the captured stream */
	TIMER_DOUBT,   /* did the online server take what was put aside? */
	TIMER_WAIT,    /* patience with the session before, on the same port */
	TIMER_LIFE,    /* half-open, FIN-WAIT-2, idle, linger, observation */
	TIMER_COUNT
};

struct syn_options {
	uint8_t len;
	uint8_t b[TCP_MAX_OPTIONS_LEN];
};

/* Who asks about the online server's socket of a session. */
enum asker { ASKER_HOLE, ASKER_UNSEEN, ASKER_DOUBT, ASKER_LIFE, ASKERS };

/* An open question. */
struct question {
	uint64_t id;      /* 0: this place is free */
	uint64_t session; /* its id */
	uint64_t asked;   /* ns */
	enum asker by;
};

struct rule_memory;

struct target {
	struct endpoint at;
	uint32_t mtu;
	uint64_t last_heard; /* ns; 0: never */
	uint64_t ask_after;  /* ns; no session opens before; valid from REFUSALS_FEW refusals on */
	struct engine_proofs proofs;
	unsigned unproved; /* sessions opened by a SYN that wait for their proof */
	unsigned refusals; /* in a row */
	/* what is known of online endpoints, the newest in place of the oldest */
	struct online_endpoint {
		struct endpoint at;
		bool elsewhere; /* it has connections that have no socket on this host; else it has sockets */
	} online[ONLINE_MOST];
	unsigned n_online, online_next;
	struct joins joins;
	uint64_t ask_at;            /* ns, not before is a question asked only to learn of them */
	bool client_first;          /* on the last connection the client's data came before the target's */
	struct session *backed_off; /* sessions whose RTO is backed off beyond RTO_CAP_ALIVE */
	bool reviving;              /* it was silent, and not all of these have been helped yet */
	struct rule_memory *memory;
};

struct session {
	struct table_node by_key; /* in the flow table, unless a newer one of its key has its place */
	struct flow_key key;
	uint64_t id;
	struct wheel_node node;                      /* armed for the earliest of deadline[] */
	uint64_t deadline[TIMER_COUNT];              /* ns; 0: off */
	struct endpoint source;                      /* towards the target */
	struct session *pred, *succ;                 /* sessions of the same key: older, newer */
	struct session *backoff_next, *backoff_prev; /* in its target's list; both NULL: alone, or in none */
	uint32_t events;                             /* EV_, changed by session_event() only */
	enum session_outcome outcome : 8;            /* valid with EV_ENDED; with EV_CUT the one to come */

	/*
	 * the client's stream: in order from SND.UNA on (its head may be partly acknowledged) to stream.nxt
	 */
	struct stream stream;
	struct qseg *next;   /* holds SND.NXT: the next to send; NULL: all sent */
	struct qseg *sent;   /* the last one that was sent whole; NULL: it is acknowledged */
	struct qseg *hold;   /* first of the turn that waits; NULL: none waits */
	uint32_t behind_ack; /* the client's highest ack behind the hole; valid while there is one */
	uint32_t server_irs; /* the online server's ISN; valid with has_server_irs */
	/* TSvals of its first and its newest SYN-ACK; valid with has_server_irs and judge.has_ts */
	uint32_t server_ts[2];
	uint32_t iss;         /* of the replicated SYN = the client's */
	struct doubt *doubts; /* segments put aside until it is known whether the server took them */
	struct judge judge;
	uint32_t held;        /* bytes of pool blocks in the queues */
	uint32_t aside;       /* and in doubts */
	uint32_t payload;     /* bytes of the pieces in the queues */
	uint32_t collapse_at; /* bytes held, at which tiny pieces are put together; 0: COLLAPSE_FROM */
	struct share share;   /* of its account, in KiB; see memory.c */
	uint32_t not_taken;   /* captured bytes that found no room; the session ends in the same step */
	uint32_t turn_ack;    /* the client's ack when the newest turn opened */
	/* answer bytes that the client had read before it reset, or went on behind the cut */
	uint64_t rst_expect;
	/* all that it has acknowledged, and how much of that when the newest turn opened */
	uint64_t client_read, turn_read;
	/* ns, capture of the RST, or the cut; both valid with EV_CLIENT_RST or EV_CUT */
	uint64_t rst_at;
	uint64_t server_reset_at; /* ns, capture of the server's RST, which is to be told later; 0: none */
	uint64_t captured_last;   /* ns, newest segment of the client */
	uint64_t proved_at;       /* ns, capture of the segment that was the proof; valid with EV_PROVED */
	uint64_t gone_at;         /* ns, when its socket was found gone; valid with found_gone */
	uint64_t asked_at;        /* ns, when it was last asked about for being quiet; 0: never */
	uint64_t hole_since;      /* ns; 0: no hole */
	/*
	 * ns, when the online server was found to have what is missing, or, with no hole, no socket of it;
	 * 0: not
	 */
	uint64_t hole_proof;
	uint32_t client_ack; /* highest seen */
	uint32_t flow_label; /* newest */

	/* towards the target (RFC 9293 3.3.1 names) */
	uint32_t snd_una, snd_nxt, snd_wnd, snd_wl1, snd_wl2;
	uint32_t snd_wnd_max; /* the largest that the target has offered; RFC 5961's MAX.SND.WND */
	uint32_t rcv_nxt;     /* max(seq + len) seen */
	uint32_t irs;
	uint32_t leftover_ack; /* SEG.ACK of the last one; valid with leftover_resets */
	uint32_t ts_emitted, ts_recent;
	uint32_t ack_emitted; /* acknowledgment number last sent */
	uint32_t window_edge; /* ack_emitted + window advertised with it, bytes */
	uint32_t window_most; /* the highest of them: the target may send up to here */

	/* the answer to the newest released turn */
	uint32_t turn_start;   /* where the released turn begins; ISS before the first */
	uint32_t fin_rcv_nxt;  /* RCV.NXT when the FIN went at its deadline; valid with fin_late */
	uint32_t turn_end;     /* where it ends, as far as captured */
	uint64_t answered;     /* bytes whose ack covers turn_end */
	uint64_t answered_any; /* bytes whose ack is above turn_start; with `unasked` others came, too */
	uint64_t answer_last;  /* ns, newest answer bytes */
	struct patience patience;
	uint64_t patience_at; /* ns; its turns wait from then on, if that is later than their capture */

	/* time and loss */
	uint64_t srtt, rttvar;   /* ns; srtt 0: no sample yet */
	uint64_t ts_recent_at;   /* ns, when ts_recent came */
	uint64_t established_at; /* ns; valid with EV_ESTABLISHED */
	uint64_t progress_at;    /* ns, last time SND.UNA moved or the session started */
	struct recovery *rec;
	uint64_t rejoin_after; /* ns; observing: not before */

	uint16_t mss;           /* payload of one segment towards the target */
	uint16_t rcv_mss;       /* payload of a full segment from the target */
	uint16_t peer_mss;      /* the target's MSS option */
	uint16_t client_mss;    /* the client's, 0: not known */
	uint16_t client_window; /* raw, newest */
	uint16_t syn_window;
	uint16_t syn_data; /* bytes of payload in the client's SYN */
	uint16_t ip_id;    /* last one emitted */
	uint16_t question
		[ASKERS]; /* place of each one's open question in engine.question[], plus 1; 0: none */
	uint8_t ttl, tos, client_wscale, target_wscale;
	uint8_t backoff; /* doublings of the RTO */
	uint8_t dup_acks;
	uint8_t n_doubts;
	uint8_t rejoins;       /* doublings of the pause, plus 1; 0: it has proved itself, or is the first */
	uint8_t failures, era; /* in a row, and when: they count in that era of the target only */
	uint8_t answers;       /* turns that the target has answered, up to 2 */
	uint8_t leftover_resets; /* since the last SYN time-out */
	uint8_t moves;           /* to another source */
	bool df : 1, client_ts : 1, client_ws : 1, client_sack : 1, client_mptcp : 1;
	bool ts_ok : 1, ws_ok : 1, sack_ok : 1; /* negotiated with the target */
	bool ack_now : 1, psh_seen : 1, tlp_armed : 1, tlp_out : 1, syn_resent : 1, syn_timed_out : 1,
		has_turn_ack : 1, watched : 1, has_source : 1, has_server_irs : 1, waits_for_proof : 1,
		joinable : 1, syn_data_taken : 1, found_gone : 1, unasked : 1, fin_late : 1, lasting : 1,
		alike : 1, judged : 1, from_start : 1, greeted : 1;
	struct syn_options *syn; /* of the replicated SYN, until it is answered */
};

/* A SYN-ACK of the online server whose SYN has not been captured yet. */
struct early_reply {
	struct flow_key key;
	uint64_t time; /* ns; 0: none */
	uint32_t seq, ack;
	uint32_t tsval;
	bool has_ts, has_sack, has_wscale, has_mptcp;
	uint8_t wscale;
};
#define EARLY_REPLIES 65536u /* in sets of EARLY_WAYS, by a hash of their key; the oldest makes room */
#define EARLY_WAYS 16u

struct engine {
	struct engine_config cfg;
	const struct engine_ops *ops;
	void *arg;
	struct pool *pool;      /* what sessions hold: counted and limited */
	struct pool *store;     /* the sessions themselves and their table; their number is limited */
	struct slots *sessions; /* by the low half of their ids */
	struct wheel *wheel;
	struct flow_table *flows;
	uint32_t generation;
	struct target *target;
	unsigned n_targets;
	unsigned live, lingering, observed, half_open;
	unsigned by_state[STATE_COUNT]; /* the live ones */
	unsigned turns_waiting, holes_open;
	uint64_t started_at, live_bytes;
	struct early_reply *early;   /* EARLY_REPLIES of them; NULL: without prove */
	uint64_t doubts_asked_until; /* ns; doubt.c: the rate of its questions */
	uint64_t doubt_bytes;        /* payload in doubts */
	uint64_t captured_until;     /* ns, all that was captured before has been processed */
	bool channel;
	bool announcing;         /* not all sessions are announced */
	uint32_t announce_from;  /* the next one's place */
	uint32_t announce_until; /* behind the last one's, unless: */
	bool announce_again;     /* the places from the first on come after the last one */
	unsigned announce_room;  /* so many may be now */
	uint64_t announce_at;    /* ns, the next portion; UINT64_MAX: all are, or there is no room */
	uint64_t announce_since; /* ns, when the first of the channels came up that have not heard of all */
	struct piece *limbo;     /* given up, but perhaps emitted and not flushed yet */
	size_t limbo_bytes;
	uint64_t trim_at;       /* ns, when the pool may give memory back; UINT64_MAX: it has none to give */
	struct share_whole all; /* what sessions hold, by rule; see memory.c */
	struct table *accounts;
	uint32_t shed_hand, evict_hand;
	struct question question[QUESTIONS_MOST];
	uint64_t question_number; /* the last one's id */
	uint64_t overdue_at;      /* ns, not later than the time of any open one is over */
	bool sweeping;            /* unseen.c: a round is under way */
	uint32_t sweep_hand;      /* the next to look at */
	unsigned sweep_round;     /* rounds begun since packets were last lost */
	uint64_t sweep_at;        /* ns, the next portion; UINT64_MAX: none */
	uint32_t patrol_hand;     /* the same, of those that are quiet for long */
	uint64_t patrol_at;       /* ns, the next portion of these; UINT64_MAX: none */
	uint64_t patrol_next;     /* ns, when the first of those is due that have been passed */
	uint64_t lost_at;         /* ns, when packets were last known to be lost */
	struct engine_counters n;
	struct engine_questions questions;
	struct engine_examples examples;
};

/*
 * In all of these @now and other times are ns of the engine's clock. Sequence and acknowledgment numbers
 * are in host byte order, and in the client's space unless a comment says otherwise. One thread calls them.
 * A _timeout() is called when its timer fires, an _answered() with answer @a to what was asked at @asked.
 */

/* life.c */
/* An observing session of connection @k, which the flow table finds from now on. NULL: no memory. */
struct session *session_new(struct engine *e, const struct flow_key *k, uint64_t now);
void session_event(struct engine *e, struct session *s,
		   enum session_event ev); /* the one mutator; @ev is new */
/* @half_open: the client has not completed its handshake yet. False: declined for the reason in *@why. */
bool session_open(struct engine *e, struct session *s, bool half_open, enum decline *why, uint64_t now);
void session_declined(struct engine *e, const struct flow_key *k, enum decline why, uint64_t now);
enum session_state session_state(uint32_t events);                     /* of a live session */
void session_start(struct engine *e, struct session *s, uint64_t now); /* the SYN, now or behind its pred */
/*
 * @s, which has not ended, ends with outcome @o: the target gets an RST where that asks for one, what is
 * queued counts as lost, and the session lingers for late responses.
 */
void session_end(struct engine *e, struct session *s, enum session_outcome o, uint64_t now);
/*
 * @s, which is established, ends with outcome @o and begins anew as joined, with another id and what its
 * client has sent; the caller has to begin its stream and to start it. False: no session can begin now, and
 * nothing has happened.
 */
bool session_again(struct engine *e, struct session *s, enum session_outcome o, uint64_t now);
/*
 * Look for the next turn of a client whose session @s has ended or will; not before a growing pause, unless
 * the target has answered since it was opened and @at_once says so. NULL: no memory.
 */
struct session *session_observe_again(struct engine *e, struct session *s, bool at_once, uint64_t now);
void session_announce(struct engine *e, uint64_t now);
void session_free(struct engine *e, struct session *s);             /* nobody may hold it */
struct session *session_by_id(const struct engine *e, uint64_t id); /* NULL: it is gone */
static inline bool session_observing(const struct session *s)
{
	return s->events == 0;
}
/*
 * Bytes of answer that the client had read when it sent @ack, since the newest turn opened; negative:
 * before. The ack itself cannot tell after 2 GiB, but the acks in between, each of which is near the one
 * before, can.
 */
static inline int64_t session_read(const struct session *s, uint32_t ack)
{
	return (int64_t)(s->client_read - s->turn_read) - (int32_t)(s->client_ack - ack);
}
static inline struct qseg *session_head(const struct session *s)
{
	return qseg_of(s->stream.head);
}
static inline bool session_has_hole(const struct session *s)
{
	return s->stream.last != NULL;
}
static inline struct target *session_target(const struct engine *e, const struct session *s)
{
	return &e->target[s->key.target];
}

/* queue.c */
enum queue_result { QUEUE_OLD, QUEUE_NEW, QUEUE_BEHIND_HOLE, QUEUE_NO_MEMORY, QUEUE_FULL };
uint32_t qseg_cost(const struct qseg *q); /* What it takes of -m, bytes. */
/* Takes what is new of captured @g, and its FIN where the capture is whole: linked in order (QUEUE_NEW), */
/* kept, nothing; QUEUE_FULL, QUEUE_NO_MEMORY: not all could be kept. */
enum queue_result queue_put(struct engine *e, struct session *s, const struct segment *g);
/* The target acknowledged all below @ack, in (SND.UNA, SND.NXT]. Also takes an RTT sample (RFC 6298 3). */
void queue_acked(struct engine *e, struct session *s, uint32_t ack, uint64_t now);
void queue_drop(struct engine *e, struct session *s); /* everything, counted as lost */
/* What stands before @from, counted as lost; all from there on has not been sent. */
void queue_drop_before(struct engine *e, struct session *s, const struct qseg *from);
/*
 * What lies behind the hole, counted as lost. *@end, *@ack: the sequence number behind it and the highest
 * ack in it.
 */
void queue_cut(struct engine *e, struct session *s, uint32_t *end, uint32_t *ack);

/* Has the target closed without an answer to the last turn, whose end the FIN did not wait for longer? */
bool turn_unanswered(const struct session *s);
/* The stream begins anew, on another connection, with its head. */
void turn_begin_again(struct engine *e, struct session *s, uint64_t now);

/* handover.c */
/* The turn that waits is not one for this connection: the target has closed it. */
bool handover_waits(const struct session *s);
/* With handover_waits(): when, in ns, it goes even if not all before it is acknowledged. */
uint64_t handover_deadline(const struct engine *e, const struct session *s);
/* True: what waits has gone to a connection of its own, and @s is that now, or has ended. */
bool handover(struct engine *e, struct session *s, uint64_t now);
void handover_reset(struct engine *e, struct session *s, const struct response *r, uint64_t now); /* by @r */

/* hole.c */
/* Captured data was queued, RCV.NXT was @old_nxt before: a hole opens, is filled, or the next one is met. */
void hole_watch(struct engine *e, struct session *s, uint32_t old_nxt, uint64_t now);
void hole_close(struct engine *e, struct session *s); /* the session ends: what is missing stays missing */
void hole_timeout(struct engine *e, struct session *s, uint64_t now);
void hole_answered(struct engine *e, struct session *s, const struct online_answer *a, uint64_t asked,
		   uint64_t now);
/* Has all been processed that was captured before @at? Or that long ago that it does not matter. */
bool captured_all_before(const struct engine *e, uint64_t at, uint64_t now);
/* The client's stream ends where it is. @observe: the client goes on, and its next turn is awaited. */
void hole_cut(struct engine *e, struct session *s, enum session_outcome o, bool observe, uint64_t now);

/* question.c */
/*
 * Ask about the online server's socket of @s; the asker's *_answered() follows, once, later than this call,
 * unless the question is withdrawn. False: it cannot be asked, or not now, and nothing follows.
 */
bool question_ask(struct engine *e, struct session *s, enum asker by, uint64_t now);
void question_withdraw(struct engine *e, struct session *s, enum asker by); /* if there is one */
void question_withdraw_all(struct engine *e, struct session *s);
void question_follow(struct engine *e, const struct session *s); /* @s has another id now */
void question_overdue(struct engine *e, uint64_t now);           /* they are answered by ONLINE_UNKNOWN */
static inline bool question_is_open(const struct session *s, enum asker by)
{
	return s->question[by] != 0;
}
/* Does @a tell the server's RCV.NXT? In the client's sequence space; not that of a joined session. */
bool question_received(const struct session *s, const struct online_answer *a, uint32_t *rcv_nxt);

/* unseen.c */
/* @g of @s, whose socket was found gone, is taken: does its client go on all the same? */
void unseen_goes_on(struct engine *e, struct session *s, const struct segment *g);
/* The word of @a as far as it is to be believed; and what it tells of the online endpoint of @s. */
enum online_word unseen_believed(struct engine *e, struct session *s, const struct online_answer *a,
				 uint64_t asked);
void unseen_begins(struct engine *e, uint64_t now); /* a session does whose client may fall silent */
/* The client of @s sends: ask now and then whether its socket can be asked about at all. */
void unseen_learn(struct engine *e, struct session *s, uint64_t now);
void unseen_sweep(struct engine *e, uint64_t now);  /* a portion of those that are quiet since a loss */
void unseen_patrol(struct engine *e, uint64_t now); /* of those that are quiet for long */
void unseen_timeout(struct engine *e, struct session *s, uint64_t now);
void unseen_answered(struct engine *e, struct session *s, const struct online_answer *a, uint64_t asked,
		     uint64_t now);
/* TIMER_LIFE fired: the session was silent for its time. It ends, unless the server has its socket. */
void unseen_life_over(struct engine *e, struct session *s, uint64_t now);
void unseen_life_answered(struct engine *e, struct session *s, const struct online_answer *a, uint64_t asked,
			  uint64_t now);

/* output.c */
/* Ends every entry into the engine: release, repair, send, acknowledge and finish what the state allows. */
void session_step(struct engine *e, struct session *s, uint64_t now);
void output_syn(struct engine *e, struct session *s, uint64_t now);
void output_ack(struct engine *e, struct session *s, uint64_t now); /* of RCV.NXT, RFC 9293 3.8.6.3 */
/* Send an RST with sequence number @seq, and with the ACK of RCV.NXT if @with_ack. */
void output_rst(struct engine *e, struct session *s, uint32_t seq, bool with_ack, uint64_t now);
/* TIMER_PERSIST fired: probe a shut window, or use a small one (RFC 9293 3.8.6.1, 3.8.6.2.1). */
void output_window_probe(struct engine *e, struct session *s, uint64_t now);
/* (Re)send up to @max payload bytes from @seq on (below SND.NXT). Returns sequence space sent. */
uint32_t output_resend(struct engine *e, struct session *s, uint32_t seq, uint32_t max, uint64_t now);
void output_negotiated(struct engine *e, struct session *s); /* MSS from options, MTU and SYN-ACK */
/* The way to the target may have become narrower: to be called before anything is sent. */
void output_mtu(const struct engine *e, struct session *s);

/* loss.c */
void loss_rtt_sample(struct session *s, uint64_t rtt); /* ns, RFC 6298 2 */
/* SND.UNA has moved on from @old_una: end or go on with a recovery, and let the congestion window grow. */
void loss_acked(struct engine *e, struct session *s, uint32_t old_una, uint64_t now);
/*
 * Take the SACK blocks of @r, whose ack was not taken yet. True: they tell of bytes that were not known to
 * have arrived, which makes @r a duplicate ACK (RFC 6675 2).
 */
bool loss_sack(struct engine *e, struct session *s, const struct response *r, uint64_t now);
void loss_dup_ack(struct engine *e, struct session *s, unsigned n, uint64_t now);
void loss_timeout(struct engine *e, struct session *s, uint64_t now); /* TIMER_RTX fired */
void loss_send(struct engine *e, struct session *s, uint64_t now);    /* retransmit what recovery allows */
uint32_t loss_window(const struct session *s); /* bytes of new data that the congestion window allows */
/* Set TIMER_RTX anew: tail loss probe (RFC 8985 7), time-out (RFC 6298 5), or off with nothing in flight. */
void loss_rearm(struct engine *e, struct session *s, uint64_t now);
void loss_target_alive(struct engine *e, struct target *t, uint64_t now); /* it was silent, and speaks */
void loss_backoff_unlink(struct engine *e, struct session *s);
void loss_free(struct engine *e, struct session *s);
/* client.c */
/* Segment @g of a session that goes on, taken by the online server. */
void client_taken(struct engine *e, struct session *s, const struct segment *g, uint64_t now);
/* Segment @g of an observed connection is not replicated, for the reason @why. */
void client_observed(struct engine *e, struct session *s, const struct segment *g, enum decline why,
		     uint64_t now);
void client_segment(struct engine *e, struct session *s, const struct segment *g, uint64_t now);
void client_observe(struct engine *e, struct session *s, const struct segment *g, uint64_t now);
void client_unjoined(struct engine *e, const struct segment *g, enum decline why); /* not replicated */
/* The online server took @g, the data of a SYN (RFC 7413). */
void client_syn_data(struct engine *e, struct session *s, const struct segment *g, uint64_t now);

/* proof.c */
enum proof { PROOF_UNKNOWN, PROOF_GIVEN, PROOF_FALSE };
/* What the client of @s sends has to wait: the online server is not known to have the connection. */
bool proof_needed(const struct engine *e, const struct session *s);
/* Did @g, which acknowledges more than the server's ISN, come before what was the proof of @s? */
bool proof_is_undone(const struct session *s, const struct segment *g);
void proof_look_back(struct engine *e, struct session *s,
		     uint64_t now); /* was its SYN answered before it came? */
/* The server has answered @syn of @k, which was captured after that answer. */
bool proof_is_early(struct engine *e, const struct flow_key *k, const struct segment *syn, uint64_t now);
/* Session @s was opened by a SYN: send ours, now or when there is proof. */
void proof_begin(struct engine *e, struct session *s, uint64_t now);
void proof_found(struct engine *e, struct session *s, uint64_t at, uint64_t now); /* @at: of its capture */
void proof_handshake(struct engine *e, struct session *s,
		     uint64_t now); /* the target's SYN-ACK was accepted */
/* What segment @g of the client says about the server's ISN, if that is known. */
enum proof proof_of_segment(const struct session *s, const struct segment *g);
bool proof_by_state(const struct online_answer *a); /* Is that a socket whose handshake is complete? */

/* judge.c */
enum verdict {
	VERDICT_TAKEN,
	VERDICT_OLD,
	VERDICT_ABORT, /* the server resets the connection for it */
	VERDICT_DOUBTFUL,
	VERDICT_REFUSED,
};
/* The connection begins with @first, a SYN or the first captured segment. @window: see engine_config. */
void judge_begin(struct session *s, const struct segment *first, uint32_t window);
/* *@why: the reason if it is doubtful or refused. */
enum verdict judge_segment(const struct session *s, const struct segment *g, enum refusal *why);
bool judge_rst_is_exact(const struct session *s, uint32_t seq); /* RFC 5961 3.2 */
/* The server took @g, whose bytes are not in the stream yet: remember what it tells. */
void judge_taken(struct session *s, const struct segment *g);

/* doubt.c */
void refuse_segment(struct engine *e, const struct segment *g, enum refusal why);
/* Put @g, which was refused if the server saw what we saw, aside with a copy of its payload. */
void doubt_put(struct engine *e, struct session *s, const struct segment *g, enum refusal why, uint64_t now);
void doubt_check(struct engine *e, struct session *s, uint64_t now); /* ask, and decide what can be decided */
/* The online server's ISN is known now: decide what waited for it. */
void doubt_server_spoke(struct engine *e, struct session *s, uint64_t now);
/* @s is proved: decide what came before that. False: the session is over. */
bool doubt_proved(struct engine *e, struct session *s, uint64_t now);
/* The server accepted the SYN before @ack: is it one that is in doubt? Then it is taken. */
bool doubt_syn_answered(struct engine *e, struct session *s, uint32_t ack, uint64_t now);
void doubt_drop(struct engine *e, struct session *s); /* refuse them all */
bool doubt_room(const struct session *s);             /* for one more */
/* @s is observed: what is in doubt is not replicated, and the connection is joined later. */
void doubt_pass(struct engine *e, struct session *s, uint64_t now);
void doubt_timeout(struct engine *e, struct session *s, uint64_t now);
void doubt_answered(struct engine *e, struct session *s, const struct online_answer *a, uint64_t asked,
		    uint64_t now);

/* timer.c */
/* Timer @t of @s fires at @at, ns, not 0, or a tick later; it may be running. */
void timer_set(struct engine *e, struct session *s, enum session_timer t, uint64_t at);
void timer_off(struct session *s, enum session_timer t);
void timer_off_all(struct engine *e, struct session *s);
static inline bool timer_on(const struct session *s, enum session_timer t)
{
	return s->deadline[t] != 0;
}

#endif
