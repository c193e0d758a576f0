#ifndef SESSION_HARNESS_H
#define SESSION_HARNESS_H

#include "session/session.h"

/*
 * A session engine under a virtual clock, with everything that it asks for recorded: for tests.
 * After every step all invariants are checked (engine_check) and the batch is flushed, so that a
 * payload touched too late is found.
 */
#define HARNESS_START (1000ull * 1000 * 1000 * 1000) /* the clock's first value, ns */
#define HARNESS_TARGETS 4
#define HARNESS_MOVES 8

/* A segment that the engine emitted; @payload is a copy that belongs to the harness. */
struct harness_emission {
	struct harness_emission *next;
	uint64_t at; /* ns */
	struct tx_segment t;
	uint8_t *payload;
};

struct harness_watch {
	uint64_t id;
	struct tuple response;
	uint32_t number;             /* of the last call */
	unsigned watched, unwatched; /* calls */
};

struct harness_question {
	uint64_t id;
	struct flow_key key;
	uint64_t at; /* ns */
};

struct harness_outcome {
	struct flow_key key;
	enum session_outcome outcome;
	bool taken; /* by the test */
};

struct harness {
	struct engine_config config; /* to be changed before harness_start() */
	struct endpoint target[HARNESS_TARGETS];
	uint32_t mtu;
	bool routed;           /* a router is on the way to the targets */
	enum decline declines; /* what admit answers; DECLINE_COUNT: one more may be opened */
	bool no_source;        /* source_take refuses */
	bool no_other;         /* and source_other does */
	uint64_t later;        /* what `later` answers, ns */
	bool has_holder;       /* source_holder names: */
	struct flow_key holder;
	/* what is answered to a question about a socket, at once: */
	bool online_known; /* it has received online_bytes */
	uint64_t online_bytes;
	enum online_word online;     /* what is said of all sockets, but of that of ... */
	struct endpoint online_gone; /* ... this client, that it is gone */
	struct endpoint
		announce_to; /* the newest channel brings responses to this client only; port 0: to all */
	bool online_waits;   /* nothing is answered at once: the test does it, or not */

	struct engine *engine;
	uint64_t now;
	struct harness_emission *first, **last; /* emitted and not taken yet */
	struct harness_emission *batch; /* emitted since the last flush: a list of copies of their structs */
	struct harness_watch *watch;
	unsigned n_watch, watch_calls, unwatch_calls;
	uint32_t number; /* that the last call of watch or announce gave */
	struct harness_question *question;
	unsigned n_question, n_taken; /* asked; of these, answered at once, or taken by the test */
	struct harness_outcome *outcome;
	unsigned n_outcome;
	unsigned sources;                     /* taken and not given back */
	struct flow_key moved[HARNESS_MOVES]; /* to another source, one entry for each time */
	unsigned n_moved;
};

/* Defaults: hold 3 s, 16 MB a session, MTU 1500, four targets 10.0.1.N:6379. */
void harness_init(struct harness *h);
void harness_start(struct harness *h, bool channel_up);

/* One step each at h->now; the clock goes on with harness_advance() only. */
void harness_captured(struct harness *h, const struct flow_key *k, const struct segment *s);
void harness_server(struct harness *h, const struct flow_key *k, const struct segment *s);
void harness_server_resets(struct harness *h, const struct flow_key *k, const struct segment *s);
void harness_response(struct harness *h, const struct response *r);
void harness_answer(struct harness *h, uint64_t question, const struct online_answer *a);
void harness_source_taken(struct harness *h, uint64_t id);
void harness_source_lost(struct harness *h, uint64_t id);
void harness_unwatched(struct harness *h, uint64_t id, bool deaf);
/* @only: the channel that is up brings responses to this client only; NULL: to all. */
void harness_channel(struct harness *h, bool up, const struct endpoint *only);
void harness_shutdown(struct harness *h);

/* Advance to @to as a program would that sleeps until engine_next(). False: the engine's time
 * stands still. */
bool harness_advance(struct harness *h, uint64_t to);

/* The oldest emission not taken yet; NULL: none. The caller frees it by harness_emission_free(). */
struct harness_emission *harness_take(struct harness *h);
void harness_emission_free(struct harness_emission *m);

/* With online_waits: the oldest question not taken yet, valid until the next step; NULL: none. */
const struct harness_question *harness_take_question(struct harness *h);

/* Id of the session that was announced @age incarnations ago (0: the newest) for this tuple; 0:
 * none. */
uint64_t harness_watched(const struct harness *h, const struct tuple *response, unsigned age);

/* The source of @k's copy as the mock's source_take chooses it: the client's own; copy n
 * from 10.0.3.n. Its port is 1000 higher for each time that it was taken by another tcpcopy. */
struct endpoint harness_source(const struct harness *h, const struct flow_key *k);

/*
 * End all sessions, let all time pass, and free everything. Returns NULL when nothing was left
 * behind (no session, no memory, no source, no announcement, no timer, nothing sent after the end
 * but RSTs), else what was.
 */
const char *harness_finish(struct harness *h);

#endif
