#ifndef IO_FILE_OUTPUT_H
#define IO_FILE_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What is written to a file, or to a series of files one after the other. It comes in blocks, which are
 * never divided between files. Belongs to one thread, but for output_counters().
 */
struct output;

struct output_options {
	const char *path; /* absolute; packed if it is named so (packer.h) */
	/* what begins each file: whole blocks, which must stay */
	const uint8_t *head;
	size_t head_len;
	uint64_t rotate_bytes; /* of a file, as it lies on the disk; 0: any */
	uint64_t rotate_time;  /* ns from its first block on; 0: any */
	uint64_t most;         /* bytes of all files together: the oldest goes first; 0: any */
};

#define OUTPUT_BLOCK_MOST (512u << 10) /* bytes */
#define OUTPUT_MOST_LEAST (4ull << 20) /* the least that output_options.most may be */

/* What became of the blocks. One table: field, text. */
#define OUTPUT_COUNTERS(X)                                                                                   \
	X(written, "of these, written")                                                                      \
	X(failed, "of these, not written: the disk was full, or another error")                              \
	X(bytes, "bytes of the files that were written, packed if they are")                                 \
	X(files, "files begun")                                                                              \
	X(removed, "files removed for --write-max, the oldest first; also those of earlier runs")

struct output_counters {
#define X(field, text) uint64_t field;
	OUTPUT_COUNTERS(X)
#undef X
};

/*
 * Open the first file, which must not exist yet: readable and writable for its owner alone. With
 * rotate_bytes or rotate_time it is one of a series: a number that nothing in the directory has is put into
 * its name, day.00001.pcapng for day.pcapng. Returns NULL with words in @err.
 */
struct output *output_open(const struct output_options *o, char *err, size_t err_size);

/* The path of the file that is open, or was last. */
const char *output_path(const struct output *o);

/* Is it a series? Then can its directory be written to now? Returns 0, or -1 with errno. */
int output_check(const struct output *o);

/* Room for the next block, OUTPUT_BLOCK_MOST bytes. @now: ns. */
uint8_t *output_room(struct output *o, uint64_t now);

/* The block there has @n bytes. It is in the file when output_flush() has returned, or soon. */
void output_put(struct output *o, size_t n, uint64_t now);

/* Give the file all that was put. @now: ns. */
void output_flush(struct output *o, uint64_t now);

/* Any thread: what was counted. Of the blocks that were put, those neither written nor failed wait. */
void output_counters(const struct output *o, struct output_counters *n);

/* All was put: end the file. Nothing may be put any more. */
void output_end(struct output *o);

/* End the file, and free all of it. @o may be NULL. */
void output_close(struct output *o);

#endif
