/*
 * The file of --state.
 *
 * In: the orphans of a worker, once a second if they have changed, and at the end. The worker only copies
 * them; the main thread writes the file, because a disk may take any time. Out: the same orphans, for an
 * intercept that starts later, whether this one was stopped or killed or the host restarted. Without the
 * file, a connection that a killed tcpcopy left on a target would stay there for as long as the target keeps
 * it, if intercept restarts before the target sends anything.
 *
 * After a kill, the orphans of the last second are missing. So are the watches of the tcpcopys that are
 * alive, but these announce them again.
 *
 *     magic | record | record | ...       record: target, client, owner, wall-clock time of its loss
 *
 * The file is replaced as a whole (program/replace.h), so it is never half written. Each worker has its own.
 * All files are read at the start, because the number of workers may have changed, and responses are spread
 * over them anew.
 */
#include "intercept/watch/state.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "program/clock.h"
#include "program/file.h"
#include "program/log.h"
#include "program/replace.h"
#include "base/util.h"
#include "io/capture/fanout.h"

#define NAME_SIZE 4112 /* the longest path, and the number of a worker */

static const char magic[24] = "intercept's state, 1\n\n\n";

struct record {
	uint8_t target[16], client[16], owner[16];
	uint16_t target_port, client_port; /* big-endian */
	uint32_t unused;
	uint64_t lost_at; /* ns since the epoch */
};

struct state {
	struct replace *file;
	char *taken; /* to be written; NULL: nothing */
	size_t len;
	char path[NAME_SIZE];
};

static void name_of(char *out, size_t size, const char *path, unsigned worker)
{
	if (worker)
		snprintf(out, size, "%s.%u", path, worker);
	else
		snprintf(out, size, "%s", path);
}

/*
 * Opens a state file and skips its magic. NULL: there is no such file, or (*@foreign) it is not a state
 * file.
 */
static FILE *open_ours(const char *name, bool *foreign)
{
	const int fd = file_open(AT_FDCWD, name, O_RDONLY, 0);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	char head[sizeof(magic)];
	size_t n;

	*foreign = false;
	if (!f && fd >= 0)
		close(fd);
	if (!f)
		return NULL;
	n = fread(head, 1, sizeof(head), f);
	*foreign = n && (n < sizeof(head) || memcmp(head, magic, sizeof(head)) != 0);
	if (n == sizeof(head) && !*foreign)
		return f;
	fclose(f);
	return NULL;
}

struct state *state_open(const char *path, unsigned worker, char *err, size_t err_size)
{
	struct state *s = calloc(1, sizeof(*s));
	char words[REPLACE_WORDS];
	bool foreign;
	FILE *f;

	if (!s) {
		snprintf(err, err_size, "out of memory");
		return NULL;
	}
	name_of(s->path, sizeof(s->path), path, worker);
	f = open_ours(s->path, &foreign);
	if (f)
		fclose(f);
	if (!foreign)
		s->file = replace_open(s->path);
	if (s->file)
		return s;
	snprintf(err, err_size,
		 "option --state \"%s\": %s; accepted: a file in an existing, writable directory that is new "
		 "or was written by intercept",
		 path,
		 foreign ? "it is not a state file of intercept"
			 : replace_words(s->path, errno, words, sizeof(words)));
	free(s);
	return NULL;
}

void state_close(struct state *s)
{
	if (!s)
		return;
	replace_close(s->file);
	free(s->taken);
	free(s);
}

static struct orphan from_record(const struct record *r, uint64_t age, uint64_t now)
{
	struct orphan x = { .since = now - MIN(age, now) };

	memcpy(x.tuple.src.addr.b, r->target, 16);
	memcpy(x.tuple.dst.addr.b, r->client, 16);
	memcpy(x.owner.b, r->owner, 16);
	x.tuple.src.port = ntohs(r->target_port);
	x.tuple.dst.port = ntohs(r->client_port);
	return x;
}

void state_load(const char *path, uint64_t now, void (*fn)(const struct orphan *x, void *arg), void *arg)
{
	const uint64_t wall = clock_wall();
	struct record r;
	char name[NAME_SIZE];
	bool foreign;

	for (unsigned i = 0; i < FANOUT_MAX_WORKERS; i++) {
		FILE *f;

		name_of(name, sizeof(name), path, i);
		f = open_ours(name, &foreign);
		while (f && fread(&r, sizeof(r), 1, f) == 1) {
			/* the wall clock may have been set back meanwhile */
			const uint64_t age = wall - MIN(r.lost_at, wall);
			const struct orphan x = from_record(&r, age, now);

			if (age < ORPHAN_LIFE_NS)
				fn(&x, arg);
		}
		if (f)
			fclose(f);
	}
}

void state_remove_others(const char *path, unsigned count)
{
	char name[NAME_SIZE];
	bool foreign;

	for (unsigned i = count; i < FANOUT_MAX_WORKERS; i++) {
		FILE *f;

		name_of(name, sizeof(name), path, i);
		f = open_ours(name, &foreign);
		if (!f)
			continue;
		fclose(f);
		unlink(name);
	}
}

struct writing {
	struct record *to;
	uint64_t wall, now;
};

static void add_record(const struct orphan *x, void *arg)
{
	struct writing *w = arg;
	struct record *r = w->to++;

	memcpy(r->target, x->tuple.src.addr.b, 16);
	memcpy(r->client, x->tuple.dst.addr.b, 16);
	memcpy(r->owner, x->owner.b, 16);
	r->target_port = htons(x->tuple.src.port);
	r->client_port = htons(x->tuple.dst.port);
	r->unused = 0;
	r->lost_at = w->wall - (w->now - x->since);
}

void state_take(struct state *s, struct orphans *o, uint64_t now)
{
	size_t most = sizeof(magic) + orphans_count(o) * sizeof(struct record);
	struct writing w = { .wall = clock_wall(), .now = now };

	if (!orphans_changed(o))
		return;
	free(s->taken);
	s->taken = malloc(most);
	if (!s->taken)
		return;
	memcpy(s->taken, magic, sizeof(magic));
	w.to = (struct record *)(void *)(s->taken + sizeof(magic));
	orphans_each(o, add_record, &w);
	s->len = (size_t)((char *)w.to - s->taken);
}

void state_write(struct state *s)
{
	char words[REPLACE_WORDS];

	if (s->taken && replace_write(s->file, s->taken, s->len))
		log_limited(LOGL_WARN, "cannot write the state \"%s\": %s; keeping the previous one", s->path,
			    replace_words(s->path, errno, words, sizeof(words)));
	free(s->taken);
	s->taken = NULL;
}

void state_save(struct state *s, struct orphans *o, uint64_t now)
{
	state_take(s, o, now);
	state_write(s);
}
