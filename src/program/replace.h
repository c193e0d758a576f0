#ifndef PROGRAM_REPLACE_H
#define PROGRAM_REPLACE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * A file that is written anew from time to time, and of which a reader always finds a whole one, the old or
 * the new.
 */
struct replace;

/*
 * Its directory is opened, and tried by making a file in it. NULL with errno: no such directory, no
 * permission, @path is a directory.
 */
struct replace *replace_open(const char *path);
/* 0; or -1 with errno, and the old file stays. Blocks as writing to a disk does. */
int replace_write(const struct replace *r, const void *data, size_t len);

/* The same for the file of --report. NULL with words for the user in @err. */
struct replace *replace_open_report(const char *path, char *err, size_t err_size);
/*
 * Write @text, which is freed; NULL: there was no memory for it. What fails is logged, now and then; false
 * then.
 */
bool replace_report(const struct replace *r, const char *path, char *text);

void replace_close(struct replace *r);

#endif
