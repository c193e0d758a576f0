#ifndef TRAFFIC_MODEL_H
#define TRAFFIC_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "compare/rule.h"

/*
 * Two servers that get the same requests at the same moments, as a source of times for the rules: shared by
 * the unit tests and bench/verdict.c. The same seed gives the same traffic.
 */
struct traffic {
	double tau;    /* s: how long the load of a server remembers itself */
	double sd;     /* of the logarithm of the load */
	double common; /* share of its variance that both servers have in common */
	double pauses; /* of 20 to 100 ms, for each server its own, a second */
	double rate;   /* exchanges a second */
	double slower; /* factor of all times of the target; 1: the servers are equal */
	double tail;   /* factor of the slowest 1 % of the target's times */
};

struct traffic_server {
	double load;                /* normal, of variance 1 */
	double slowed;              /* factor of its times by the load */
	double pause, pause_begins; /* s: when the pause ends, when the next one begins */
};

#define TRAFFIC_FACTORS 4096
struct traffic_state {
	const struct traffic *t;
	uint64_t seed;
	double now, moved;              /* s: the time; when the load last moved */
	double factor[TRAFFIC_FACTORS]; /* what spreads a time, in order */
	double spare;
	bool has_spare;
	double common; /* load of both */
	struct traffic_server server[BLOCKS_SIDES];
};

void traffic_begin(struct traffic_state *s, const struct traffic *t, uint64_t seed);

/* The next exchange: fills *@times, all metrics alike, and returns its time in ns. */
uint64_t traffic_next(struct traffic_state *s, struct blocks_times *times);

/* How a run was judged, by the default rules: p50 and p99 at most 1.10x, of five rules that decide. */
struct traffic_verdict {
	enum verdict both;
	struct rule_result p50, p99;
	uint64_t judged; /* ns in blocks */
};

/*
 * Judge the closed blocks of *b with @confidence for all five rules; @w is scratch. *v has each of the rules,
 * and what they are together.
 */
void traffic_judge(const struct blocks *b, double confidence, struct rule_work *w, struct traffic_verdict *v);

/*
 * A run of @seconds in @memory of blocks_size(0) bytes: *at_end is its verdict at the end; *when_decided, if
 * it is not NULL, that of the first look that decided, or of the end.
 */
void traffic_run(const struct traffic *t, uint64_t seed, double seconds, void *memory, struct rule_work *w,
		 struct traffic_verdict *at_end, struct traffic_verdict *when_decided);

#endif
