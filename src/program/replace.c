/*
 * Files that are replaced whole - theory of operation
 *
 * In: a path at the start, contents later. Out: the contents under a name of our own in the same directory,
 * renamed when complete; so neither a full disk nor a crash leaves half a file under the name that others
 * read. The directory is held open, since by the time of writing the program may have another root, user or
 * working directory. What is neither a regular file nor
 * one of ours is left alone, also when it appears while the program runs.
 */
#include "program/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "program/file.h"
#include "program/log.h"
#include "program/sandbox.h"

SANDBOX_CALLS("openat", "renameat", "renameat2", "unlinkat");

struct replace {
	int dir;
	char name[256], temporary[280];
};

/* Is the file in the way one that a crash of ours has left? Others' stay. */
static bool left_by_us(const struct replace *r)
{
	struct stat st, dir;

	return !fstatat(r->dir, r->temporary, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode) &&
	       st.st_nlink == 1 && !fstatat(r->dir, ".", &dir, 0) &&
	       (st.st_uid == geteuid() || st.st_uid == 0 || st.st_uid == dir.st_uid);
}

static int create(const struct replace *r)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL;
	int fd = file_open(r->dir, r->temporary, flags, 0640);

	if (fd >= 0 || errno != EEXIST)
		return fd;
	if (left_by_us(r) && !unlinkat(r->dir, r->temporary, 0))
		return file_open(r->dir, r->temporary, flags, 0640);
	errno = EEXIST;
	return -1;
}

static int try_it(const struct replace *r)
{
	int fd = file_replaceable(r->dir, r->name) ? create(r) : -1;

	if (fd < 0)
		return -1;
	close(fd);
	return unlinkat(r->dir, r->temporary, 0);
}

struct replace *replace_open(const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	struct replace *r = calloc(1, sizeof(*r));
	char *directory = strndup(path, slash ? (size_t)(slash - path) + 1 : 0);
	int error = ENOMEM;

	if (!r || !directory)
		goto failed;
	error = ENAMETOOLONG;
	if (strlen(name) >= sizeof(r->name))
		goto failed;
	strcpy(r->name, name);
	snprintf(r->temporary, sizeof(r->temporary), ".%s.new", name);
	r->dir = open(slash ? directory : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	error = errno;
	if (r->dir < 0)
		goto failed;
	if (try_it(r)) {
		error = errno;
		close(r->dir);
		goto failed;
	}
	free(directory);
	sandbox_keep_file(path);
	return r;
failed:
	free(directory);
	free(r);
	errno = error;
	return NULL;
}

static int write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

int replace_write(const struct replace *r, const void *data, size_t len)
{
	int fd = file_replaceable(r->dir, r->name) ? create(r) : -1, result, error;

	if (fd < 0)
		return -1;
	result = write_all(fd, data, len);
	error = errno;
	if (close(fd) && !result) {
		result = -1;
		error = errno;
	}
	if (!result && !renameat(r->dir, r->temporary, r->dir, r->name))
		return 0;
	if (!result)
		error = errno;
	unlinkat(r->dir, r->temporary, 0);
	errno = error;
	return -1;
}

void replace_close(struct replace *r)
{
	if (!r)
		return;
	close(r->dir);
	free(r);
}

const char *replace_words(const char *path, int error, char *buf, size_t size)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	if (error != EEXIST)
		return file_words(error);
	snprintf(buf, size, "the file .%.200s.new beside it is somebody else's", name);
	return buf;
}

struct replace *replace_open_report(const char *path, char *err, size_t err_size)
{
	struct replace *r = replace_open(path);
	char words[REPLACE_WORDS];

	if (!r)
		snprintf(err, err_size,
			 "option --report \"%s\": %s; accepted: a file in an existing, writable directory",
			 path, replace_words(path, errno, words, sizeof(words)));
	return r;
}

bool replace_report(const struct replace *r, const char *path, char *text)
{
	const bool written = text && !replace_write(r, text, strlen(text));
	char words[REPLACE_WORDS];

	if (!written)
		log_limited(LOGL_WARN, "cannot write the report \"%s\": %s; keeping the previous one", path,
			    text ? replace_words(path, errno, words, sizeof(words)) : "out of memory");
	free(text);
	return written;
}
