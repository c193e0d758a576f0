/*
 * Lines of text for the operator: to stderr at first ("prog: text", as a command answers), then to
 * a file, syslog or the journal of systemd.
 *
 * In: a level and a printf format. Out: one write() a line, so that the lines of several threads or
 * processes do not mix (the file is opened with O_APPEND). What cannot be written is lost and
 * counted: a full disk must not stop a program that sits on a production server. The next line that can
 * be written says how many were lost. Behind a line that was written in part the next one begins with a
 * newline. Control characters are replaced, as parts of a line may come from the network.
 *
 * The sockets of syslog and the journal are opened at the start and kept, as the sandbox lets none be opened
 * and none go to another address. When the daemon at their other end is started anew with a new socket, the
 * lines that follow are lost, which --status counts. A daemon that hangs costs one line PATIENCE_MS; from
 * then on it gets what it takes at once. So does whoever reads stderr: a pager that waits for its user, or a
 * terminal that was stopped, must not stop the program. The descriptor is the caller's as
 * well, so it stays blocking, and is asked for room instead: there is some for a whole line, or none.
 *
 * The state is one per process; a lock keeps a line that another thread writes from meeting its
 * change. The directory of the file is kept open, so that it can be found again from wherever the
 * program was confined to.
 */
#include "program/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "program/clock.h"
#include "program/file.h"
#include "program/sandbox.h"

/* The file, opened anew; lines for a socket. */
SANDBOX_CALLS("openat", "sendto");

#define LINE_MAX_BYTES 4096
#define PATIENCE_MS 200

static struct {
	const char *prog;
	enum log_level max;
	bool to_syslog, to_journal;
	bool nowhere;    /* the file is /dev/null */
	bool stream;     /* syslog's socket has no bounds between lines but zeros */
	bool hangs;      /* syslog or stderr took too long, and has not taken a line since */
	bool priorities; /* stderr is systemd's, which reads "<4>" at the beginning of a line */
	bool torn;       /* the line before lacks its end */
	bool over_line;  /* on stderr: what stands in its line is cleared before */
	int fd;          /* stderr, the file, or the socket of syslog or the journal */
	int syslog;      /* the socket of log_open_syslog(), until it is used; -1: none */
	int dir;         /* where the file is; -1: no file */
	char *name;      /* of the file in there; NULL: no file */
	uint64_t suppressed, dropped;
	unsigned lost;  /* lines since the last one that was written ... */
	int lost_errno; /* ... and why; 0: in part */
} state = { .prog = "tcpcopy", .max = LOGL_INFO, .fd = STDERR_FILENO, .syslog = -1, .dir = -1 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

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
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	state.prog = prog;
	state.max = max;
	state.priorities = stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
			   !fstat(STDERR_FILENO, &st) && st.st_dev == device && st.st_ino == inode;
}

static int open_file(int dir, const char *name)
{
	return file_open(dir, name, O_WRONLY | O_APPEND | O_CREAT, 0640);
}

static int open_directory(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *directory = strndup(path, slash ? (size_t)MAX(slash - path, 1) : 0);
	int dir, error;

	if (!directory)
		return -1;
	dir = open(slash ? directory : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	error = errno;
	free(directory);
	errno = error;
	return dir;
}

/* Under the lock. */
static void put_line(enum log_level level, const char *fmt, va_list args) PRINTF_LIKE(2, 0);
static void close_log(void)
{
	if (state.name || state.nowhere || state.to_journal || state.to_syslog)
		close(state.fd);
	if (state.dir >= 0)
		close(state.dir);
	free(state.name);
	state.nowhere = state.to_syslog = state.to_journal = state.torn = state.hangs = false;
	state.name = NULL;
	state.lost = 0;
	state.dir = -1;
	state.fd = STDERR_FILENO;
}

/* Lines go to @fd from now on, which has no name to be opened anew by. *@kind says what it is. */
static int log_to_descriptor(int fd, bool *kind)
{
	if (fd < 0)
		return -1;
	pthread_mutex_lock(&lock);
	close_log();
	state.fd = fd;
	*kind = true;
	pthread_mutex_unlock(&lock);
	return 0;
}

int log_to_file(const char *path)
{
	const char *slash = strrchr(path, '/');
	int dir, fd, error;
	char *name;

	/* the one device that somebody may name; its directory is not to stay writable */
	if (!strcmp(path, "/dev/null"))
		return log_to_descriptor(open(path, O_WRONLY | O_CLOEXEC), &state.nowhere);
	dir = open_directory(path);
	if (dir < 0)
		return -1;
	name = strdup(slash ? slash + 1 : path);
	fd = name ? open_file(dir, name) : -1;
	if (fd < 0) {
		error = errno;
		free(name);
		close(dir);
		errno = error;
		return -1;
	}
	pthread_mutex_lock(&lock);
	close_log();
	state.fd = fd;
	state.dir = dir;
	state.name = name;
	pthread_mutex_unlock(&lock);
	sandbox_keep_file(path);
	return 0;
}

int log_reopen(void)
{
	int fd, result, error;

	if (!state.name)
		return 0;
	fd = open_file(state.dir, state.name);
	if (fd < 0)
		return -1;
	pthread_mutex_lock(&lock);
	result = dup3(fd, state.fd, O_CLOEXEC);
	error = errno;
	pthread_mutex_unlock(&lock);
	close(fd);
	errno = error;
	return result < 0 ? -1 : 0;
}

/* A socket of the type @type that is connected to @path, or -1 with errno. */
static int connect_to(const char *path, int type)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0), error;

	if (fd < 0)
		return -1;
	snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
	if (!connect(fd, (struct sockaddr *)&to, sizeof(to)))
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

int log_open_syslog(const char *socket_path)
{
	static const struct timeval patience = { .tv_usec = PATIENCE_MS * 1000 };

	state.syslog = connect_to(socket_path, SOCK_DGRAM);
	state.stream = state.syslog < 0 && errno == EPROTOTYPE;
	if (state.stream)
		state.syslog = connect_to(socket_path, SOCK_STREAM);
	if (state.syslog < 0)
		return -1;
	setsockopt(state.syslog, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	return 0;
}

void log_to_syslog(void)
{
	pthread_mutex_lock(&lock);
	close_log();
	state.fd = state.syslog;
	state.syslog = -1;
	state.to_syslog = true;
	pthread_mutex_unlock(&lock);
}

int log_to_journal(const char *socket_path)
{
	return log_to_descriptor(connect_to(socket_path, SOCK_DGRAM | SOCK_NONBLOCK), &state.to_journal);
}

void log_close(void)
{
	pthread_mutex_lock(&lock);
	close_log();
	pthread_mutex_unlock(&lock);
}

/* The time in the machine's zone, with its offset: what is needed to compare with another host's
 * log. */
static size_t put_time(char *line, size_t room)
{
	const uint64_t now = clock_wall();
	const time_t seconds = (time_t)(now / NS_PER_SEC);
	struct tm tm;
	size_t len;
	char zone[8];

	localtime_r(&seconds, &tm);
	len = strftime(line, room, "%Y-%m-%dT%H:%M:%S", &tm);
	strftime(zone, sizeof(zone), "%z", &tm);
	return len +
	       (size_t)snprintf(line + len, room - len, ".%03u%s ", (unsigned)(now / NS_PER_MS % 1000), zone);
}

void log_over_line(bool on)
{
	pthread_mutex_lock(&lock);
	state.over_line = on;
	pthread_mutex_unlock(&lock);
}

/* Is the line for a pipe, terminal or socket of the caller that has no room? It may get some soon. */
static bool stderr_is_full(void)
{
	struct pollfd p = { .fd = state.fd, .events = POLLOUT };
	int n;

	if (state.name || state.nowhere || state.to_journal || state.to_syslog)
		return false;
	do
		n = poll(&p, 1, state.hangs ? 0 : PATIENCE_MS);
	while (n < 0 && errno == EINTR);
	if (!n)
		errno = EAGAIN;
	return !n;
}

static void write_line(const char *line, size_t len)
{
	const int flags = MSG_NOSIGNAL | (state.hangs ? MSG_DONTWAIT : 0);
	ssize_t wrote = -1;

	if (!stderr_is_full())
		do
			wrote = state.to_syslog ? send(state.fd, line, len, flags)
						: write(state.fd, line, len);
		while (wrote < 0 && errno == EINTR);
	state.hangs = !state.to_journal && wrote < 0 && errno == EAGAIN;
	if (wrote == (ssize_t)len) {
		state.lost = 0;
	} else {
		__atomic_add_fetch(&state.dropped, 1, __ATOMIC_RELAXED);
		state.lost++;
		state.lost_errno = wrote < 0 ? errno : 0;
	}
	if (wrote > 0)
		state.torn = wrote != (ssize_t)len;
}

/* "<30>Nov 28 12:00:00 prog[1]: ", as syslog(3) has it. */
static size_t put_syslog_head(char *line, size_t room, int priority)
{
	const time_t now = time(NULL);
	struct tm tm;
	size_t len;

	localtime_r(&now, &tm);
	len = (size_t)snprintf(line, room, "<%d>", LOG_DAEMON | priority);
	len += strftime(line + len, room - len, "%b %e %H:%M:%S", &tm);
	return len + (size_t)snprintf(line + len, room - len, " %s[%d]: ", state.prog, (int)getpid());
}

/* How a line begins where it goes. */
static size_t put_head(char *line, size_t room, enum log_level level)
{
	size_t len = 0;

	if (state.to_journal)
		return (size_t)snprintf(line, room, "SYSLOG_IDENTIFIER=%s\nPRIORITY=%d\nMESSAGE=", state.prog,
					levels[level].priority);
	if (state.to_syslog)
		return put_syslog_head(line, room, levels[level].priority);
	if (state.name) {
		if (state.torn)
			line[len++] = '\n';
		len += put_time(line + len, room - len);
		return len + (size_t)snprintf(line + len, room - len, "%s[%d] %s: ", state.prog,
					      (int)getpid(), levels[level].name);
	}
	if (state.priorities)
		len = (size_t)snprintf(line, room, "<%d>", levels[level].priority);
	return len + (size_t)snprintf(line + len, room - len, "%s%s: ", state.over_line ? "\033[K" : "",
				      state.prog);
}

/* Under the lock. */
static void put_line(enum log_level level, const char *fmt, va_list args) PRINTF_LIKE(2, 0);
static void put_line(enum log_level level, const char *fmt, va_list args)
{
	char line[LINE_MAX_BYTES];
	size_t start, len, room = sizeof(line) - 1; /* the newline's place */
	int wrote, error = errno;

	start = put_head(line, room, level);
	errno = error; /* for %m */
	wrote = vsnprintf(line + start, room - start, fmt, args);
	if (wrote < 0)
		return;
	len = start + (size_t)wrote;
	if (state.lost && len < room)
		len += (size_t)snprintf(line + len, room - len, " (lines lost before this one: %u, %s)",
					state.lost,
					state.lost_errno ? strerror(state.lost_errno) : "no room");
	if (len >= room) {
		len = room - 1;
		memcpy(line + len - 3, "...", 3);
	}
	for (size_t i = start; i < len; i++) {
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	}
	if (!state.to_syslog)
		line[len++] = '\n';
	else if (state.stream)
		line[len++] = '\0';
	write_line(line, len);
}

void log_at(enum log_level level, const char *fmt, ...)
{
	const int error = errno;
	va_list args;

	if (level > state.max)
		return;
	pthread_mutex_lock(&lock);
	errno = error;
	va_start(args, fmt);
	put_line(level, fmt, args);
	va_end(args);
	pthread_mutex_unlock(&lock);
	errno = error;
}

bool log_limit_pass(struct log_limit *l, unsigned burst, unsigned *kept_back)
{
	uint64_t now = clock_coarse(), next = __atomic_load_n(&l->next, __ATOMIC_RELAXED);

	*kept_back = 0;
	/* Of several threads that find the second over, one wins the exchange and begins the next. */
	if (now >= next && __atomic_compare_exchange_n(&l->next, &next, now + NS_PER_SEC, false,
						       __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
		__atomic_store_n(&l->passed, 1, __ATOMIC_RELAXED);
		*kept_back = __atomic_exchange_n(&l->kept_back, 0, __ATOMIC_RELAXED);
		return true;
	}
	if (__atomic_add_fetch(&l->passed, 1, __ATOMIC_RELAXED) <= burst)
		return true;
	__atomic_add_fetch(&l->kept_back, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&state.suppressed, 1, __ATOMIC_RELAXED);
	return false;
}

uint64_t log_lines_suppressed(void)
{
	return __atomic_load_n(&state.suppressed, __ATOMIC_RELAXED);
}

uint64_t log_lines_dropped(void)
{
	return __atomic_load_n(&state.dropped, __ATOMIC_RELAXED);
}

void log_lines(char *text)
{
	char *rest = NULL, *line = text ? strtok_r(text, "\n", &rest) : NULL;

	for (; line; line = strtok_r(NULL, "\n", &rest))
		log_info("%s", line);
	free(text);
}
