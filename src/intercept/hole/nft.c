/*
 * The nft command, run by a helper process.
 *
 * In: scripts. Out: 0 or nft's own words. intercept gives up its capabilities and the right to
 * start programs once it runs, but its guard still has to learn of new targets and has to be taken
 * away at the end. So a process is forked off before: it holds CAP_NET_ADMIN and nothing else,
 * takes scripts from a socket that only intercept has, hands them to nft, and ends when the socket
 * is closed, however intercept ended. It reads nothing that came from a network: the scripts are made
 * of addresses and numbers.
 *
 * It is forked before the capture sockets are opened, and keeps no file but its socket. Signals that
 * end intercept (a terminal and systemd send them to both) do not end it: the table would stay.
 */
#include "intercept/hole/nft.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "program/sandbox.h"
#include "base/util.h"

SANDBOX_CALLS("sendto", "recvfrom", "shutdown", "wait4");

#define NFT_TIMEOUT_MS 5000
#define ANSWER_TIMEOUT_MS (2 * NFT_TIMEOUT_MS)
#define ANSWER_SIZE 512u

extern char **environ;

struct nft {
	int fd;
	pid_t helper;
};

static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGPIPE };

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

bool nft_possible(void)
{
	return find_nft();
}

/* --- the helper --- */

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

/* Start nft with the @len bytes of @script waiting on its stdin; its stdout and stderr come from
 * *@out. errno value or 0. */
static int start(const char *nft, const char *script, size_t len, pid_t *pid, int *out)
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
	if (!rc && write(in[1], script, len) < 0 && errno != EPIPE) /* or it says why */
		rc = errno;
	close(in[0]);
	close(in[1]);
	close(err[1]);
	*out = err[0];
	if (rc)
		close(err[0]);
	return rc;
}

/* 0, or -1 with nft's words in @err. */
static int run(const char *nft, const char *script, size_t len, char *err, size_t err_size)
{
	char said[400];
	bool ended;
	int out = -1, status, rc;
	pid_t pid;

	rc = start(nft, script, len, &pid, &out);
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

static _Noreturn void serve(int fd)
{
	const char *nft = find_nft();
	char script[NFT_SCRIPT_SIZE], answer[ANSWER_SIZE];
	ssize_t n;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (unsigned i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN);
	for (int i = STDIN_FILENO; i <= STDERR_FILENO; i++)
		dup2(null, i);
	if (fd != STDERR_FILENO + 1)
		fd = dup3(fd, STDERR_FILENO + 1, O_CLOEXEC);
	close_range((unsigned)fd + 1, ~0u, 0);
	prctl(PR_SET_NAME, "intercept-nft");
	sandbox_hold_only(CAP_NET_ADMIN);
	if (!nft || chdir("/"))
		_exit(1);
	while ((n = recv(fd, script, sizeof(script), 0)) > 0) {
		answer[0] = '\0';
		run(nft, script, (size_t)n, answer, sizeof(answer));
		send(fd, answer, strlen(answer) + 1, MSG_NOSIGNAL);
	}
	_exit(0);
}

/* --- intercept's side --- */

struct nft *nft_open(void)
{
	struct nft *n = malloc(sizeof(*n));
	sigset_t all, before;
	int pair[2];

	if (!n || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
		free(n);
		return NULL;
	}
	/* No signal may reach the handlers of intercept in the helper. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	n->helper = fork();
	if (!n->helper) {
		for (unsigned i = 0; i < ARRAY_SIZE(ignored); i++)
			signal(ignored[i], SIG_IGN);
		sigprocmask(SIG_SETMASK, &before, NULL);
		serve(pair[1]);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	close(pair[1]);
	n->fd = pair[0];
	if (n->helper > 0)
		return n;
	close(n->fd);
	free(n);
	return NULL;
}

void nft_close(struct nft *n)
{
	if (!n)
		return;
	close(n->fd);
	while (waitpid(n->helper, NULL, 0) < 0 && errno == EINTR)
		;
	free(n);
}

int nft_run(struct nft *n, const char *script, size_t len, char *err, size_t err_size)
{
	struct pollfd p = { .fd = n->fd, .events = POLLIN };
	char answer[ANSWER_SIZE];
	ssize_t got = -1;
	int ready;

	if (send(n->fd, script, len, MSG_NOSIGNAL) == (ssize_t)len) {
		while ((ready = poll(&p, 1, ANSWER_TIMEOUT_MS)) < 0 && errno == EINTR)
			;
		if (ready > 0)
			got = recv(n->fd, answer, sizeof(answer) - 1, 0);
	}
	if (got == 1)
		return 0;
	if (got > 1)
		snprintf(err, err_size, "%.*s", (int)got, answer);
	else
		snprintf(err, err_size, "the process that runs nft has ended or hangs");
	if (got <= 0)
		shutdown(n->fd, SHUT_RDWR); /* a late answer would be taken for the next one */
	return -1;
}
