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
	uint64_t time; /* ns */
	uint32_t seq, len, ack, tsval;
	uint16_t window, ip_id, gso_size, urgent;
	uint8_t flags;
	bool has_ts, whole;
};

/* A turn that has not been sent yet. */
struct turn {
	uint32_t seq, expect;
	uint64_t at; /* ns, of its capture */
};

/* What was sent and not acknowledged, as far as it ended where the client's segment did. */
struct flown {
	uint32_t start, end;
	uint64_t at;      /* ns, when its last byte was sent first */
	bool again, open; /* open: more of the client's segment follows */
};

/* The sender's side, as RFC 5681, 6298, 6582, 6675 and 8985 have it. */
struct sender {
	uint32_t una, nxt, wnd, wl1, wl2, mss;
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

	struct conn *conn; /* NULL: its SYN was not sent yet */
	uint32_t iss;
	uint64_t started_at;
	uint64_t over_at;
	bool joined, established, over;
	enum session_outcome outcome;
	/* the client's stream as the engine was told of it: in order, while orderly */
	bool orderly;
	uint32_t told_nxt;
	unsigned hint; /* where in the told segments the last one was found */
	bool ts_ok, ws_ok, sack_ok;
	uint16_t mss, rcv_mss;
	/* an older connection of the target's, met by the SYN */
	unsigned leftovers;
	uint32_t leftover_ack;
	bool leftover_owed;
	/* header fields */
	uint16_t ip_id;
	uint32_t ts_emitted, ts_recent;
	uint64_t ts_at, heard_at; /* ns, when ts_emitted was, when the target was heard last */
	bool has_ts;
	/* acknowledgments */
	uint32_t rcv_nxt, acked;
	bool owes;
	uint64_t owes_since;
	uint32_t owed;
	struct sender s;
};

struct replica *replica_of(struct world *w, const struct endpoint *source, unsigned target);
unsigned referee_target(const struct world *w, const struct endpoint *at);

/* referee_loss.c */
void sender_syn(struct world *w, struct replica *r, bool again);
void sender_established(struct world *w, struct replica *r, const struct response *a);
void sender_ack(struct world *w, struct replica *r, const struct response *a);
/* @len with the place of a FIN; @open: it ends inside of a segment of the client */
void sender_data(struct world *w, struct replica *r, uint32_t seq, uint32_t len, bool open);
void sender_revive(struct world *w, unsigned target);
void sender_free(struct sender *s);
void sender_step(struct world *w, struct replica *r);

#endif
