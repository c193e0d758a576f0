/*
 * Files at chosen names - theory of operation
 *
 * In: a name that an operator chose, in a directory that others may write to. Out: a regular file, or the
 * reason why there is none. To open a FIFO waits for whoever reads it, so nothing is opened in a way that
 * waits. A symbolic link would lead what is written, emptied or removed to a file that nobody named, so the
 * last part of a name is not followed; directories may be links. A file that has another name besides would
 * do the same, and is not written to.
 */
#include "program/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int file_open(int dir, const char *name, int flags, mode_t mode)
{
	int fd = openat(dir, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, mode);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		errno = S_ISDIR(st.st_mode) ? EISDIR : ENXIO;
		return -1;
	}
	if (st.st_nlink < 2 || (flags & O_ACCMODE) == O_RDONLY)
		return fd;
	close(fd);
	errno = EMLINK;
	return -1;
}

bool file_replaceable(int dir, const char *name)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT;
	if (S_ISREG(st.st_mode))
		return true;
	errno = S_ISDIR(st.st_mode) ? EISDIR : S_ISLNK(st.st_mode) ? ELOOP : ENXIO;
	return false;
}

bool file_is(int dir, const char *name, int fd)
{
	struct stat named, open;

	return !fstatat(dir, name, &named, AT_SYMLINK_NOFOLLOW) && !fstat(fd, &open) &&
	       named.st_ino == open.st_ino && named.st_dev == open.st_dev;
}

const char *file_words(int error)
{
	switch (error) {
	case ELOOP:
		return "it is a symbolic link";
	case ENXIO:
		return "it is not a regular file";
	case EMLINK:
		return "it has another name as well (a hard link), so others may mean it";
	default:
		return strerror(error);
	}
}
