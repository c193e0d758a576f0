/*
 * Lines of text for the operator: to stderr at first ("prog: text", as a command answers), then to
 * a file or syslog.
 *
 * In: a level and a printf format. Out: one write() a line, so that the lines of several threads or
 * processes do not mix (the file is opened with O_APPEND). What cannot be written is lost: a full
 * disk must not stop a program that sits on a production server. Control characters are replaced,
 * as parts of a line may come from the network.
 *
 * The state is one per process and set up before there are threads; afterwards only log_reopen()
 * changes it, and that by dup3() onto the same descriptor, so that no other thread can see it
 * closed.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096

static struct {
	const char *prog;
	enum log_level max;
	bool to_syslog;
	int fd; /* stderr or the file */
	char *path;
} state = { .prog = "tcpcopy", .max = LOGL_INFO, .fd = STDERR_FILENO };

static const struct {
	const char *name;
	int priority;
} levels[] = {
	[LOGL_ERROR] = { "error", LOG_ERR },
	[LOGL_WARN] = { "warning", LOG_WARNING },
	[LOGL_INFO] = { "info", LOG_INFO },
	[LOGL_DEBUG] = { "debug", LOG_DEBUG },
};

void log_init(const char *prog, enum log_level max)
{
	state.prog = prog;
	state.max = max;
}

static int open_file(const char *path)
{
	return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
}

int log_to_file(const char *path)
{
	int fd = open_file(path), error;
	char *absolute;

	if (fd < 0)
		return -1;
	absolute = realpath(path, NULL); /* log_reopen() may come after a chdir() */
	if (!absolute) {
		error = errno;
		close(fd);
		errno = error;
		return -1;
	}
	log_close();
	state.fd = fd;
	state.path = absolute;
	return 0;
}

int log_reopen(void)
{
	int fd, result, error;

	if (!state.path)
		return 0;
	fd = open_file(state.path);
	if (fd < 0)
		return -1;
	result = dup3(fd, state.fd, O_CLOEXEC);
	error = errno;
	close(fd);
	errno = error;
	return result < 0 ? -1 : 0;
}

void log_to_syslog(void)
{
	log_close();
	openlog(state.prog, LOG_PID | LOG_NDELAY, LOG_DAEMON);
	state.to_syslog = true;
}

void log_close(void)
{
	if (state.to_syslog)
		closelog();
	state.to_syslog = false;
	if (state.path)
		close(state.fd);
	free(state.path);
	state.path = NULL;
	state.fd = STDERR_FILENO;
}

/* The time in the machine's zone, with its offset: what is needed to compare with another host's
 * log. */
static size_t put_time(char *line, size_t room)
{
	struct timespec ts;
	struct tm tm;
	size_t len;
	char zone[8];

	clock_gettime(CLOCK_REALTIME, &ts);
	localtime_r(&ts.tv_sec, &tm);
	len = strftime(line, room, "%Y-%m-%dT%H:%M:%S", &tm);
	strftime(zone, sizeof(zone), "%z", &tm);
	return len +
	       (size_t)snprintf(line + len, room - len, ".%03ld%s ", ts.tv_nsec / 1000000, zone);
}

void log_at(enum log_level level, const char *fmt, ...)
{
	char line[LINE_MAX_BYTES];
	size_t start = 0, len, room = sizeof(line) - 1; /* the newline's place */
	int wrote, error = errno;
	va_list args;

	if (level > state.max)
		return;
	if (state.path) {
		start = put_time(line, room);
		start += (size_t)snprintf(line + start, room - start, "%s[%d] %s: ", state.prog,
					  (int)getpid(), levels[level].name);
	} else if (!state.to_syslog) {
		start = (size_t)snprintf(line, room, "%s: ", state.prog);
	}
	va_start(args, fmt);
	errno = error; /* for %m */
	wrote = vsnprintf(line + start, room - start, fmt, args);
	va_end(args);
	if (wrote < 0)
		return;
	len = start + (size_t)wrote;
	if (len >= room) {
		len = room - 1;
		memcpy(line + len - 3, "...", 3);
	}
	for (size_t i = start; i < len; i++) {
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	}
	if (state.to_syslog) {
		syslog(levels[level].priority, "%.*s", (int)len, line);
	} else {
		line[len++] = '\n';
		while (write(state.fd, line, len) < 0 && errno == EINTR)
			;
	}
	errno = error;
}

bool log_limit_pass(struct log_limit *l, unsigned *kept_back)
{
	struct timespec ts;
	uint64_t now, next = __atomic_load_n(&l->next, __ATOMIC_RELAXED);

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	now = (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
	/* Of several threads that find the second over, one wins the exchange and speaks. */
	if (now < next || !__atomic_compare_exchange_n(&l->next, &next, now + NS_PER_SEC, false,
						       __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
		__atomic_add_fetch(&l->kept_back, 1, __ATOMIC_RELAXED);
		return false;
	}
	*kept_back = __atomic_exchange_n(&l->kept_back, 0, __ATOMIC_RELAXED);
	return true;
}
