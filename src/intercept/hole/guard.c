/*
 * --guard: drop the target's responses on a host whose kernel forwards.
 *
 * In: endpoints of targets, as tcpcopys announce them. Out: rules of the kernel in an nft table of
 * our own, made by the nft command (nft.c).
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
#include "intercept/hole/guard.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "program/log.h"
#include "base/util.h"
#include "intercept/hole/nft.h"

#define ELEMENT_SIZE 64u

struct guard {
	int lock;
	struct nft *nft;
	pthread_mutex_t busy; /* workers learn of targets at the same time */
};

struct script {
	char text[NFT_SCRIPT_SIZE];
	size_t len;
};

static void add(struct script *s, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void add(struct script *s, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(s->text + s->len, sizeof(s->text) - s->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		s->len += MIN((size_t)n, sizeof(s->text) - 1 - s->len);
}

bool guard_possible(void)
{
	return nft_possible();
}

/* The lock's socket, or -1 with errno; EADDRINUSE: *@holder is its process (0: not known). */
static int take_lock(pid_t *holder)
{
	static const char name[] = "\0" GUARD_TABLE ".guard";
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	const socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(name) - 1);
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
	struct nft *nft;
	struct script script;
	char why[512];
	struct guard *g;
	pid_t holder = 0;
	int lock;

	if (!nft_possible()) {
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
	nft = nft_open();
	script.len = 0;
	add(&script, "list table inet " GUARD_TABLE "\n");
	if (nft && !nft_run(nft, script.text, script.len, why, sizeof(why)))
		log_warn("nft table inet " GUARD_TABLE " was left by an intercept that did not end properly; "
			 "it is replaced");
	table(&script);
	g = malloc(sizeof(*g));
	if (!g || !nft || nft_run(nft, script.text, script.len, why, sizeof(why))) {
		snprintf(err, err_size, "--guard: %s", g && nft ? why : "out of memory or processes");
		free(g);
		nft_close(nft);
		close(lock);
		return NULL;
	}
	g->lock = lock;
	g->nft = nft;
	pthread_mutex_init(&g->busy, NULL);
	return g;
}

int guard_add(struct guard *g, const struct endpoint *e, unsigned n, char *err, size_t err_size)
{
	struct script script;
	char addr[ADDR_TEXT_LEN];
	int rc = 0;

	pthread_mutex_lock(&g->busy);
	while (n && !rc) {
		script.len = 0;
		for (; n && script.len + 2 * ELEMENT_SIZE + sizeof(addr) < NFT_SCRIPT_SIZE; n--, e++)
			add(&script, "add element inet " GUARD_TABLE " targets%c { %s . %u }\n",
			    addr_is_v4(&e->addr) ? '4' : '6', addr_format(addr, sizeof(addr), &e->addr),
			    e->port);
		rc = nft_run(g->nft, script.text, script.len, err, err_size);
	}
	pthread_mutex_unlock(&g->busy);
	return rc;
}

void guard_close(struct guard *g)
{
	struct script script;
	char why[512];

	if (!g)
		return;
	script.len = 0;
	add(&script, "delete table inet " GUARD_TABLE "\n");
	if (nft_run(g->nft, script.text, script.len, why, sizeof(why)))
		log_err("nft table inet " GUARD_TABLE " could not be removed: %s", why);
	nft_close(g->nft);
	close(g->lock);
	free(g);
}
