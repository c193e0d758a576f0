/*
 * --guard: drop the target's responses on a host whose kernel forwards.
 *
 * In: endpoints of targets, as tcpcopys announce them. Out: rules of the kernel in an nft table of
 * our own, made by the nft command from a script on its stdin.
 *
 * The chain lies at prerouting, and so behind the taps that capture, before conntrack, and before
 * routing. At the forward hook it would be too late: the kernel has then already sent the target an
 * ICMP redirect to the client's own router. What is addressed to this host (the channel!) passes,
 * whoever sends it. What this host sends never comes by there, so it does no harm on the target
 * itself.
 *
 * An endpoint is never taken out while we run: a target goes on retransmitting for minutes after
 * its session's end.
 *
 * One intercept at a time: the table's owner holds an abstract unix socket, which exists once in a
 * network namespace and ends with its process. A table whose socket is not held was left by a
 * crash.
 */
#include "intercept/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"

#define NFT_TIMEOUT_MS 5000
#define SCRIPT_SIZE 32768u /* less than a pipe holds: writing it never blocks */
#define ELEMENT_SIZE 64u

extern char **environ;

struct guard {
	int lock;
	const char *nft;
};

struct script {
	char text[SCRIPT_SIZE];
	size_t len;
};

static void add(struct script *s, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void add(struct script *s, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(s->text + s->len, SCRIPT_SIZE - s->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		s->len += MIN((size_t)n, SCRIPT_SIZE - 1 - s->len);
}

/* sudo and daemons have a PATH without sbin now and then. */
static const char *find_nft(void)
{
	static const char *const places[] = { "/usr/sbin/nft", "/sbin/nft", "/usr/local/sbin/nft",
					      "/usr/bin/nft" };

	for (unsigned i = 0; i < ARRAY_SIZE(places); i++)
		if (!access(places[i], X_OK))
			return places[i];
	return NULL;
}

bool guard_possible(void)
{
	return find_nft();
}

/* What nft writes to @fd until it ends, into @out, at most NFT_TIMEOUT_MS between pieces. */
static bool collect(int fd, char *out, size_t size)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char rest[256];
	size_t len = 0;

	out[0] = '\0';
	for (;;) {
		ssize_t n = poll(&p, 1, NFT_TIMEOUT_MS);

		if (n == 0)
			return false;
		if (n > 0)
			n = len + 1 < size ? read(fd, out + len, size - 1 - len)
					   : read(fd, rest, sizeof(rest));
		if (n < 0 && errno != EINTR)
			return false;
		if (n == 0)
			return true;
		if (n > 0 && len + 1 < size) {
			len += (size_t)n;
			out[len] = '\0';
		}
	}
}

/* Start nft with @script waiting on its stdin; its stdout and stderr come from *@out. errno value
 * or 0. */
static int start(const char *nft, const struct script *script, pid_t *pid, int *out)
{
	char name[] = "nft", from[] = "-f", standard_input[] = "-";
	char *const argv[] = { name, from, standard_input, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t dfl;
	int in[2], err[2], rc;

	if (pipe2(in, O_CLOEXEC))
		return errno;
	if (pipe2(err, O_CLOEXEC)) {
		rc = errno;
		close(in[0]);
		close(in[1]);
		return rc;
	}
	sigemptyset(&dfl);
	sigaddset(&dfl, SIGPIPE);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigdefault(&attr, &dfl);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in[0], 0);
	posix_spawn_file_actions_adddup2(&actions, err[1], 1);
	posix_spawn_file_actions_adddup2(&actions, err[1], 2);
	rc = posix_spawn(pid, nft, &actions, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	if (!rc && write(in[1], script->text, script->len) != (ssize_t)script->len)
		log_debug("nft ended before it read its script"); /* it says why */
	close(in[0]);
	close(in[1]);
	close(err[1]);
	*out = err[0];
	if (rc)
		close(err[0]);
	return rc;
}

/* 0, or -1 with nft's words in @err. */
static int run(const char *nft, const struct script *script, char *err, size_t err_size)
{
	char said[400];
	bool ended;
	int out = -1, status, rc;
	pid_t pid;

	rc = start(nft, script, &pid, &out);
	if (rc) {
		snprintf(err, err_size, "%s cannot be run: %s", nft, strerror(rc));
		return -1;
	}
	ended = collect(out, said, sizeof(said));
	close(out);
	if (!ended)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!ended)
		snprintf(err, err_size, "nft did not answer within %d s", NFT_TIMEOUT_MS / 1000);
	else if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	else if (strstr(said, "Operation not permitted"))
		snprintf(err, err_size, "nft needs CAP_NET_ADMIN: run as root");
	else
		snprintf(err, err_size, "nft: %.*s", (int)strcspn(said, "\n"), said);
	return -1;
}

/* The lock's socket, or -1 with errno; EADDRINUSE: *@holder is its process (0: not known). */
static int take_lock(pid_t *holder)
{
	static const char name[] = "\0" GUARD_TABLE ".guard";
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	const socklen_t len =
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(name) - 1);
	struct ucred cred = { 0 };
	socklen_t cred_len = sizeof(cred);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int error;

	if (fd < 0)
		return -1;
	memcpy(un.sun_path, name, sizeof(name) - 1);
	if (!bind(fd, (struct sockaddr *)&un, len) && !listen(fd, 1))
		return fd;
	error = errno;
	*holder = 0;
	if (error == EADDRINUSE && !connect(fd, (struct sockaddr *)&un, len) &&
	    !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &cred_len))
		*holder = cred.pid;
	close(fd);
	errno = error;
	return -1;
}

static void table(struct script *s)
{
	s->len = 0;
	/* Declared first, so that deleting succeeds where there is none; all of it is one
	 * transaction. */
	add(s, "table inet " GUARD_TABLE "\ndelete table inet " GUARD_TABLE "\n");
	add(s, "table inet " GUARD_TABLE " {\n");
	add(s, "comment \"intercept --guard, pid %ld\"\n", (long)getpid());
	add(s, "set targets4 { type ipv4_addr . inet_service; }\n");
	add(s, "set targets6 { type ipv6_addr . inet_service; }\n");
	add(s, "chain swallow {\ntype filter hook prerouting priority raw; policy accept;\n");
	add(s, "ip saddr . tcp sport @targets4 fib daddr type != local counter drop\n");
	add(s, "ip6 saddr . tcp sport @targets6 fib daddr type != local counter drop\n");
	add(s, "}\n}\n");
}

struct guard *guard_open(char *err, size_t err_size)
{
	const char *nft = find_nft();
	struct script script;
	char why[512];
	struct guard *g;
	pid_t holder = 0;
	int lock;

	if (!nft) {
		snprintf(err, err_size, "--guard needs the nft command: apt-get install nftables");
		return NULL;
	}
	lock = take_lock(&holder);
	if (lock < 0) {
		if (errno == EADDRINUSE)
			snprintf(err, err_size,
				 "--guard: another intercept (pid %ld) guards this host already",
				 (long)holder);
		else
			snprintf(err, err_size, "--guard: %s", strerror(errno));
		return NULL;
	}
	script.len = 0;
	add(&script, "list table inet " GUARD_TABLE "\n");
	if (!run(nft, &script, why, sizeof(why)))
		log_warn("nft table inet " GUARD_TABLE
			 " was left by an intercept that did not end properly; "
			 "it is replaced");
	table(&script);
	g = malloc(sizeof(*g));
	if (!g || run(nft, &script, why, sizeof(why))) {
		snprintf(err, err_size, "--guard: %s", g ? why : "out of memory");
		free(g);
		close(lock);
		return NULL;
	}
	g->lock = lock;
	g->nft = nft;
	return g;
}

int guard_add(struct guard *g, const struct endpoint *e, unsigned n, char *err, size_t err_size)
{
	struct script script;
	char addr[ADDR_TEXT_LEN];

	while (n) {
		script.len = 0;
		for (; n && script.len + 2 * ELEMENT_SIZE + sizeof(addr) < SCRIPT_SIZE; n--, e++)
			add(&script, "add element inet " GUARD_TABLE " targets%c { %s . %u }\n",
			    addr_is_v4(&e->addr) ? '4' : '6',
			    addr_format(addr, sizeof(addr), &e->addr), e->port);
		if (run(g->nft, &script, err, err_size))
			return -1;
	}
	return 0;
}

void guard_close(struct guard *g)
{
	struct script script;
	char why[512];

	if (!g)
		return;
	script.len = 0;
	add(&script, "delete table inet " GUARD_TABLE "\n");
	if (run(g->nft, &script, why, sizeof(why)))
		log_err("nft table inet " GUARD_TABLE " could not be removed: %s", why);
	close(g->lock);
	free(g);
}
