#ifndef SESSION_IMPL_H
#define SESSION_IMPL_H

/*
 * The inside of the session engine, for the files of this folder: what they offer each other. What is
 * remembered of a session stands in state_impl.h, what is remembered beside them in engine_impl.h. The call
 * order:
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
#include "packet/seq.h"
#include "session/engine_impl.h"
#include "session/state_impl.h"
#include "session/turn.h"

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
#define SIZE_DOUBTED 2 /* time-outs of a packet, after which its size may be the reason */
#define JOIN_WSCALE 7
#define JOIN_WINDOW 512                /* raw: 64 KB at scale 7 */
#define EVICT_LOOK 64                  /* sessions looked at when half-open ones have to make room */
#define TRIM_PERIOD (1000 * NS_PER_MS) /* memory that was not needed for so long is given back */
#define RESET_WAIT (50 * NS_PER_MS)    /* for what the target's RST may have overtaken */
#define BELIEVE_WITHIN (1u << 30)
#define ANNOUNCE_AT_ONCE 128          /* sessions announced to a new connection in one go */
#define REVIVE_AT_ONCE 128            /* backed-off sessions that one sign of life helps */
#define REVIVE_APART (20 * NS_PER_US) /* between their repairs */
#define ADVANCE_AT_ONCE 128           /* timers that one engine_advance() serves */
#define SWEEP_ASKS 8                  /* questions in one portion of a sweep */

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
/* Pause @p between what a target gets of all the engines: each of them makes its share of it. */
static inline uint64_t pause_of_all(const struct engine *e, uint64_t p)
{
	return p * MAX(e->cfg.engines, 1u);
}
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
static inline uint32_t qseg_cost(const struct qseg *q) /* What it takes of -m, bytes. */
{
	return q->cost + (qseg_apart(q) ? q->piece.chunk->cost : 0);
}
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
/* @s ends with outcome @o: what is known of its last answers is all that there will be. */
void turn_over(struct engine *e, struct session *s, enum session_outcome o, uint64_t now);

/* handover.c */
/* The turn that waits is not one for this connection: the target has closed it. */
bool handover_waits(const struct session *s);
/* With handover_waits(): when, in ns, it goes even if not all before it is acknowledged. */
uint64_t handover_deadline(const struct engine *e, const struct session *s);
/* True: what waits has gone to a connection of its own, and @s is that now, or has ended. */
bool handover(struct engine *e, struct session *s, uint64_t now);
/* The target has reset the connection, and had taken what lies below reset_ack. */
void handover_reset(struct engine *e, struct session *s, uint64_t now);

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
/* The way to the target may take other sizes than before: to be called before anything is sent. */
void output_resize(const struct engine *e, struct session *s);
static inline void output_mtu(const struct engine *e, struct session *s)
{
	if (session_target(e, s)->path.limit != s->limit)
		output_resize(e, s);
}
/* The target's probe, if it is of @s: @v is known of it. */
void output_probed(struct engine *e, struct session *s, enum path_verdict v, uint64_t now);

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
/* The @n bytes from @seq on are sent again: is the probe of the target's path among them? */
void loss_of_probe(const struct engine *e, const struct session *s, uint32_t seq, uint32_t n);
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
static inline bool proof_needed(const struct engine *e, const struct session *s)
{
	return e->cfg.prove && !(s->events & (EV_PROVED | EV_ENDED));
}
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
/* What the server is known to have is not waited for any longer. False: the session is over. */
bool doubt_make_room(struct engine *e, struct session *s, uint64_t now);
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
