#ifndef TCPCOPY_REPLAY_SCHEDULE_H
#define TCPCOPY_REPLAY_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

/* When what was recorded is due. Pure: times come in, and times go out; all of them are ns. */
struct schedule {
	uint64_t speed; /* millionths; 0: as fast as the target answers */
	uint64_t rate;  /* millionths of turns a second; 0: by the recorded times */
	uint64_t gap;   /* the longest pause that is kept */
	/* set by schedule_due() */
	bool begun;
	uint64_t start;      /* when it began, moved by how much it is behind */
	uint64_t recorded;   /* recorded time since the first packet, without what was cut of pauses */
	uint64_t last;       /* recorded time of the last packet */
	uint64_t turns;      /* with rate: how many have been given a time */
	uint64_t cut;        /* what was cut of pauses */
	uint64_t late_here;  /* how much the schedule was moved because this program was late */
	uint64_t late_there; /* and because the target was */
	uint64_t moves;      /* how often */
};

/* So much is made good at once; what is later moves the schedule. */
#define SCHEDULE_LATE (20 * 1000000ull)

/*
 * When the next packet is due that was recorded at @time, on the clock of @now; 0: at once. Each packet is
 * asked for once, in order, from the beginning on. @turn: it begins a turn.
 */
uint64_t schedule_due(struct schedule *s, uint64_t time, bool turn, uint64_t now);

/*
 * What was @due is handed over @now. If that is too late to be made good, the schedule moves, and true is
 * returned. @target: because the target was behind.
 */
bool schedule_move(struct schedule *s, uint64_t due, bool target, uint64_t now);

#endif
