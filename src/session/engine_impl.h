#ifndef SESSION_ENGINE_IMPL_H
#define SESSION_ENGINE_IMPL_H

/* What the engine remembers beside its sessions: targets, open questions, early SYN-ACKs. See impl.h. */
#include "base/budget.h"
#include "base/share.h"
#include "base/slots.h"
#include "base/util.h"
#include "base/wheel.h"
#include "path/path.h"
#include "session/flow_table.h"
#include "session/rejoin.h"
#include "session/session.h"
#include "session/state_impl.h"

#define ONLINE_MOST 8 /* service addresses of one target */

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
	struct path path;
	struct {
		bool out;    /* this engine has sent a probe, and what became of it is not known */
		uint64_t id; /* of its session */
		uint32_t start, end;
		enum path_verdict lost; /* what its end will say if it is acknowledged */
	} probe;
	uint64_t last_heard; /* ns; 0: never */
	uint64_t ask_after;  /* ns; no session opens before; valid from REFUSALS_FEW refusals on */
	struct engine_proofs proofs;
	unsigned unproved; /* sessions opened by a SYN that wait for their proof */
	unsigned refusals; /* in a row */
	/* what is known of online endpoints, the newest in place of the oldest */
	struct online_endpoint {
		struct endpoint at;
		bool elsewhere; /* it has connections that have no socket on this host */
		uint8_t found;  /* sessions whose socket was found there, as far as they count */
	} online[ONLINE_MOST];
	unsigned n_online, online_next;
	struct joins joins;
	uint64_t ask_at;            /* ns, not before is a question asked only to learn of them */
	bool client_first;          /* on the last connection the client's data came before the target's */
	struct session *backed_off; /* sessions whose RTO is backed off beyond RTO_CAP_ALIVE */
	bool reviving;              /* it was silent, and not all of these have been helped yet */
	struct rule_memory *memory;
	enum engine_join join;
	struct protocol_tally spoken;
	struct exchange_tally exchanges;
	struct engine_pace pace;
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
#define EARLY_SETS 4096u /* by a hash of their key; the oldest makes room */
#define EARLY_WAYS 16u
struct early_set {
	uint32_t ack[EARLY_WAYS]; /* of the same, in one cache line: most that are looked for are not here */
	struct early_reply reply[EARLY_WAYS];
};

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
	uint64_t forgotten_at;   /* ns, when a connection was not shown, or there was no room to observe it */
	struct early_set *early; /* EARLY_SETS of them; NULL: without prove */
	uint32_t early_kept;     /* not more replies than so many can still be found in them */
	uint64_t early_last;     /* ns, when the last one was kept */
	struct budget doubt_questions;
	uint64_t doubt_bytes;    /* payload in doubts */
	uint64_t lag_before;     /* ns, from capture to first emission, of what was emitted last */
	uint64_t captured_until; /* ns, all that was captured before has been processed */
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

#endif
