#ifndef SIM_REFEREE_H
#define SIM_REFEREE_H

#include "sim.h"

#include "packet/seq.h"

/*
 * What is known of each session from outside: what the engine was told, what it sent, what the target
 * answered. referee.c describes the whole. Shared by the referee_*.c files; the others call what sim.h
 * declares.
 */

/* How late a timer of the engine may be: the wheel counts ticks. */
#define LATE_TICKS (2 * 131072ull)

/* A segment of a client that the engine was told of. */
struct told {
	uint64_t time;  /* ns */
	bool begins[2]; /* a session, by target */
	uint32_t seq, len, ack;
	uint16_t window, ip_id, gso_size, urgent;
	uint8_t flags, ttl, tos;
	struct tcp_options opt;
	bool df, whole, doubtful;
	uint32_t flow_label;
};

/* A turn that has not been sent yet. */
struct turn {
	uint32_t seq, expect, ack;
	bool data;     /* not only a FIN */
	uint64_t at;   /* ns, of its capture */
	uint32_t part; /* bytes of the online answer that came well before the last */
};

/* What was sent and not acknowledged, as far as it ended where the client's segment did. */
struct flown {
	uint32_t start, end;
	uint64_t at;      /* ns, when its last byte was sent first */
	bool again, open; /* open: more of the client's segment follows */
};

/* The sender's side, as RFC 5681, 6298, 6582, 6675 and 8985 have it. */
struct sender {
	uint32_t una, nxt, wnd, most_wnd, wl1, wl2, mss;
	uint64_t srtt, rttvar, progress_at;
	unsigned backoff, dups;
	bool exact; /* every sample of the round-trip time is known */
	bool probe_is_due, probe_out, syn_again, syn_timed_out;
	uint64_t due, due_late; /* ns, the retransmission timer and when it must have fired; 0: off */
	bool backed_off, sent_new;
	bool active, by_rto, by_probe;
	uint32_t point, repaired, cwnd, ssthresh, grown;
	unsigned n_sacked;
	struct range sacked[9];
	struct flown *flown;
	unsigned n_flown, flown_size;
	uint64_t override_at;             /* ns, when it had not gone for long enough */
	uint64_t looked_at, stalled_from; /* ns, before stalled: it was known not to */
	uint64_t stalled; /* ns, since when what may go does not, with nothing in flight; 0: it does not */
};

/* What is acknowledged to the target, and which windows it was shown. */
struct reader {
	uint32_t rcv_nxt, acked, edge, most;
	bool must; /* an ACK is due in this step; may: or not, nobody knows */
	bool may;
	bool stepped;   /* the session was told something in this step */
	uint64_t timer; /* ns, when the delayed ACK is due; 0: none is */
	bool fin, fin_sent;
};

/* What waits for the target's answers. */
struct turns {
	struct turn *turn; /* not sent yet, from [first] on */
	unsigned n, first, size;
	uint32_t start, end; /* of what was released last, as far as it is known */
	uint32_t turn_ack, client_ack, first_ack;
	bool has_turn_ack, psh;
	bool unasked;    /* the target sent something before it had any of the released turn */
	unsigned unsure; /* so many turns, from the one that waits on, are not judged */
	bool missed;     /* one may have gone by its deadline */
	bool vague;      /* or gone for a reason that is not known here */
	/* went by a pause; of an answer not half as long; a pause was none; such an answer was whole once */
	bool by_pause, by_short, in_parts, ends_short;
	uint32_t part;    /* as in struct turn, of the one to come */
	uint64_t read_at; /* ns, when client_ack grew last */
	/* how long it waits for answers: between these, unless unclear */
	uint64_t usual_least, usual_most; /* ns, to the first byte of an answer */
	unsigned all_answers;             /* turns to which an answer came */
	unsigned misses, answers;         /* that did not come, since one came last; in a row, since then */
	bool unclear;                     /* nobody knows why a turn went */
	uint64_t gone;                    /* ns, when the newest one went, or earlier */
	uint32_t answered, answered_any;
	uint64_t answer_last; /* ns */
};

struct replica {
	bool used; /* a session had this source and target */
	struct endpoint source;
	unsigned target;
	uint64_t id;
	/* what the target told, whether or not it came to the engine */
	uint32_t irs, edge;
	uint8_t scale;
	bool has_edge;
	uint32_t first_rcv; /* behind the SYN of the connection at hand */

	struct conn *conn; /* NULL: its SYN was not sent yet */
	uint32_t iss;
	uint64_t started_at;
	uint64_t over_at;
	bool joined, established, over;
	bool continued; /* with what waited when the target closed the session before */
	enum session_outcome outcome;
	/* the client's stream as the engine was told of it: in order, while orderly */
	bool orderly;
	uint32_t told_nxt;
	unsigned hint; /* where in the told segments the last one was found */
	bool ts_ok, ws_ok, sack_ok;
	uint16_t mss, rcv_mss;
	uint16_t client_window; /* raw, newest */
	struct told syn;        /* unless joined */
	/* an older connection of the target's, met by the SYN */
	unsigned leftovers;
	uint32_t leftover_ack;
	bool leftover_owed, leftover_reset;
	/* its end */
	bool watched, refused, was_reset, ack_owed;
	uint64_t was_reset_at;         /* ns, first */
	uint32_t reset_seq, reset_ack; /* highest; with was_reset */
	bool reset_bare;               /* it acknowledged nothing */
	uint64_t syn_told_at;          /* ns, the client's newest */
	bool must_go_on;               /* what it has left goes on, in the same step */
	bool has_before;               /* a session of this place has begun, */
	uint32_t before;               /* there */
	bool next_known;               /* whether and where a session goes on with what this one has left */
	uint32_t next_seq;
	/* header fields */
	uint16_t ip_id; /* of the last packet */
	uint32_t ts_emitted, ts_recent;
	/* ns, when ts_emitted was sent, ts_recent came, the target was heard last */
	uint64_t ts_at, ts_recent_at, heard_at;
	bool has_ts;
	struct sender s;
	struct reader a;
	struct turns t;
};

struct replica *replica_of(struct world *w, const struct endpoint *source, unsigned target);
unsigned referee_target(const struct world *w, const struct endpoint *at);

/* referee_header.c */
#define JOINED_MSS(r) ((uint16_t)(replica_v4(r) ? 1460 : 1440))
static inline bool replica_v4(const struct replica *r)
{
	return addr_is_v4(&r->source.addr);
}
void judge_timestamps(struct world *w, struct replica *r, const struct tx_segment *t,
		      const struct tcp_options *o);
void judge_syn(struct world *w, struct replica *r, const struct tx_segment *t, const struct tcp_options *o);
/* @id, @raw: the IP id and the client's window that segment @t should have */
void judge_header(struct world *w, struct replica *r, const struct tx_segment *t, uint16_t id, uint16_t raw);

/* @r's @raw window of the client as the target has to be shown it, and what the target understands by that */
uint16_t shown_window(const struct world *w, const struct replica *r, uint16_t raw);
uint32_t window_bytes(const struct world *w, const struct replica *r, uint16_t shown);
/* The captured segment that [@seq, @seq + @len) is of; NULL: none has all of it. */
const struct told *told_of(struct replica *r, uint32_t seq, uint32_t len, bool fin);

/* referee_turn.c */
void turns_told(struct replica *r, const struct told *t, bool fresh);
void turns_established(struct world *w, struct replica *r, const struct response *a);
bool turns_response(struct world *w, struct replica *r, const struct response *a); /* false: not believed */
void turns_data(struct world *w, struct replica *r, uint32_t seq, uint32_t len);
void turns_ack(struct world *w, struct replica *r, const struct tx_segment *t);
void turns_step(struct world *w, struct replica *r);
void turns_free(struct turns *t);
/* The target has closed, and what waits may begin its next connection now. */
bool turns_next_is_due(const struct world *w, struct replica *r);
/* Where the next connection to a target that has closed or reset this one begins; false: there is none */
bool turns_next(const struct world *w, struct replica *r, uint32_t *seq);

/* referee_outcome.c */
/* Has the online server this connection, as far as it can be known? With engine_config.prove. */
bool outcome_accepted(const struct conn *c);
void outcome_joins(struct world *w); /* a call into the engine is over */
void outcome_started(struct world *w, const struct replica *r);
void outcome_joined(struct world *w, struct replica *r); /* its first SYN is sent */
void outcome_response(struct world *w, struct replica *r, const struct response *a);
void outcome_ended(struct world *w, struct replica *r, enum session_outcome o);
void outcome_continued(struct world *w, const struct replica *r, uint32_t seq);
void outcome_step(struct world *w, struct replica *r);
/* The target has reset @r, and what was sent before that is still to come. */
bool outcome_reset_waits(const struct replica *r);
void outcome_unwatched(struct world *w, struct replica *r);

/* referee_unseen.c */
void unseen_step(struct world *w, const struct replica *r);
void unseen_ended(struct world *w, const struct replica *r, enum session_outcome o);

/* referee_loss.c */
uint32_t sender_room(const struct sender *s); /* bytes of new data that the congestion window allows */
void sender_syn(struct world *w, struct replica *r, bool again);
void sender_established(struct world *w, struct replica *r, const struct response *a);
void sender_ack(struct world *w, struct replica *r, const struct response *a);
/* @len with the place of a FIN; @open: it ends inside of a segment of the client */
void sender_data(struct world *w, struct replica *r, uint32_t seq, uint32_t len, bool open);
void sender_revive(struct world *w, unsigned target);
void sender_free(struct sender *s);
void sender_step(struct world *w, struct replica *r);

#endif
