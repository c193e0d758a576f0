#ifndef SIM_H
#define SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "packet/segment.h"
#include "session/session.h"

/*
 * A deterministic world around the session engine: client, online server, capture, links, target,
 * assistant and channel, all on one virtual clock. One seed decides everything; the same seed gives
 * the same run. sim.c describes the whole.
 */
#define MAX_REQUESTS 32
#define MAX_CONNS 64
#define FEW_CONNS 24
#define MILLION 1000000u
#define TS_AGE (24 * 24 * 3600 * NS_PER_SEC) /* RFC 7323 5.5: older ones are forgotten */

struct world;

/*
 * What a world is about. Most are about nothing in particular; the others meet what chance alone hardly ever
 * brings together (subject.c).
 */
#define SUBJECTS(X)                                                                                          \
	X(ANYTHING, "anything")                                                                              \
	X(STRANGER, "somebody sends segments who is not the client")                                         \
	X(MULTIPATH, "clients offer Multipath TCP")                                                          \
	X(NARROWER, "the way to the target becomes narrower")                                                \
	X(BLACK_HOLE, "large packets to the target are lost, and nobody says so")                            \
	X(BRIEF, "clients reset as soon as they are connected, or before")                                   \
	X(HALF_CLOSE, "clients close their half long before they have all answers")                          \
	X(ABORTS, "the online server refuses or resets connections")                                         \
	X(SOURCES, "other tcpcopys use the same sources")                                                    \
	X(JOINS, "targets that take no connection in its middle")                                            \
	X(LOSSES, "much is lost on the way to the target and back")                                          \
	X(HOLES, "the capture loses requests")                                                               \
	X(PATIENCE, "targets that do not answer each request")                                               \
	X(HANDOVER, "targets that close or reset after a request or two")                                    \
	X(PORTS, "all clients use few ports")                                                                \
	X(WINDOWS, "targets with small windows that read slowly")                                            \
	X(REFUSING, "a target that refuses all connections for some time")                                   \
	X(UNSEEN, "the capture loses how connections end")                                                   \
	X(DOUBTS, "what the online server takes looks as if it did not")
enum subject {
#define X(id, text) SUBJECT_##id,
	SUBJECTS(X)
#undef X
		SUBJECT_COUNT
};

/* rng.c: the only source of chance */
uint64_t rng(struct world *w);
uint64_t rng_below(struct world *w, uint64_t n); /* [0, n) */
uint64_t rng_range(struct world *w, uint64_t lo,
		   uint64_t hi); /* [lo, hi], small ones as likely as great ones */
bool rng_chance(struct world *w, uint32_t ppm);

/* events.c: the clock */
void at(struct world *w, uint64_t time, void (*fn)(struct world *, void *, uint64_t), void *arg, uint64_t n);
bool events_step(struct world *w, uint64_t until); /* false: nothing before @until */
void events_free(struct world *w);

struct event {
	uint64_t time, order;
	void (*fn)(struct world *, void *, uint64_t);
	void *arg;
	uint64_t n;
};

/* link.c: a wire with faults */
struct link {
	const char *name;
	uint64_t delay, jitter;      /* ns */
	uint32_t loss, dup, reorder; /* ppm */
	uint64_t rate;               /* bytes/s; 0: no bottleneck */
	uint64_t queue;              /* most bytes that wait for the bottleneck */
	uint64_t dead_from, dead_to; /* ns: all is lost in between */
	uint64_t busy_until, last_arrival;
	uint64_t sent, lost, duplicated, reordered;
	void (*deliver)(struct world *w, void *to, const struct segment *g, const uint8_t *ip,
			uint32_t ip_len);
};
/* @g and/or the IP packet @ip; both are copied. */
void link_send(struct world *w, struct link *l, void *to, const struct segment *g, const uint8_t *ip,
	       uint32_t ip_len);
bool link_clean(const struct link *l);

/* stack.c: a small TCP of its own */
struct stack_params {
	uint16_t mss;
	int wscale; /* -1: none */
	bool ts, sack, dsack, nagle;
	uint32_t rcvbuf;
	bool lazy; /* acknowledges every second full segment, not more than one's worth as Linux
		      does */
	uint64_t delack, min_rto, time_wait, keepalive; /* ns; keepalive 0: none */
	bool keepalive_byte;
	uint32_t ts_base;
	uint8_t ttl, tos;
	uint32_t flow_label;
	bool no_mss; /* its SYN-ACK does not say the MSS */
};

enum tcb_state {
	T_CLOSED,
	T_SYN_SENT,
	T_SYN_RCVD,
	T_ESTABLISHED,
	T_FIN_WAIT_1,
	T_FIN_WAIT_2,
	T_CLOSE_WAIT,
	T_CLOSING,
	T_LAST_ACK,
	T_TIME_WAIT
};
enum tcb_event { TCB_CONNECTED, TCB_READABLE, TCB_EOF, TCB_RESET, TCB_CLOSED, TCB_ACKED };
enum tcb_timer { TT_RTX, TT_PERSIST, TT_DELACK, TT_TIME_WAIT, TT_KEEPALIVE, TT_COUNT };

/* What a strict receiver had to object to. */
struct objections {
	uint64_t paws, no_ts, beyond_window, challenge, ack_beyond, bad_rst, oversize, old;
};

struct range {
	uint32_t start, end;
};

struct tcb {
	struct world *w;
	const struct stack_params *p;
	struct endpoint local, peer;
	enum tcb_state state;
	void *owner;
	void (*send)(struct tcb *t, const struct segment *g);
	void (*event)(struct tcb *t, enum tcb_event e);
	uint64_t deadline[TT_COUNT];

	uint32_t iss, snd_una, snd_nxt, snd_max, snd_wnd, snd_wl1, snd_wl2, max_wnd;
	uint32_t tx_end; /* sequence number behind what the application wrote */
	bool fin_wanted;
	bool deaf; /* its application has closed both directions */
	uint32_t cwnd, ssthresh, dupacks, recover;
	bool recovering;
	unsigned backoff;
	uint64_t srtt, rttvar, timed_at;
	uint32_t timed_seq;
	bool timing;

	uint32_t irs, rcv_nxt, read_seq, adv_edge, last_ack_sent;
	bool fin_seen, fin_taken;
	uint32_t fin_seq;
	struct range ooo[32];
	unsigned n_ooo, last_ooo, unacked;
	struct range dup_block;
	bool has_dup_block;
	uint8_t *rx; /* the bytes received, from IRS + 1 on, where packets carry content */
	size_t rx_size;

	bool ts_ok, sack_ok, ws_ok;
	uint32_t ts_recent;
	uint64_t ts_recent_at; /* ns, when it was last confirmed */
	uint64_t data_at;      /* ns, when payload came in order last */
	uint8_t snd_scale;
	uint16_t snd_mss, ip_id;
	struct objections bad;
};

void tcb_init(struct tcb *t, struct world *w, const struct stack_params *p, const struct endpoint *local,
	      const struct endpoint *peer, uint32_t iss);
void tcb_connect(struct tcb *t);
void tcb_accept(struct tcb *t, const struct segment *syn); /* passive open */
void tcb_input(struct tcb *t, const struct segment *g);
void tcb_write(struct tcb *t, uint32_t n);
void tcb_close(struct tcb *t);
void tcb_close_both(struct tcb *t); /* nobody reads any more, RFC 1122 4.2.2.13 */
void tcb_abort(struct tcb *t);
uint32_t tcb_readable(const struct tcb *t); /* bytes in order and not read yet */
void tcb_read(struct tcb *t, uint32_t n);
void tcb_free(struct tcb *t);
/* What a host's timestamp option says now, ms. */
uint32_t stack_clock(const struct world *w, const struct stack_params *p);

/* script of a connection: scenario.c */
enum ending {
	END_CLIENT_FIN,
	END_HALF_CLOSE,
	END_SERVER_FIN,
	END_RST,
	END_RST_EARLY,
	END_OPEN,
	END_SERVER_RST /* in the middle */
};
enum multipath { TCP_ONLY, MULTIPATH_OFFERED, MULTIPATH_AGREED, MULTIPATH_SUBFLOW };
struct request {
	uint32_t start, size; /* place in the client's stream */
	uint32_t answer, target_answer;
	unsigned after; /* answers that the client has read before it sends this */
	uint64_t think, service, target_service;
};
struct conn {
	unsigned index;
	struct endpoint client;
	struct tcb c, o; /* the client's end, the online server's end */
	struct request r[MAX_REQUESTS];
	unsigned n;
	uint32_t greeting, target_greeting, stream_len;
	enum ending ending;
	uint64_t start;
	struct conn *reused_by; /* opens on the same port when this one is closed */
	uint64_t reuse_gap;
	bool waits;    /* for the connection before on its port */
	bool accepted; /* by the online server's kernel: the handshake was completed */
	bool mute;     /* the client's host never hears the server: it does not complete its handshake */
	bool scans;    /* mute, but its host resets what it is answered */
	bool unheard;  /* the online server refuses it */
	enum multipath multipath;
	bool has_limit; /* what comes behind this of its stream, the online server does not take: */
	uint32_t limit;
	uint64_t began_at;  /* ns */
	uint64_t reset_at;  /* ns, when the online server reset it; 0: it did not */
	uint64_t closed_at; /* ns, when the online server's socket had gone; 0: it is there */
	uint64_t rst_told;  /* ns, when the engine was told of its client's RST; 0: it was not */
	unsigned strangers; /* segments of others to come */
	uint32_t lose;      /* bits: the capture loses the segment with the first byte of that request */
	uint64_t hole_told; /* ns, when the engine was told first of something behind that; 0: not yet */
	bool found[2]; /* by target: the engine was told of its socket, and is told soon whenever it asks */
	bool lose_end, end_lost; /* the capture loses, or has lost, how it ends, and what follows */
	bool elsewhere;          /* the online server's host passes it on: its socket is not there */
	uint64_t gone_at;        /* ns, when the online server's socket could be found no more; 0: it can */
	uint64_t asked_at;       /* ns, when the engine asked about it last */
	uint64_t missing_at;     /* ns, when it asked and the socket was not found; 0: never */
	unsigned join_failures;
	uint64_t join_failed_at; /* ns */
	uint32_t key;            /* its content */

	/* client and online application */
	unsigned sent, served_online;
	bool started, writing, serving, closing, ended, online_closed;
	/* capture */
	bool old;                           /* began before the capture */
	uint64_t captured_at[MAX_REQUESTS]; /* ns, first byte of each request; 0: not yet */
	struct told *told;                  /* referee.h: what the engine was told of it */
	unsigned n_told, told_size;
	void *late;
	struct segment gro;
	bool gro_pending;
	uint64_t gro_order;
	/* what the targets did */
	unsigned executed[2][MAX_REQUESTS];
	bool met[2];                  /* the target has accepted it */
	uint32_t base[2], reached[2]; /* stream offsets: first byte, behind the last one read */
	unsigned incarnations[2];
	bool pressed[2]; /* the successor on its port had waited for its session long enough */
};

struct fairness {
	bool prompt;        /* nothing stands between a turn and its release */
	bool capture_whole; /* capture loses nothing */
	bool wires_clean;   /* no loss, duplication or reordering between tcpcopy, target and
			       assistant */
	bool nothing_lost;  /* between tcpcopy, target and assistant, though it may be late or twice
			     */
	bool client_clean;  /* the same between client and online server */
	bool complete;      /* everything must arrive at the target */
	bool equal_answers; /* the target's answers are the online server's */
	bool lockstep;      /* no client pipelines */
	bool no_early;      /* turns may be judged strictly */
};

/* target.c: the application, and the stack under it */
struct served {
	struct world *w;
	struct conn *conn;
	unsigned target;
	struct tcb t;
	void *pcb;        /* lwIP's; NULL: none, or gone */
	uint32_t pending; /* answer bytes that lwIP had no room for */
	bool lwip, closing;
	bool greeted, serving, open, eof, closed, reading;
	unsigned first, next; /* request: where it began, to execute */
	unsigned arriving;    /* first request whose first byte has not come */
	uint64_t ans_written; /* bytes */
	uint64_t early_due;   /* answer bytes that the last early request should have waited for */
	uint64_t read;        /* bytes, from base */
	uint64_t answered_at; /* ns, last answer bytes left */
	uint32_t base;        /* place in the client's stream where it begins */
	struct served *link;
};

struct target_host {
	struct world *w;
	unsigned index;
	struct endpoint at;
	struct stack_params p;
	bool lwip, ticking;
	uint32_t read_rate; /* bytes per ms; 0: at once */
	uint64_t stop_from, stop_to;
	bool closes; /* closes by itself where the online server does */
	bool refuses;
	bool stays;            /* does not close when its peer has */
	bool slams;            /* closes as soon as it has accepted */
	unsigned closes_after; /* closes after so many requests of a connection; 0: does not */
	uint64_t refuses_to;   /* ns, until then it refuses connections */
	unsigned refusals;     /* in a row, that the engine heard of */
	uint64_t asked_at;     /* ns, when it got a SYN of a new session last */
	bool no_middle; /* answers a connection that does not begin at its beginning shortly, and closes */
	unsigned joins_failed;     /* of it, in a row */
	uint64_t joins, joined_at; /* how many there were, and when the last, ns */
	uint32_t crash;            /* ppm of requests after which it resets the connection */
	struct served *all;
	struct objections bad;
	uint64_t resets_sent;
	bool client_first; /* on its last connection the client spoke first */
	uint64_t heard_at; /* ns, when the engine heard of it last */
};
void target_input(struct target_host *h, const uint8_t *ip, uint32_t ip_len);
void target_output(struct target_host *h, const struct segment *g); /* channel.c: to the assistant */
struct served *served_new(struct target_host *h, const struct endpoint *peer, uint32_t irs);
void served_connected(struct served *v);
void served_data(struct served *v, const uint8_t *data, uint32_t len);
void served_eof(struct served *v);
void served_gone(struct served *v);
uint64_t served_sent(const struct served *v); /* answer bytes on the wire */
void served_write(struct served *v, uint32_t n);
void served_close(struct served *v);
void served_abort(struct served *v);
void served_arrived(struct served *v,
		    uint64_t bytes); /* in order, counted from the beginning of the replica */
void target_free(struct target_host *h);

/* lwip.c */
bool lwip_start(struct world *w, struct target_host *h);
void lwip_input(struct target_host *h, const uint8_t *ip, uint32_t ip_len);
void lwip_write(struct served *v, uint32_t n);
void lwip_close_served(struct served *v);
void lwip_abort(struct served *v);
void lwip_end(struct target_host *h);

/* copy.c, channel.c: engine, channel and assistant */
struct watched {
	uint64_t id;
	struct tuple response;
	uint32_t number; /* before the one that its SYN-ACK acknowledges */
};
struct held {
	struct segment g;
	uint64_t until;
};
struct copy {
	struct engine *e;
	struct engine_ops ops;
	struct engine_config cfg;
	unsigned n_targets;
	struct target_host target[2];
	struct link to_target[2], to_assistant[2];
	uint64_t channel_delay, hold_early;
	bool channel_up, merging;
	uint32_t forged;               /* ppm: responses that somebody else sends */
	uint16_t asks[QUESTIONS_MOST]; /* the target of each open question's session, by the low bits */
	uint64_t channel_epoch, merge_interval;
	struct watched watched[512];
	unsigned n_watched;
	struct held early[256];
	unsigned n_early;
	struct response backlog[256];
	unsigned n_backlog;
	bool backlog_due;
	struct tx_segment out[8192];
	unsigned n_out;
	bool flush_due, blind;   /* blind: the online server's socket cannot be asked */
	uint64_t batch;          /* ns */
	uint64_t answers_late;   /* ns, questions are answered within this time; 0: at once */
	uint32_t mtu, later_mtu; /* later_mtu: from mtu_at on */
	uint64_t mtu_at;         /* ns; 0: it stays */
	uint32_t takes;          /* bytes; larger packets are lost from takes_from on; 0: all are taken */
	uint64_t takes_from;     /* ns */
	uint64_t swallowed;      /* packets that were */
	bool routed;             /* the engine knows that a router is on the way */
	unsigned emitted_now;
	struct sources *sources; /* source.c; NULL: each session has its client's own */
	struct replica *replica; /* referee.h; the last one is unused */
	struct lookout *lookout; /* referee_unseen.c */
	struct conn *telling;    /* of it the engine is told something right now */
	uint64_t n_begun;        /* sessions that had begun before */
	uint64_t n_continued;    /* of them, with what another left */
	bool advancing;          /* inside engine_advance() */
	uint64_t step, check_every, timer_at;
	unsigned same_time_steps, wakes;
	uint64_t wakes_since;
	uint64_t last_time;
	uint64_t last_input; /* ns, newest thing that the engine was told */
};
void copy_start(struct world *w);
void copy_leave(struct world *w); /* after each call into the engine */
void copy_captured(struct world *w, struct conn *c, struct segment *g);
/* Somebody else's segment, which the online server did not take. */
void copy_foreign(struct world *w, const struct segment *g);
/* A segment of the online server leaves, or of somebody in its name. */
void copy_server(struct world *w, const struct segment *g);
void copy_narrow(struct world *w, void *arg, uint64_t mtu);
void copy_capture_lost(struct world *w);
void copy_cut_channel(struct world *w);
void copy_restore_channel(struct world *w);
void copy_shutdown(struct world *w);
void copy_free(struct world *w);
void to_target_input(struct world *w, void *to, const struct segment *g, const uint8_t *ip, uint32_t ip_len);

/* channel.c: actions of the engine, and events: what is on the channel arrives; it owns memory until then */
void channel_watch(void *arg, uint64_t id, const struct tuple *response, uint32_t number);
void channel_unwatch(void *arg, uint64_t id, const struct tuple *response);
void channel_order_arrives(struct world *w, void *arg, uint64_t epoch);
void channel_response_arrives(struct world *w, void *arg, uint64_t epoch);
void to_assistant_input(struct world *w, void *to, const struct segment *g, const uint8_t *ip,
			uint32_t ip_len);

/* ask.c */
void ask_online(void *arg, uint64_t question, const struct flow_key *key);
void ask_ended(struct world *w, const struct session *s, enum session_outcome o);

/* source.c: where sessions come from */
void sources_begin(struct world *w);
void sources_watched(struct world *w, uint64_t id, const struct tuple *response); /* a session starts */
void sources_emitted(struct world *w, const struct endpoint *at);   /* something is sent from there */
bool sources_elsewhere(struct world *w, const struct endpoint *at); /* its answers go to another tcpcopy */
/* The client whose copies come, or came, from @at. */
const struct endpoint *sources_client(const struct world *w, const struct endpoint *at);
bool sources_leaves(const struct world *w,
		    const struct endpoint *at);                       /* its session is told that it has to */
bool sources_moved(const struct world *w, const struct endpoint *at); /* it is not the first of its session */
void sources_end(struct world *w);                                    /* all must have been given back */
void sources_free(struct world *w);

/* referee.c: what the engine is told, does and hears */
void referee_begin(struct world *w);
void referee_told(struct world *w, struct conn *c, const struct segment *g);
/* the engine was told it, for one target */
void referee_taken(struct world *w, struct conn *c, unsigned target);
void referee_doubt(struct world *w, const struct conn *c);
void referee_watched(struct world *w, uint64_t id, const struct tuple *response);
void referee_emitted(struct world *w, const struct tx_segment *t);
void referee_target_sent(struct world *w, unsigned target, const struct segment *g);
void referee_response(struct world *w, const struct response *a); /* before the engine gets it, and then: */
void referee_responded(struct world *w, const struct response *a, bool unknown);
void referee_step(struct world *w); /* a call into the engine is over */
void referee_unwatched(struct world *w, uint64_t id);
void referee_ended(struct world *w, uint64_t id, enum session_outcome o);
void referee_channel_cut(struct world *w);
void referee_narrower(struct world *w);
void referee_path(struct world *w);
void referee_exchanges(struct world *w); /* at the end: what became of them is true */
void referee_free(struct world *w);

/* referee_unseen.c: what is asked about the online server's sockets, and what follows */
void unseen_start(struct world *w);
void unseen_asks(struct world *w, struct conn *c);
void unseen_answer(struct world *w, struct conn *c, enum online_word word);
bool unseen_enough(const struct world *w);         /* a socket that is not found has perhaps gone */
void unseen_lost(struct world *w);                 /* the capture has counted a loss */
void unseen_told(struct world *w, struct conn *c); /* and the engine has taken it */

/* online.c: client, online server, capture */
struct capture {
	uint32_t loss, dup, reorder, cut;                /* ppm */
	bool gro, silent;                                /* silent: it does not count what it loses */
	bool lose_acks;                                  /* nearly all that have no data */
	uint64_t from;                                   /* ns: the capture's beginning */
	uint64_t lost, duplicated, reordered, truncated; /* counters */
};
void conn_start(struct world *w, struct conn *c);
void online_input(struct world *w, void *to, const struct segment *g, const uint8_t *ip, uint32_t ip_len);
void client_input(struct world *w, void *to, const struct segment *g, const uint8_t *ip, uint32_t ip_len);

/* stranger.c: who is neither client nor server */
void stranger_begin(struct world *w, struct conn *c); /* @c begins */

/* content of connection @c from stream offset @off on, into @out */
void content_fill(const struct conn *c, uint32_t off, uint8_t *out, uint32_t n);
bool content_equal(const struct conn *c, uint32_t off, const uint8_t *data, uint32_t n);

/* day.c: a run that lasts for weeks of the virtual clock */
void day_begin(struct world *w);   /* before the scenario: what the clock shows */
void day_make(struct world *w);    /* after it: requests far apart, numbers near their wraps */
void day_start(struct world *w);   /* the engine is there */
void day_check(struct world *w);   /* after each call into the engine */
uint32_t day_isn(struct world *w); /* of a server */

struct world {
	uint64_t seed, now, rng_state;
	bool day;
	uint64_t begun, span; /* ns; with day: when the clock began, how long it runs at least */
	struct event *heap;
	size_t n_heap, heap_size;
	uint64_t order;
	bool trace;

	uint32_t odd; /* ppm: how probable everything unusual is */
	enum subject subject;
	bool v6;
	struct endpoint online;
	struct stack_params client_p, online_p;
	struct link up, down; /* client -> online, online -> client */
	struct capture capture;
	struct conn conn[MAX_CONNS];
	unsigned n_conns;
	uint64_t cut_at, cut_for; /* of the channel */
	bool shutdown_at_end;
	struct fairness fair;
	struct copy copy;
	uint64_t early; /* requests that came before their time */
	uint64_t strict_early;
	uint64_t requests, executed;
	bool stopped; /* the clients and the online server have gone */
	uint64_t sum_ended[OUTCOME_COUNT];
	struct exchanges_seen {
		uint64_t all, compared, differ;
	} exchanges;
};

/* check.c: after the run */
#define FOUND_GONE (700 * NS_PER_SEC) /* by then a session that is quiet for long is asked about, and ended */
void check_complete(struct world *w);
void check_older(struct world *w);
void check_holes(struct world *w);
void check_ends(struct world *w);
void check_counters(struct world *w);
void check_outcomes(struct world *w);
void check_objections(struct world *w);
void check_nothing_left(struct world *w);

void scenario_make(struct world *w);
void make_reuse(struct world *w, struct conn *old, struct conn *c);
void make_conn(struct world *w, struct conn *c, unsigned i, bool big, uint32_t odd);
void subject_choose(struct world *w); /* subject.c; first of all */
void subject_make(struct world *w);   /* when all else is made */
void scenario_print(const struct world *w);

/* The run is wrong: say why and how to replay it, and stop. */
void fail(struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3) __attribute__((noreturn));
void trace(struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
void trace_segment(struct world *w, const char *who, const struct segment *g, uint32_t seq0, uint32_t ack0);

#endif
