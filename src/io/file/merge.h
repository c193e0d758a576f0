#ifndef IO_FILE_MERGE_H
#define IO_FILE_MERGE_H

#include "io/file/recording.h"

/*
 * The packets of several files, in the order of time. Belongs to one thread, and may block in a pipe.
 */
struct merge;

struct merge_events {
	/* Asked while a pipe is silent; true ends the reading. It may take what merge_flush() gives. */
	bool (*idle)(void *arg);
	/* A file is damaged, or ends in the middle. */
	void (*complain)(void *arg, const char *words);
	void *arg;
};

/* See recording_open(). *e must outlive it. */
struct merge *merge_open(const char *const path[], unsigned n, const char *filter,
			 const struct merge_events *e, char *err, size_t err_size);

/* The next packet, which is the caller's to free(); NULL: there is none any more. */
struct recorded *merge_next(struct merge *m);

/* Of the packets that wait for others to be put before them, the first; NULL: there is none. */
struct recorded *merge_flush(struct merge *m);

/* Begin again from the beginning. Returns 0, or -1 if one of the files is a pipe. */
int merge_rewind(struct merge *m);
/* The first of the files that can be read only once; NULL: all can be read again. */
const char *merge_pipe(const struct merge *m);

/* Bytes read of all files so far, and how many there are; 0: not known. */
void merge_progress(const struct merge *m, uint64_t *done, uint64_t *all);

/* What was counted. */
const struct recording_counters *merge_counters(const struct merge *m);

void merge_close(struct merge *m);

#endif
