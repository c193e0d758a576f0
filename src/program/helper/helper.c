/*
 * The privileged helper - theory of operation
 *
 * A running program has no capabilities, but some of its work needs one: the guard learns of new targets, and
 * removes its table at the end; a tcpcopy without an assistant reads what its table has dropped. So the
 * program forks this process before it gives them up. The helper keeps CAP_NET_ADMIN and carries out the
 * requests listed in helper.h. Requests and answers are datagrams on a pair of sockets that nobody else has.
 *
 *     program                                   helper
 *     guard.c -- helper_send() --> request --> helper_request_valid() -> nft.c --> kernel
 *             <-- event at helper_fd() --- answer <----------------------'
 *
 * An attacker who controls the program can make these requests and no others. A request carries no names,
 * rules or text, only the number of a table, port ranges and endpoints; request.c checks every byte. The
 * names of devices are those that the program had when it forked. An attacker who controls the helper has one
 * capability in this network namespace, two sockets, and three system calls: to receive, to send and to end.
 *
 * The helper ends when the program closes its socket, and when the thread that forked it ends
 * (PR_SET_PDEATHSIG), even while it is stopped. It ignores the signals that end the program, because the
 * program then still removes its table. It is forked before any socket of the program is opened, and
 * keeps two files: its end of the pair and its netlink socket.
 *
 * The kernel carries out a request at once, so the helper handles one request at a time; others wait in
 * the socket. A running program never waits for the helper.
 */
#include "program/helper/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"
#include "program/sandbox.h"

SANDBOX_CALLS("sendto", "recvfrom", "wait4");

#define ANSWER_TIMEOUT_MS 10000

struct helper {
	int fd;
	pid_t pid; /* 0: no process of ours */
	uint32_t id;
};

/* --- the helper --- */

static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGPIPE };

/* All that it calls once it serves. */
static const char *const calls[] = { "recvfrom", "sendto", "exit_group", NULL };

struct service {
	struct nft nft;
	int error; /* of opening its socket */
	pid_t program;
	bool made[NFT_TABLES];
};

static int carry_out(struct service *s, const struct helper_request *r, struct helper_answer *a)
{
	const enum nft_table table = r->table;
	bool replaced = false;
	int error;

	if (s->error)
		return s->error;
	if (s->made[table] != (r->kind != HELPER_CREATE))
		return s->made[table] ? -EEXIST : -ENOENT;
	switch ((enum helper_kind)r->kind) {
	case HELPER_CREATE:
		error = nft_create(&s->nft, table, s->program, r->ports, &replaced);
		s->made[table] = !error;
		a->replaced = replaced;
		a->owning = s->nft.owning;
		return error;
	case HELPER_DELETE:
		error = nft_delete(&s->nft, table);
		s->made[table] = error;
		return error;
	case HELPER_ADD:
		return nft_add(&s->nft, table, r->element, r->count);
	case HELPER_REMOVE:
		return nft_remove(&s->nft, table, r->element, r->count);
	case HELPER_COUNT:
		return nft_count(&s->nft, table, &a->count);
	case HELPER_KINDS:
		break;
	}
	return -EINVAL;
}

static void answer(struct service *s, const struct helper_request *r, size_t len, struct helper_answer *a)
{
	memset(a, 0, sizeof(*a));
	a->id = r->id;
	a->refused = NFT_NO_MESSAGE;
	if (!helper_request_valid(r, len)) {
		a->error = -EINVAL;
		return;
	}
	a->error = carry_out(s, r, a);
	if (a->error && !s->error)
		a->refused = s->nft.refused;
}

static _Noreturn void serve(int fd, const char *name, const struct nft_devices *devices, pid_t program,
			    bool no_sandbox)
{
	struct service s = { .program = program };
	struct helper_request r;
	struct helper_answer a;
	ssize_t n;
	const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int i = STDIN_FILENO; i <= STDERR_FILENO; i++)
		dup2(null, i);
	if (fd != STDERR_FILENO + 1)
		fd = dup3(fd, STDERR_FILENO + 1, O_CLOEXEC);
	close_range((unsigned)fd + 1, ~0u, 0);
	prctl(PR_SET_NAME, name);
	s.error = nft_open(&s.nft, devices);
	if (fd < 0 || chdir("/") || sandbox_enter_helper(CAP_NET_ADMIN, calls, no_sandbox))
		_exit(1);
	for (;;) {
		memset(&r, 0, sizeof(r));
		n = recv(fd, &r, sizeof(r), MSG_TRUNC);
		if (n <= 0 && !(n < 0 && errno == EINTR))
			_exit(0);
		if (n <= 0)
			continue;
		answer(&s, &r, (size_t)n, &a);
		send(fd, &a, sizeof(a), MSG_NOSIGNAL);
	}
}

/* --- the program's end --- */

struct helper *helper_of(int fd)
{
	struct helper *h = calloc(1, sizeof(*h));

	if (h)
		h->fd = fd;
	return h;
}

/* The fork; no signal may reach the program's handlers in the helper. */
static pid_t start(int fd, const char *name, const struct nft_devices *devices, bool no_sandbox)
{
	const pid_t program = getpid();
	sigset_t all, before;
	pid_t pid;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != program)
			_exit(1);
		for (unsigned i = 0; i < ARRAY_SIZE(ignored); i++)
			signal(ignored[i], SIG_IGN);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (!pid)
		serve(fd, name, devices, program, no_sandbox);
	return pid;
}

struct helper *helper_open(const char *name, const struct nft_devices *devices, bool no_sandbox)
{
	struct helper *h;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return NULL;
	h = helper_of(pair[0]);
	sandbox_keep_signals();
	if (h)
		h->pid = start(pair[1], name, devices, no_sandbox);
	close(pair[1]);
	if (h && h->pid > 0)
		return h;
	close(pair[0]);
	free(h);
	return NULL;
}

void helper_close(struct helper *h)
{
	if (!h)
		return;
	close(h->fd);
	while (h->pid && waitpid(h->pid, NULL, 0) < 0 && errno == EINTR)
		;
	free(h);
}

int helper_fd(const struct helper *h)
{
	return h->fd;
}

bool helper_send(struct helper *h, struct helper_request *r)
{
	const size_t len = offsetof(struct helper_request, element) + r->count * sizeof(r->element[0]);

	r->id = ++h->id;
	return send(h->fd, r, len, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)len;
}

int helper_receive(struct helper *h, struct helper_answer *a)
{
	const ssize_t n = recv(h->fd, a, sizeof(*a), MSG_DONTWAIT);

	if (n == (ssize_t)sizeof(*a))
		return 1;
	return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

static long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

int helper_ask(struct helper *h, struct helper_request *r, struct helper_answer *a)
{
	const long long until = now_ms() + ANSWER_TIMEOUT_MS;
	struct pollfd p = { .fd = h->fd, .events = POLLIN };
	bool sent = helper_send(h, r);
	long long left;
	int got = sent ? 0 : -1;

	while (got >= 0 && (left = until - now_ms()) > 0) {
		if (poll(&p, 1, (int)left) <= 0)
			continue;
		got = helper_receive(h, a);
		if (got > 0 && a->id == r->id)
			return a->error;
	}
	*a = (struct helper_answer){ .id = r->id,
				     .error = got < 0 ? -EPIPE : -ETIMEDOUT,
				     .refused = NFT_NO_MESSAGE };
	return a->error;
}
