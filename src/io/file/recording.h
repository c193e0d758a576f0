#ifndef IO_FILE_RECORDING_H
#define IO_FILE_RECORDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "packet/parse.h"

/*
 * Recorded traffic: the packets of one or several files of packets, merged into one order of time. A thread
 * of its own reads ahead, within a bounded memory. The functions are for one other thread, if nothing else is
 * said.
 */
struct recording;

#define RECORDING_FILES_MAX 4096u

/* One packet. */
struct recorded {
	struct recorded *next;
	/* raw.time: ns since the epoch, put in order: it never goes back, and goes on from loop to loop */
	struct raw_packet raw;
	uint64_t order;
	uint32_t loop;  /* from 0 */
	uint64_t shift; /* ns, by which the loop is later than the first */
	uint32_t bytes; /* of memory */
	bool matches;   /* the filter */
	uint8_t data[];
};

/* What was found while reading. One table: field, text. */
#define RECORDING_COUNTERS(X)                                                                                \
	X(packets, "packets read from files")                                                                \
	X(reordered, "of these, put back in order by their time")                                            \
	X(backwards, "times that a file's time went back by more than a second, and was taken to go on")     \
	X(damaged, "files that end in the middle of a packet, or are damaged; what came before was read")    \
	X(truncated, "packets of which the recording has only a part (see tcpdump -s)")

struct recording_counters {
#define X(field, text) uint64_t field;
	RECORDING_COUNTERS(X)
#undef X
};

/*
 * Open @n files, pcap or pcapng, also packed by gzip or zstd; "-" is standard input. @filter: pcap-filter(7),
 * NULL or "": every packet matches. @loops: how often all of it is read, which a pipe allows only once.
 * Returns NULL with words in @err.
 */
struct recording *recording_open(const char *const path[], unsigned n, const char *filter, uint64_t loops,
				 char *err, size_t err_size);

/* Start reading. Returns 0, or -1 if there can be no further thread. */
int recording_start(struct recording *r);

/* Readable when there are packets, or the end has come, after recording_next() had none. */
int recording_fd(const struct recording *r);

/* The next packet, or NULL: there is none now. It is the same one until recording_taken(). */
const struct recorded *recording_next(struct recording *r);
/* The packet of recording_next() was taken. Its bytes stay until recording_release(). */
void recording_taken(struct recording *r);
void recording_release(struct recording *r);
/* Has all of it been taken? */
bool recording_at_end(struct recording *r);

/* How much has been taken: 0 to 1 over all loops, by the files' sizes; -1: not known, it is a pipe. */
double recording_share(struct recording *r);
/* Fill in what was counted so far. */
void recording_counters(struct recording *r, struct recording_counters *n);
/* What is wrong with a file, in words; "" if nothing is. Each is said once; ask again until it is "". */
void recording_complaint(struct recording *r, char *words, size_t size);

/* End the reading, and free all of it. @r may be NULL. */
void recording_close(struct recording *r);

#endif
