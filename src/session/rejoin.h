#ifndef SESSION_REJOIN_H
#define SESSION_REJOIN_H

/* May a connection be joined? Between the files of the engine; see rejoin.c. */
#include "base/util.h"
#include "session/session.h"

#define REJOIN_FIRST (100 * NS_PER_MS)
#define REJOIN_MAX (5000 * NS_PER_MS)
#define JOIN_PROOF (5 * NS_PER_SEC)    /* with a second answer: the target takes the connection */
#define JOIN_FAILURES 3                /* in a row, of one connection: it is not joined again */
#define FAILED_LIFE (600 * NS_PER_SEC) /* for which they are remembered while it is silent */
#define JOINS_KNOWN 20                 /* joins of a target that count, and how many of them have to fail */
#define JOINS_FAILED 18
#define JOIN_TRY (30 * NS_PER_SEC)   /* then one is tried */
#define DOUBTED_AFTER 3              /* failures in a row, of one target: its joins come one by one */
#define JOIN_APART (200 * NS_PER_MS) /* between them, and between those of connections that have failed */

/* How the joins of one target went. */
struct joins {
	struct engine_joins report;
	uint32_t failed;       /* bits: the newest is the lowest; 1: it failed */
	uint8_t known;         /* so many of them */
	uint8_t failed_in_row; /* up to DOUBTED_AFTER */
	uint8_t era;           /* changes when failures are forgotten */
	bool one_answer;       /* the last session with one answer ended as it does for each */
	uint64_t next_at;      /* ns, no join before where failures say so */
	uint64_t try_at;       /* ns, the next attempt while joins are stopped */
};

/* False: @s, which is observed, may not be joined now for the reason in *@why. */
bool rejoin_may(const struct engine *e, const struct session *s, enum decline *why, uint64_t now);
/*
 * Can the target understand @s, which is observed or begins anew, if its connection begins with the turn of
 * the @len bytes at @bytes? By its protocol, which this may settle.
 */
bool rejoin_makes_sense(const struct engine *e, struct session *s, const uint8_t *bytes, uint32_t len);
void rejoin_begun(struct engine *e, struct session *s, uint64_t now); /* it is joined */
uint64_t rejoin_memory(const struct session *s); /* ns, for which @s is observed while nothing comes */
/* The first bytes came that answer the released turn. */
void rejoin_answered(struct engine *e, struct session *s, uint64_t now);
void rejoin_released(struct session *s,
		     uint64_t expect); /* a turn that waited for @expect bytes, by answers */
/* The target's FIN and what came with it were taken. */
void rejoin_closed(struct engine *e, struct session *s);
/*
 * Its outcome is @o. @goes_on: the client does. Called before anything of the session is given up. False: the
 * target has not taken it.
 */
bool rejoin_ended(struct engine *e, struct session *s, enum session_outcome o, bool goes_on, uint64_t now);

#endif
