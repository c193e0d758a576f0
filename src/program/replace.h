#ifndef PROGRAM_REPLACE_H
#define PROGRAM_REPLACE_H

#include <stdbool.h>
#include <stddef.h>

/* A file that is rewritten from time to time. A reader always finds a complete one, the old or the new. */
struct replace;

/*
 * Open the directory of @path, and try it by creating a file there. The file itself is not touched. Returns
 * NULL with errno, for which replace_words() has words: no such directory, no permission, @path is no
 * regular file (ELOOP, ENXIO, EISDIR), or somebody else's file is in the way (EEXIST).
 */
struct replace *replace_open(const char *path);

/*
 * Replace the file with the @len bytes at @data. Returns 0; or -1 with errno, and the old file stays. Blocks
 * as writing to a disk does.
 */
int replace_write(const struct replace *r, const void *data, size_t len);

#define REPLACE_WORDS 256

/* What errno of the functions above means for @path; @buf, of REPLACE_WORDS bytes, may be used for it. */
const char *replace_words(const char *path, int error, char *buf, size_t size);

/* replace_open() for the file of --report. Returns NULL with words for the user in @err. */
struct replace *replace_open_report(const char *path, char *err, size_t err_size);

/*
 * replace_write() for that file: write @text, and free it; NULL means that there was no memory for it. A
 * failure is logged, but not too often. Returns whether the file was written.
 */
bool replace_report(const struct replace *r, const char *path, char *text);

/* Free @r, which may be NULL. The file stays. */
void replace_close(struct replace *r);

#endif
