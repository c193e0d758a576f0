/*
 * Daemons that the shell can trust, and their pid files.
 *
 *     starter ── fork ──> daemon (own session)
 *        │                   │ sets everything up; errors still go to the terminal
 *        │ <── "ready" ──────┤ then stdio becomes /dev/null
 *        exit 0              works
 *
 * The two talk over a socket pair: one message of the daemon, {status, text}, ready being status 0
 * and no text. End of file without a message means that the daemon ended by itself: the starter
 * exits as it did. While it is not ready, the daemon dies with its starter (PR_SET_PDEATHSIG), so
 * that ^C at the shell does what it says.
 *
 * One fork and setsid() are enough: a second fork would only keep a session leader from acquiring a
 * terminal by opening one, and every file here is opened with O_NOCTTY; it would cost the starter
 * the daemon's exit status.
 */
#include "program/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "program/file.h"
#include "program/log.h"
#include "program/sandbox.h"

/* The last steps of becoming a daemon, and the end of a pid file. */
SANDBOX_CALLS("openat", "chdir", "sendto", "unlink", "ftruncate");

#define FEW_DESCRIPTORS 12           /* more than what a failed step gives back before it is reported */
#define LITTLE_MEMORY (128ull << 20) /* more than the buffers of a capture, or the stack of a thread */

struct report {
	int status;
	char text[2000];
};

static const char *program; /* NULL: as it was called */
static int channel = -1;    /* to the starter */

static _Noreturn void starter(int fd, pid_t daemon)
{
	struct report r;
	ssize_t got;
	int status;

	do {
		got = recv(fd, &r, sizeof(r), 0);
	} while (got < 0 && errno == EINTR);
	if (got >= (ssize_t)offsetof(struct report, text)) {
		if (r.status)
			fprintf(stderr, "%s: %.*s\n", program,
				(int)((size_t)got - offsetof(struct report, text)), r.text);
		_exit(r.status);
	}
	while (waitpid(daemon, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status)) {
		fprintf(stderr, "%s: ended by signal %d (%s) before it was ready\n", program,
			WTERMSIG(status), strsignal(WTERMSIG(status)));
		_exit(1);
	}
	if (!WEXITSTATUS(status))
		fprintf(stderr, "%s: ended before it was ready\n", program);
	_exit(WEXITSTATUS(status) ? WEXITSTATUS(status) : 1);
}

void daemon_close_inherited(void)
{
	close_range(STDERR_FILENO + 1, ~0u, 0);
}

int daemon_begin(const char *prog)
{
	pid_t parent = getpid(), child;
	int pair[2];

	program = prog;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	fflush(NULL); /* or both would print what is buffered */
	child = fork();
	if (child < 0) {
		int error = errno;

		close(pair[0]);
		close(pair[1]);
		errno = error;
		return -1;
	}
	if (child > 0) {
		close(pair[1]);
		starter(pair[0], child);
	}
	channel = pair[1];
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
	setsid();
	umask(027);
	return 0;
}

static int tell(const struct report *r, size_t text_len)
{
	ssize_t sent = send(channel, r, offsetof(struct report, text) + text_len, MSG_NOSIGNAL);

	close(channel);
	channel = -1;
	return sent < 0 ? -1 : 0;
}

int daemon_ready(void)
{
	struct report r = { .status = 0 };
	int null;

	if (channel < 0)
		return 0;
	null = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (null < 0 || chdir("/") < 0)
		return -1;
	fflush(NULL);
	prctl(PR_SET_PDEATHSIG, 0);
	if (tell(&r, 0) < 0) {
		close(null);
		errno = ESRCH;
		return -1;
	}
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	if (null > STDERR_FILENO)
		close(null);
	return 0;
}

/* Are so few numbers for files left that this may be why something failed? */
static bool lacks_descriptors(void)
{
	int fd[FEW_DESCRIPTORS], n = 0;
	bool lacks;

	while (n < FEW_DESCRIPTORS && (fd[n] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
		n++;
	lacks = n < FEW_DESCRIPTORS && errno == EMFILE;
	while (n > 0)
		close(fd[--n]);
	return lacks;
}

/* Is the limit of memory the reason of a failure that has to do with memory? *@most: what it is. */
static bool lacks_memory(const char *text, struct rlimit *most)
{
	void *p;

	if (!strstr(text, "memory") || getrlimit(RLIMIT_AS, most) || most->rlim_cur == RLIM_INFINITY)
		return false;
	p = mmap(NULL, LITTLE_MEMORY, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p != MAP_FAILED)
		munmap(p, LITTLE_MEMORY);
	return p == MAP_FAILED;
}

void daemon_fail(int status, const char *fmt, ...)
{
	struct report r = { .status = status };
	struct rlimit files, memory;
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(r.text, sizeof(r.text), fmt, args);
	va_end(args);
	if (len < 0)
		len = 0;
	if (len < (int)sizeof(r.text) && lacks_descriptors() && !getrlimit(RLIMIT_NOFILE, &files))
		len += snprintf(
			r.text + len, sizeof(r.text) - (size_t)len,
			" (this process may open only %llu files, and has nearly used them up: raise the "
			"limit with ulimit -n or LimitNOFILE=)",
			(unsigned long long)files.rlim_cur);
	if (len < (int)sizeof(r.text) && lacks_memory(r.text, &memory))
		len += snprintf(
			r.text + len, sizeof(r.text) - (size_t)len,
			" (this process may have only %llu MB of memory, and needs more: raise the limit with "
			"ulimit -v or LimitAS=)",
			(unsigned long long)memory.rlim_cur >> 20);
	if (len >= (int)sizeof(r.text))
		len = (int)sizeof(r.text) - 1;
	if (channel < 0 || tell(&r, (size_t)len) < 0)
		fprintf(stderr, "%s: %s\n", program ? program : program_invocation_short_name, r.text);
	exit(status);
}

/* --- pid file --- */

static struct {
	char *path; /* absolute, as the directory changes */
	int fd;
	pid_t owner;
} pid_file = { .fd = -1 };

static void pid_file_remove(void)
{
	if (pid_file.fd < 0 || pid_file.owner != getpid())
		return;
	/*
	 * Unless others have put theirs in its place, and before the lock goes: afterwards the file may be
	 * another's. In a directory that --user may not write to the file stays, and is empty.
	 */
	if (file_is(AT_FDCWD, pid_file.path, pid_file.fd) && unlink(pid_file.path) &&
	    ftruncate(pid_file.fd, 0))
		log_warn("cannot remove the PID file %s: %s", pid_file.path, strerror(errno));
	close(pid_file.fd);
	free(pid_file.path);
	pid_file.path = NULL;
	pid_file.fd = -1;
}

/* Who holds the lock: the kernel knows, unless it is a process of another pid namespace; then the
 * file may. */
static pid_t lock_holder(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char text[16] = "";

	if (fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && lock.l_pid > 0)
		return lock.l_pid;
	if (pread(fd, text, sizeof(text) - 1, 0) > 0)
		return (pid_t)strtol(text, NULL, 10);
	return 0;
}

/* Is the file empty, or has one of our kind written it? */
static bool holds_pid(int fd)
{
	char text[16] = "";
	const ssize_t len = pread(fd, text, sizeof(text), 0);
	const size_t digits = strspn(text, "0123456789");

	return len == 0 ||
	       (len > 0 && len < (ssize_t)sizeof(text) && digits == (size_t)len - 1 && text[digits] == '\n');
}

/* Opens and locks the file that @path names now. */
static int open_locked(const char *path, pid_t *holder)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd, error;

	for (;;) {
		fd = file_open(AT_FDCWD, path, O_RDWR | O_CREAT, 0644);
		if (fd < 0)
			return -1;
		if (fcntl(fd, F_SETLK, &lock) < 0) {
			error = errno;
			if (error == EACCES || error == EAGAIN) {
				*holder = lock_holder(fd);
				error = EBUSY;
			}
			close(fd);
			errno = error;
			return -1;
		}
		/* The holder before us may have removed the file between our open and our lock. */
		if (file_is(AT_FDCWD, path, fd))
			return fd;
		close(fd);
	}
}

int pid_file_take(const char *path, pid_t *holder)
{
	static bool registered;
	int fd, error;

	*holder = 0;
	fd = open_locked(path, holder);
	if (fd < 0)
		return -1;
	if (!holds_pid(fd)) {
		close(fd);
		errno = EEXIST;
		return -1;
	}
	if (ftruncate(fd, 0) < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0)
		goto failed;
	pid_file.path = realpath(path, NULL);
	if (!pid_file.path)
		goto failed;
	pid_file.fd = fd;
	pid_file.owner = getpid();
	sandbox_keep_file(pid_file.path);
	if (!registered && atexit(pid_file_remove) == 0)
		registered = true;
	return 0;
failed:
	error = errno;
	unlink(path);
	close(fd);
	errno = error;
	return -1;
}
