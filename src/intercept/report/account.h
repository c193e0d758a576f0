#ifndef INTERCEPT_REPORT_ACCOUNT_H
#define INTERCEPT_REPORT_ACCOUNT_H

#include "program/account.h"
#include "intercept/pipeline.h"
#include "intercept/report/stats.h"

/*
 * The account of intercept: what happened to every packet, segment and watch. These are the rows that are not
 * in a stage's own table: key, text.
 */
#define ACCOUNT_CAPTURE(X)                                                                                   \
	X(let_in, "packets that passed the kernel's filter")                                                 \
	X(packets, "of these, captured")                                                                     \
	X(kernel_drops, "of these, dropped by the kernel: the buffer or ring was full")                      \
	X(outdated, "of these, passed by a filter that was replaced before they were read")                  \
	X(unread, "of these, not read: still waiting, or left at the end")                                   \
	X(errors, "capture errors (such as an interface that went down)")

#define ACCOUNT_WAITING(X)                                                                                   \
	X(held, "records held for a slow reader")                                                            \
	X(early, "segments waiting for their WATCH")                                                         \
	X(watches, "live watches")                                                                           \
	X(peers, "open tcpcopy connections")

/* clang-format off */
enum account_row_id {
#define X(key, text) ROW_CAPTURE_##key,
	ACCOUNT_CAPTURE(X)
#undef X
#define X(id, name, text) ROW_PARSE_##id,
	PARSE_REASONS(X)
#undef X
#define X(key, text) ROW_SEGMENTS_##key,
	SEGMENT_STATS(X)
#undef X
#define X(key, text) ROW_WAITING_##key,
	ACCOUNT_WAITING(X)
#undef X
#define X(key, text) ROW_WATCHES_##key,
	WATCH_STATS(X)
#undef X
#define X(key, text) ROW_CONNECTIONS_##key,
	CONNECTION_STATS(X)
#undef X
#define X(key, text) ROW_LOG_##key,
	ACCOUNT_LOG(X)
#undef X
	ACCOUNT_ROWS
};
/* clang-format on */

extern const struct account_table account_table;

/*
 * Adds what the worker of @pipeline has counted to @sum, an array of ACCOUNT_ROWS uint64_t. Runs in the
 * worker's own thread; see workers_collect().
 */
void account_collect(void *pipeline, void *sum);

#endif
