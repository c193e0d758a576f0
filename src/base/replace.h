#ifndef BASE_REPLACE_H
#define BASE_REPLACE_H

#include <stddef.h>

/* A file that is written anew from time to time, and of which a reader always finds a whole one, the old or the new. */
struct replace;

/* Its directory is opened, and tried by making a file in it. NULL with errno: no such directory, no permission, @path is a directory. */
struct replace *replace_open(const char *path);
/* 0; or -1 with errno, and the old file stays. Blocks as writing to a disk does. */
int replace_write(const struct replace *r, const void *data, size_t len);
void replace_close(struct replace *r);

#endif
