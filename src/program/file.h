#ifndef PROGRAM_FILE_H
#define PROGRAM_FILE_H

#include <stdbool.h>
#include <sys/stat.h>

/* Files under names that the operator chose, where anything may be in the way. */

/*
 * Open the regular file @name in the directory @dir (a descriptor or AT_FDCWD) without ever waiting. @flags
 * and @mode are those of openat(2). Returns a descriptor that is closed on exec, or -1 with errno: besides
 * those of openat(2), ELOOP if @name is a symbolic link, and ENXIO if it is a FIFO, a device or a socket.
 * file_words() has words for both.
 */
int file_open(int dir, const char *name, int flags, mode_t mode);

/*
 * May the file @name in @dir be replaced or removed as a whole? So it is when there is none, and when it is
 * a regular file. Returns false with errno as file_open(), or EISDIR.
 */
bool file_replaceable(int dir, const char *name);

/* Does @name in @dir still name the open file @fd? */
bool file_is(int dir, const char *name, int fd);

/* strerror(3), and words for what file_open() means. */
const char *file_words(int error);

#endif
