/*
 * Files that are replaced whole - theory of operation
 *
 * In: a path at the start, contents later. Out: the contents under a name of our own in the same directory,
 * renamed when complete; so neither a full disk nor a crash leaves half a file under the name that others
 * read. The directory is held open, since by the time of writing the program may have another root, user or
 * working directory.
 */
#include "program/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "program/log.h"
#include "program/sandbox.h"

SANDBOX_CALLS("openat", "renameat", "renameat2", "unlinkat");

struct replace {
	int dir;
	char name[256], temporary[280];
};

static int create(const struct replace *r)
{
	return openat(r->dir, r->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0640);
}

static int try_it(const struct replace *r)
{
	struct stat st;
	int fd;

	if (!fstatat(r->dir, r->name, &st, 0) && S_ISDIR(st.st_mode)) {
		errno = EISDIR;
		return -1;
	}
	fd = create(r);
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
	int fd = create(r), result, error;

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

struct replace *replace_open_report(const char *path, char *err, size_t err_size)
{
	struct replace *r = replace_open(path);

	if (!r)
		snprintf(err, err_size,
			 "option --report \"%s\": %s; accepted: a file in an existing, writable directory",
			 path, strerror(errno));
	return r;
}

bool replace_report(const struct replace *r, const char *path, char *text)
{
	const bool written = text && !replace_write(r, text, strlen(text));

	if (!written)
		log_limited(LOGL_WARN, "cannot write the report \"%s\": %s; keeping the previous one", path,
			    text ? strerror(errno) : "out of memory");
	free(text);
	return written;
}
