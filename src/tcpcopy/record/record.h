#ifndef TCPCOPY_RECORD_RECORD_H
#define TCPCOPY_RECORD_RECORD_H

#include "io/file/output.h"
#include "packet/parse.h"
#include "tcpcopy/config/config.h"

/*
 * --write: what is captured is kept in files, by a thread of its own. Workers give it packets, which is a
 * copy in memory, and never wait for it.
 */
struct record;
struct record_queue;

/* A worker's way to it. */
struct record_worker {
	struct record *record;
	struct record_queue *queue;
	/* packets that were to be written, and of these, those without room */
	uint64_t requests, copies, shed;
};

/* What the writing thread has counted. */
struct record_counters {
	uint64_t answers;         /* packets of the online server that were to be written */
	uint64_t answers_dropped; /* more of them, dropped by the kernel */
	struct output_counters files;
};

/*
 * Open the file, and what captures the online server's answers. Requests are captured on @n interfaces with
 * these names. *c must outlive it. Call it before sandbox_enter(). Returns NULL with words in @err.
 */
struct record *record_open(const struct config *c, const char *const interface[], unsigned n, char *err,
			   size_t err_size);

/* The path of the file that is open; is it one of a series? */
const char *record_path(const struct record *r);
bool record_is_series(const struct record *r);

/* Start the thread. Returns 0, or -1 with words in @err. */
int record_start(struct record *r, char *err, size_t err_size);

/* That of the worker @worker, which alone may use it. */
struct record_worker *record_worker(struct record *r, unsigned worker);

/*
 * The worker: write the captured packet *p, which is for @rules, a set of bits by their numbers. @interface:
 * its number at record_open(). @begins: it opens a connection.
 */
void record_request(struct record_worker *w, const struct raw_packet *p, unsigned interface, uint64_t rules,
		    bool begins);

/* The worker, in a dry run: write what would be sent for @rules at @now, ns; it fits into one packet. */
void record_copy(struct record_worker *w, const struct tx_segment *t, uint64_t now, uint64_t rules);

/* No worker runs any more: write all that waits, end the file and the thread. */
void record_end(struct record *r);

/* Any thread: what was counted. */
void record_counters(const struct record *r, struct record_counters *n);

/* Free it, after record_end() or when it was not started. @r may be NULL. */
void record_free(struct record *r);

#endif
