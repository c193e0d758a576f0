#ifndef COMPARE_EXCHANGE_H
#define COMPARE_EXCHANGE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * An exchange: one turn of one connection with the answer of each side, as far as lengths tell. Pure; nothing
 * is allocated. What is open is kept in a struct of fixed size beside the session, what is closed is counted.
 *
 * Lengths are payload bytes. The online server's come from the client's acknowledgments (RFC 9293 3.8), so a
 * FIN of that server counts as a byte more; the target's from its segments, without the FIN.
 */

/* How an answer differs. One table: enum, name, text. */
#define EXCHANGE_DIFFERENCES(X)                                                                              \
	X(SHORTER, shorter, "the target's answer is shorter")                                                \
	X(LONGER, longer, "the target's answer is longer")                                                   \
	X(ABSENT, absent, "the online server answered, the target did not")                                  \
	X(SPLIT, split, "lengths shift from one answer to the next, and the sums agree")

enum exchange_difference {
#define X(id, name, text) EXCHANGE_##id,
	EXCHANGE_DIFFERENCES(X)
#undef X
		EXCHANGE_DIFFERENCE_COUNT
};

/* Why two answers cannot be compared. One table: enum, name, text. */
#define EXCHANGE_OBSTACLES(X)                                                                                \
	X(JOINED, joined, "the first answer of a connection joined in its middle")                           \
	X(HOLE, hole, "part of the client's stream was never captured")                                      \
	X(UNHELD, unheld, "turns do not wait for answers (-W, or --hold 0)")                                 \
	X(DEADLINE, deadline, "the target's answer, or one before it, was late when --hold had passed")      \
	X(CLOSE, close, "one byte apart at the end of the connection: it may be a FIN")                      \
	X(RESET, reset, "the client or the online server reset the connection")                              \
	X(UNREAD, unread, "the session ended before the client had read all of the answer")                  \
	X(SESSION, session, "the session ended before the target had answered")                              \
	X(UNSENT, unsent, "the request was never sent: the session ended first")

enum exchange_obstacle {
#define X(id, name, text) EXCHANGE_NOT_##id,
	EXCHANGE_OBSTACLES(X)
#undef X
		EXCHANGE_OBSTACLE_COUNT
};

/* What ended the target's answer. One table: enum, name, text behind "answers ended by". */
#define EXCHANGE_ENDS(X)                                                                                     \
	X(REQUEST, request, "the next request: the target had sent as much as the client had read")          \
	X(QUIET, quiet, "silence of the target")                                                             \
	X(FIN, fin, "a FIN")                                                                                 \
	X(RST, rst, "a reset")                                                                               \
	X(DEADLINE, deadline, "the end of --hold")                                                           \
	X(OVER, over, "the end of the session for another reason, or of the capture")

enum exchange_end {
#define X(id, name, text) EXCHANGE_BY_##id,
	EXCHANGE_ENDS(X)
#undef X
		EXCHANGE_END_COUNT
};

/* Flags of an exchange. */
enum exchange_flag {
	EXCHANGE_JOINED = 1,      /* the first of a connection joined in its middle */
	EXCHANGE_HOLE = 2,        /* the client's stream was cut in it */
	EXCHANGE_MERGED = 4,      /* with a record that was merged from several */
	EXCHANGE_UNSOLICITED = 8, /* no request: what a server says first */
	EXCHANGE_NOT_HELD = 16,   /* the turn behind it did not wait */
	EXCHANGE_FOLLOWER = 32,   /* an answer before it, on this connection, differed */
};

/* One exchange, closed. */
struct exchange {
	uint32_t number;         /* of the session's, from 0 */
	uint64_t online, target; /* bytes of answer */
	uint8_t flags;           /* enum exchange_flag */
	uint8_t ended_by;        /* enum exchange_end */
};

/* Sessions that the target ended first, by the turns that it had answered. One table: enum, name, text. */
#define EXCHANGE_TURNS(X)                                                                                    \
	X(NONE, none, "no turn")                                                                             \
	X(ONE, one, "one turn")                                                                              \
	X(FEW, few, "two or three turns")                                                                    \
	X(SOME, some, "4 to 15 turns")                                                                       \
	X(MANY, many, "16 to 255 turns")                                                                     \
	X(MOST, most, "256 turns and more")

enum exchange_turns {
#define X(id, name, text) EXCHANGE_AFTER_##id,
	EXCHANGE_TURNS(X)
#undef X
		EXCHANGE_TURNS_COUNT
};

/* What became of the exchanges of one rule. All zero: there was none. */
struct exchange_tally {
	uint64_t all;  /* = same + different[] + not_comparable[] + open = ended_by[] + open */
	uint64_t open; /* the answer goes on, or the next one tells whether the lengths shifted */
	uint64_t same;
	uint64_t different[EXCHANGE_DIFFERENCE_COUNT];
	uint64_t not_comparable[EXCHANGE_OBSTACLE_COUNT];
	uint64_t ended_by[EXCHANGE_END_COUNT];
	uint64_t followers;                          /* of the different ones: with EXCHANGE_FOLLOWER */
	uint64_t merged, unsolicited;                /* of all that are closed, with that flag */
	uint64_t target_first[EXCHANGE_TURNS_COUNT]; /* sessions */
	struct exchange newest[EXCHANGE_DIFFERENCE_COUNT];
	uint32_t fresh; /* a set of 1 << enum exchange_difference: newest[] is new; the reader clears it */
};

/* Of one session. All zero: nothing yet. */
struct exchange_state {
	uint64_t target; /* bytes of answer to the open one */
	/* the one before it, whose answer may go on until that to the open one begins; valid with has_last */
	struct exchange last;
	/* different answers in a row, whose sums may agree: the first of them, the sum of target - online */
	struct exchange first;
	int64_t sum;
	uint64_t late_online;                  /* bytes of the online answers to the late ones */
	uint32_t number;                       /* of the next */
	uint32_t answered;                     /* turns, on this connection to the target */
	uint8_t run[3];                        /* of these in a row, by kind */
	uint8_t run_ended[EXCHANGE_END_COUNT]; /* and by what ended them */
	uint8_t flags;                         /* of the open one */
	uint8_t late;   /* of these, absent when --hold had passed, with nothing behind them yet */
	bool vague : 1; /* an answer came when --hold had passed: to which request is not known */
	bool open : 1, has_last : 1, joined : 1, differed : 1;
	bool closing : 1;            /* the client's FIN was a turn of its own, and has gone */
	bool fin : 1, fin_first : 1; /* the target's FIN has come; before ours went */
};

/* The session begins in the middle of its connection. */
void exchange_joined(struct exchange_state *x);
/* A request begins that is not behind another one. Nothing happens if one is open. */
void exchange_begins(struct exchange_state *x, struct exchange_tally *t);
/* How bytes of answer came. */
enum exchange_came {
	EXCHANGE_CAME_COVERING = 1,  /* with an ack of the open request, or of a part of it */
	EXCHANGE_CAME_MERGED = 2,    /* the record was made of several */
	EXCHANGE_CAME_FIN = 4,       /* with the target's FIN, which is not one of the bytes */
	EXCHANGE_CAME_FIN_FIRST = 8, /* and ours had not gone */
};
/*
 * @bytes of answer came that were not there before; -1: what was taken for a byte was the FIN. @how: a set of
 * enum exchange_came.
 */
void exchange_answered(struct exchange_state *x, struct exchange_tally *t, int64_t bytes, unsigned how);
/*
 * The next turn goes: the online server's answer to the open request was of @online bytes. @by: why it goes.
 * @data: it is a request, else only a FIN. @held: turns wait for answers.
 */
void exchange_next(struct exchange_state *x, struct exchange_tally *t, uint64_t online, enum exchange_end by,
		   bool data, bool held);
/*
 * The session goes on, on another connection. @again: so many requests are sent there once more, up to the
 * one that was sent last.
 */
void exchange_connects(struct exchange_state *x, struct exchange_tally *t, unsigned again);

/* How a session ended, for exchange_over(). */
struct exchange_last {
	uint64_t online; /* bytes that the client had read since the newest turn */
	enum exchange_end by;
	bool known;       /* the online answer is whole: something came behind it, or all is quiet */
	bool complete;    /* nor has the target's */
	bool client_fin;  /* the client has closed, and its acks may count the online server's FIN */
	bool reads_on;    /* @online is what it has read since its FIN */
	bool reset, hole; /* the client or the online server has reset it; the client's stream was cut */
};
/* The session is over: what is open is closed. */
void exchange_over(struct exchange_state *x, struct exchange_tally *t, const struct exchange_last *l);
/* @n requests are given up that were never sent. */
void exchange_unsent(struct exchange_tally *t, unsigned n);
/* The target has ended the connection, and the client goes on. */
void exchange_target_first(const struct exchange_state *x, struct exchange_tally *t);
/* How many exchanges of *x are open, as in exchange_tally. */
unsigned exchange_open(const struct exchange_state *x);
/* Add *from to *to. */
void exchange_tally_add(struct exchange_tally *to, const struct exchange_tally *from);
/* How many answers of *t could be compared; how many of these differ in their length, splits left out. */
uint64_t exchange_compared(const struct exchange_tally *t);
uint64_t exchange_differ(const struct exchange_tally *t);
/* How many sessions the target has ended first. */
uint64_t exchange_ended_first(const struct exchange_tally *t);

/* The words of the tables. */
const char *exchange_difference_name(enum exchange_difference d);
const char *exchange_difference_text(enum exchange_difference d);
const char *exchange_obstacle_name(enum exchange_obstacle o);
const char *exchange_obstacle_text(enum exchange_obstacle o);
const char *exchange_end_name(enum exchange_end e);
const char *exchange_turns_name(enum exchange_turns n);
const char *exchange_turns_text(enum exchange_turns n);

#endif
