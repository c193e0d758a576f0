/*
 * Files that are written - theory of operation
 *
 * In: blocks. Out: files that each hold a head and whole blocks. Blocks gather in a buffer and are written
 * together, so that a file costs few system calls.
 *
 * A file is made, never opened: O_EXCL refuses what exists, whatever it is. The directory is opened once, at
 * the start, and all names are relative to that; so a series goes on in the same directory if its path is
 * moved or replaced, and the sandbox can be as narrow as that. A series goes on behind the highest number
 * that is there, so that a program that is started again writes beside what it wrote before. What makes room
 * for --write-max are the lowest numbers of the series, those of earlier runs too: else each start would
 * add as much again.
 *
 * An error, such as a full disk: what was not written whole is taken back, so that the file stays readable
 * up to there, and its blocks are counted. Every second it is tried again. Of a packed file nothing can be
 * taken back: it ends there, and a series goes on with the next one. It is said once, and once when it
 * works again; a disk that is now full and now not would fill the log.
 */
#include "io/file/output.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "io/file/packer.h"
#include "program/file.h"
#include "program/log.h"
#include "program/sandbox.h"

SANDBOX_CALLS("openat", "ftruncate", "unlinkat", "faccessat", "faccessat2");

#define BUFFER_BYTES (2 * OUTPUT_BLOCK_MOST)
#define AGAIN NS_PER_SEC
#define NAME_BYTES 256u
#define NUMBER_MOST 999999999u
#define PACKED_EXTRA (512u << 10) /* bytes that a packing may hold back, and write with the last ones */

/* A file of the series that is not written to any more. */
struct old {
	uint32_t number;
	uint64_t bytes;
};

struct output {
	struct output_options options;
	bool series;
	int dir, fd; /* -1: none is open */
	char directory[4096];
	char stem[NAME_BYTES], suffix[NAME_BYTES]; /* of the name, around the number */
	char path[4096 + 3 * NAME_BYTES];
	uint32_t number;
	struct packer *packer;
	bool packed;
	uint64_t size;     /* bytes of the open file */
	uint64_t began_at; /* ns, of its first block; 0: it has none */
	uint64_t again_at; /* ns, after an error; 0: there is none */
	bool over;         /* no file follows the one that is broken */
	bool said, said_again;
	struct old *old; /* ascending */
	size_t n_old, room_old;
	uint64_t old_bytes;
	uint64_t blocks; /* in the buffer */
	size_t fill;
	struct output_counters n;
	uint8_t buffer[BUFFER_BYTES];
};

static void count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELEASE);
}

/* --- names --- */

/* Where the number goes: in front of what says what kind of file it is, and how it is packed. */
static void split_name(struct output *o, const char *name)
{
	const char *packing = packer_suffix(packer_by_name(name));
	const size_t len = strlen(name) - strlen(packing);
	size_t stem = len;

	while (stem && name[stem - 1] != '.')
		stem--;
	stem = stem > 1 ? stem - 1 : len; /* without a dot, or with one that hides it */
	snprintf(o->stem, sizeof(o->stem), "%.*s", (int)stem, name);
	snprintf(o->suffix, sizeof(o->suffix), "%s", name + stem);
}

static void name_of(const struct output *o, uint32_t number, char name[3 * NAME_BYTES])
{
	if (o->series)
		snprintf(name, 3 * NAME_BYTES, "%s.%05u%s", o->stem, number, o->suffix);
	else
		snprintf(name, 3 * NAME_BYTES, "%s%s", o->stem, o->suffix);
}

/* The number of the file @name of the series; 0: it is none. */
static uint32_t number_in(const struct output *o, const char *name)
{
	const size_t stem = strlen(o->stem);
	char same[3 * NAME_BYTES];
	unsigned long number;

	if (strncmp(name, o->stem, stem) || name[stem] != '.')
		return 0;
	number = strtoul(name + stem + 1, NULL, 10);
	if (!number || number > NUMBER_MOST)
		return 0;
	name_of(o, (uint32_t)number, same);
	return strcmp(name, same) ? 0 : (uint32_t)number;
}

static int add_old(struct output *o, uint32_t number, uint64_t bytes)
{
	if (o->n_old == o->room_old) {
		const size_t room = MAX(64u, 2 * o->room_old);
		struct old *more = realloc(o->old, room * sizeof(*more));

		if (!more)
			return -1;
		o->old = more;
		o->room_old = room;
	}
	o->old[o->n_old++] = (struct old){ number, bytes };
	o->old_bytes += bytes;
	return 0;
}

static int by_number(const void *a, const void *b)
{
	const struct old *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

/* The files of the series that are there. Returns -1 with errno. */
static int find_old(struct output *o)
{
	const int fd = openat(o->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *all = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	int rc = 0;

	if (!all) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	while (!rc && (entry = readdir(all))) {
		const uint32_t number = number_in(o, entry->d_name);
		struct stat st;

		if (!number)
			continue;
		o->number = MAX(o->number, number);
		if (!fstatat(o->dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode))
			rc = add_old(o, number, (uint64_t)st.st_size);
	}
	closedir(all);
	if (o->n_old)
		qsort(o->old, o->n_old, sizeof(o->old[0]), by_number);
	return rc;
}

/* --- files --- */

/* Make the next file, with its head. Returns -1 with errno, and then there is none. */
static int begin(struct output *o)
{
	char name[3 * NAME_BYTES];
	int error;

	o->number++;
	name_of(o, o->number, name);
	snprintf(o->path, sizeof(o->path), "%s/%s", o->directory, name);
	o->fd = file_open(o->dir, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (o->fd < 0)
		return -1;
	o->size = o->began_at = 0;
	count(&o->n.files, 1);
	if (!packer_write(o->packer, o->fd, o->options.head, o->options.head_len, false, &o->size)) {
		count(&o->n.bytes, o->size);
		return 0;
	}
	error = errno; /* nothing is in it, so nobody needs it */
	close(o->fd);
	o->fd = -1;
	unlinkat(o->dir, name, 0);
	errno = error;
	return -1;
}

/* The file that is open is done with. @broken: nothing can be written to it. */
static int end(struct output *o, bool broken)
{
	uint64_t size = o->size;
	int rc = 0;

	if (o->fd < 0)
		return 0;
	if (!broken)
		rc = packer_write(o->packer, o->fd, "", 0, true, &size);
	count(&o->n.bytes, size - o->size);
	if (close(o->fd))
		rc = -1;
	o->fd = -1;
	if (o->series)
		add_old(o, o->number, size); /* without memory it is not counted, and not removed */
	o->over = !o->series;
	return rc;
}

static void remove_oldest(struct output *o)
{
	char name[3 * NAME_BYTES];

	name_of(o, o->old[0].number, name);
	if (!unlinkat(o->dir, name, 0))
		count(&o->n.removed, 1);
	else if (errno != ENOENT)
		log_warn("cannot remove %s/%s, so the files of --write are larger than --write-max: %s",
			 o->directory, name, strerror(errno));
	o->old_bytes -= o->old[0].bytes;
	memmove(o->old, o->old + 1, --o->n_old * sizeof(o->old[0]));
}

/* Is @more too much for all files together? */
static bool over_quota(const struct output *o, uint64_t more)
{
	return o->options.most && o->old_bytes + (o->fd < 0 ? 0 : o->size) + more > o->options.most;
}

/* Make room for @more bytes. Returns -1 with errno. */
static int make_room(struct output *o, uint64_t more)
{
	more += o->packed ? PACKED_EXTRA : 0;
	while (over_quota(o, more) && o->n_old)
		remove_oldest(o);
	if (!over_quota(o, more) || !o->began_at)
		return 0;
	if (end(o, false))
		return -1;
	while (over_quota(o, more + o->options.head_len) && o->n_old)
		remove_oldest(o);
	return 0;
}

static void say_error(struct output *o, int error)
{
	if (!o->said)
		log_err("cannot write %s: %s; packets are counted as not written %s, and replication goes on",
			o->path, strerror(error),
			o->packed && !o->series ? "from now on" : "until it works again");
	o->said = true;
}

/* Write the buffer. Returns -1 with errno, and then the file is as it was, or has ended. */
static int write_buffer(struct output *o)
{
	uint64_t before;
	int error;

	if (o->over) {
		errno = EIO;
		return -1;
	}
	if (make_room(o, o->fill) || (o->fd < 0 && begin(o)))
		return -1;
	before = o->size;
	if (!packer_write(o->packer, o->fd, o->buffer, o->fill, false, &o->size)) {
		count(&o->n.bytes, o->size - before);
		return 0;
	}
	error = errno;
	if (!o->packed && !ftruncate(o->fd, (off_t)before) &&
	    lseek(o->fd, (off_t)before, SEEK_SET) == (off_t)before)
		o->size = before;
	else
		end(o, true);
	errno = error;
	return -1;
}

void output_flush(struct output *o, uint64_t now)
{
	const uint64_t blocks = o->blocks;
	bool failed;

	if (!blocks)
		return;
	failed = o->again_at > now;
	if (!failed && write_buffer(o)) {
		say_error(o, errno);
		o->again_at = now + AGAIN;
		failed = true;
	} else if (!failed && o->again_at) {
		o->again_at = 0;
		if (!o->said_again)
			log_info("writing to %s again", o->path);
		o->said_again = true;
	}
	if (!failed && !o->began_at)
		o->began_at = now;
	count(failed ? &o->n.failed : &o->n.written, blocks);
	o->blocks = o->fill = 0;
}

/* Is it the next file's turn? A file has a block at least. */
static bool is_turn(const struct output *o, uint64_t now)
{
	const struct output_options *p = &o->options;

	if (o->fd < 0 || (!o->began_at && !o->blocks))
		return false;
	if (p->rotate_time && o->began_at && now - o->began_at >= p->rotate_time)
		return true;
	return p->rotate_bytes && o->size + (o->packed ? 0 : o->fill) >= p->rotate_bytes;
}

uint8_t *output_room(struct output *o, uint64_t now)
{
	if (is_turn(o, now)) {
		output_flush(o, now);
		if (o->began_at && end(o, false))
			say_error(o, errno);
	}
	if (o->fill > BUFFER_BYTES - OUTPUT_BLOCK_MOST)
		output_flush(o, now);
	return o->buffer + o->fill;
}

void output_put(struct output *o, size_t n, uint64_t now)
{
	o->fill += n;
	o->blocks++;
	/* so that it is this block at which a file is full */
	if (o->options.rotate_bytes && !o->packed && o->size + o->fill >= o->options.rotate_bytes)
		output_flush(o, now);
}

void output_counters(const struct output *o, struct output_counters *n)
{
#define X(field, text) n->field = __atomic_load_n(&o->n.field, __ATOMIC_ACQUIRE);
	OUTPUT_COUNTERS(X)
#undef X
}

const char *output_path(const struct output *o)
{
	return o->path;
}

int output_check(const struct output *o)
{
	return o->series ? faccessat(o->dir, ".", W_OK | X_OK, 0) : 0;
}

/* --- start and end --- */

static int open_directory(struct output *o, char *err, size_t err_size)
{
	const char *slash = strrchr(o->options.path, '/');

	if (strlen(slash + 1) >= NAME_BYTES - 16) {
		snprintf(err, err_size, "the name is longer than %u characters", NAME_BYTES - 17);
		return -1;
	}
	snprintf(o->directory, sizeof(o->directory), "%.*s", (int)(slash - o->options.path), o->options.path);
	split_name(o, slash + 1);
	o->dir = open(o->directory[0] ? o->directory : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (o->dir < 0 || (o->series && find_old(o))) {
		snprintf(err, err_size, "the directory: %s", strerror(errno));
		return -1;
	}
	return 0;
}

/* Why the first file cannot be made. */
static void say_refused(const struct output *o, int error, char *err, size_t err_size)
{
	struct stat st;

	if (error == EEXIST && !lstat(o->path, &st) && S_ISLNK(st.st_mode))
		error = ELOOP;
	snprintf(err, err_size, "%s",
		 error == EEXIST ? "it exists, and nothing is written over it" : file_words(error));
}

struct output *output_open(const struct output_options *options, char *err, size_t err_size)
{
	struct output *o = malloc(sizeof(*o));
	const enum packing_written how = packer_by_name(options->path);

	if (!o) {
		snprintf(err, err_size, "out of memory");
		return NULL;
	}
	memset(o, 0, offsetof(struct output, buffer));
	o->options = *options;
	if (options->most && !options->rotate_bytes) /* or there would be no oldest one to go */
		o->options.rotate_bytes = options->most / 4;
	o->series = options->rotate_bytes || options->rotate_time;
	o->dir = o->fd = -1;
	o->packed = how != WRITE_PLAIN;
	o->packer = packer_new(how);
	if (!o->packer)
		snprintf(err, err_size, "out of memory");
	else if (open_directory(o, err, err_size))
		;
	else if (make_room(o, options->head_len) || begin(o))
		say_refused(o, errno, err, err_size);
	else
		return o;
	output_close(o);
	return NULL;
}

void output_end(struct output *o)
{
	output_flush(o, UINT64_MAX - AGAIN);
	if (end(o, false))
		say_error(o, errno);
}

void output_close(struct output *o)
{
	if (!o)
		return;
	output_end(o);
	if (o->dir >= 0)
		close(o->dir);
	packer_free(o->packer);
	free(o->old);
	free(o);
}
