#ifndef SESSION_STATE_IMPL_H
#define SESSION_STATE_IMPL_H

/* What the engine remembers of one session: the client's bytes that wait, and both ends' TCP. See impl.h. */
#include "base/share.h"
#include "base/table.h"
#include "base/util.h"
#include "base/wheel.h"
#include "compare/exchange.h"
#include "protocol/protocol.h"
#include "session/session.h"
#include "session/turn.h"
#include "stream/stream.h"

#define MAX_SACKED 8

/* A piece of the client's stream as captured, up to 64 KB. What is read of it begins at piece.seq. */
struct qseg {
	struct piece piece;   /* first: its place in the stream, and its bytes */
	uint64_t captured_at; /* ns */
	uint64_t sent_at;     /* ns, first transmission of its last byte; 0: not sent */
	uint64_t expect;      /* with turn: bytes of answer to wait for */
	uint64_t part;        /* with turn: so many of them came well before the last */
	uint32_t ack;         /* the client's, in the online server's space */
	uint32_t tsval;       /* 0 if the client uses no timestamps */
	uint32_t urgent_end;  /* sequence number behind the urgent data; valid with urg */
	uint16_t window;      /* raw */
	uint16_t ip_id;
	uint16_t gso_size; /* the client's segment size inside a super-packet; 0: a single one */
	bool turn : 1, psh : 1, urg : 1, resent : 1;
	uint32_t cost; /* bytes of its block, in which its chunk follows it, unless: */
};
#define QSEG_BYTES (sizeof(struct qseg) + sizeof(struct chunk)) /* of a block, without the payload */
#define QSEG_MAX_DATA UINT16_MAX                                /* as long as what an IPv4 packet can carry */

static inline struct qseg *qseg_of(struct piece *p)
{
	return (struct qseg *)(void *)p; /* NULL stays NULL */
}
static inline struct qseg *qseg_next(const struct qseg *q)
{
	return qseg_of(q->piece.next);
}
static inline struct chunk *qseg_inside(struct qseg *q)
{
	return (struct chunk *)(void *)(q + 1);
}
/* Is its payload in another block? */
static inline bool qseg_apart(const struct qseg *q)
{
	return (const void *)q->piece.chunk != (const void *)(q + 1);
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
	TIMER_RESET,   /* did the target's RST overtake what it had sent before? */
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
	struct protocol_state spoken; /* what the client speaks */
	struct qseg *next;            /* holds SND.NXT: the next to send; NULL: all sent */
	struct qseg *sent;            /* the last one that was sent whole; NULL: it is acknowledged */
	struct qseg *hold;            /* first of the turn that waits; NULL: none waits */
	uint32_t behind_ack;          /* the client's highest ack behind the hole; valid while there is one */
	uint32_t server_irs;          /* the online server's ISN; valid with has_server_irs */
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
	uint64_t part;    /* as in qseg, of the turn that is still to come */
	uint64_t read_at; /* ns, capture of the segment with which client_read grew last; 0: it did not */
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
	/* valid with TIMER_RESET on: of the target's RST; all that it says to have been taken */
	uint32_t reset_seq, reset_ack;
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
	uint64_t turn_at;      /* ns, when it went; 0: there is none, or it is a FIN */
	uint64_t answer_end;   /* ns, newest bytes of its answer; later than turn_at if there are any */
	struct patience patience;
	uint64_t patience_at; /* ns; its turns wait from then on, if that is later than their capture */

	/* time and loss */
	uint64_t srtt, rttvar;   /* ns; srtt 0: no sample yet */
	uint64_t ts_recent_at;   /* ns, when ts_recent came */
	uint64_t established_at; /* ns; valid with EV_ESTABLISHED */
	uint64_t progress_at;    /* ns, last time SND.UNA moved or the session started */
	struct recovery *rec;
	uint64_t rejoin_after; /* ns; observing: not before */
	uint64_t later;        /* ns, by how much its SYN and each of its turns leave later than they could */
	uint64_t start_at;     /* ns, not before does its SYN leave */

	uint32_t limit;         /* the target's path.limit that mss was made for */
	uint32_t trial_end;     /* valid with trial: where a small piece in place of a large one ends */
	uint16_t trial_size;    /* valid with trial: bytes of that large one's packet */
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
	uint8_t headers;  /* bytes of the IP and TCP header of each segment with data; 0: not known yet */
	uint8_t ttl, tos, client_wscale, target_wscale;
	uint8_t backoff; /* doublings of the RTO */
	uint8_t dup_acks;
	uint8_t n_doubts;
	uint8_t rejoins;       /* doublings of the pause, plus 1; 0: it has proved itself, or is the first */
	uint8_t failures, era; /* in a row, and when: they count in that era of the target only */
	uint64_t expected;     /* bytes of answer to the newest turn that was let go by it; 0: none was */
	/* valid with closes_each: what the target and the online server sent for the turn before */
	uint32_t here_before;
	uint64_t expected_before;
	uint8_t answers;         /* turns that the target has answered, up to 2 */
	uint8_t leftover_resets; /* since the last SYN time-out */
	uint8_t moves;           /* to another source */
	bool df : 1, client_ts : 1, client_ws : 1, client_sack : 1, client_mptcp : 1;
	bool trial : 1;
	bool ts_ok : 1, ws_ok : 1, sack_ok : 1; /* negotiated with the target */
	bool ack_now : 1, psh_seen : 1, tlp_armed : 1, tlp_out : 1, syn_resent : 1, syn_timed_out : 1,
		has_turn_ack : 1, watched : 1, has_source : 1, has_server_irs : 1, waits_for_proof : 1,
		joinable : 1, syn_data_taken : 1, found_gone : 1, found_there : 1, unasked : 1, fin_late : 1,
		lasting : 1, alike : 1, judged : 1, from_start : 1, greeted : 1, reset_bare : 1,
		closes_each : 1, by_pause : 1, in_parts : 1, by_short : 1, ends_short : 1, not_joined : 1,
		port_reused : 1; /* by a connection that may have no session */
	bool unwatched : 1;      /* an assistant has refused its watch, and nothing was heard since */
	struct syn_options *syn; /* of the replicated SYN, until it is answered */
};

/* What stands beside it, and is touched once a turn. */
struct session_slot {
	struct session session; /* first */
	struct exchange_state exchange;
};
static inline struct exchange_state *session_exchange(struct session *s)
{
	return &CONTAINER_OF(s, struct session_slot, session)->exchange;
}

#endif
