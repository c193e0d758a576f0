/*
 * The open sockets of a confined program - theory of operation
 *
 * In: the descriptors that are open when the sandbox closes. Out: a second filter of seccomp, which knows
 * some of them by their numbers and refuses what they are not for. What was opened with more rights than the
 * program keeps can then do no more than it was opened for:
 *
 *   datagram sockets of AF_UNIX   (the log, the service manager) go on talking to whom they are
 *                                 connected to. They would take a new address with each datagram,
 *                                 and a daemon that trusts root would believe what it is told.
 *
 * Numbers last: dup() is not let through, dup2() and dup3() of these descriptors are refused, and so is
 * passing them on. A number whose descriptor was closed may become another's, which is then refused what it
 * may need; so this is for sockets that stay open until the end. Other sockets of AF_UNIX are listening or
 * connected, which the kernel lets nobody change.
 *
 * The kernel looks at the lower half of a descriptor alone, and so does the filter. Neighbouring numbers
 * share rules: each rule is for a block of 2^n of them.
 */
#include <dirent.h>
#include <errno.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "program/sandbox_impl.h"

#define FDS_WITHOUT_PROC 4096

/* What a descriptor is. */
enum kind {
	OTHER,
	DATAGRAM = 1 << 0, /* AF_UNIX, connected */
};

/* What is refused to descriptors of @kinds: a call, perhaps only where its other arguments say so. */
static const struct refusal {
	unsigned kinds;
	const char *call;
	struct scmp_arg_cmp arg[2];
	unsigned args;
} refusals[] = {
	{ DATAGRAM, "connect", { { 0 } }, 0 },
	{ DATAGRAM, "sendto", { { 4, SCMP_CMP_NE, 0, 0 } }, 1 }, /* to an address */
	{ DATAGRAM, "sendmsg", { { 0 } }, 0 },
	{ DATAGRAM, "sendmmsg", { { 0 } }, 0 },
	{ DATAGRAM, "dup2", { { 0 } }, 0 },
	{ DATAGRAM, "dup3", { { 0 } }, 0 },
};

static int socket_option(int fd, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) ? -1 : value;
}

static enum kind kind_of(int fd)
{
	if (socket_option(fd, SO_DOMAIN) == AF_UNIX && socket_option(fd, SO_TYPE) == SOCK_DGRAM)
		return DATAGRAM;
	return OTHER;
}

struct open_fds {
	struct {
		unsigned fd;
		enum kind kind;
	} * list; /* ascending */
	size_t n, max;
};

static int add(struct open_fds *o, int fd)
{
	const enum kind kind = kind_of(fd);

	if (kind == OTHER)
		return 0;
	if (o->n == o->max) {
		void *more = realloc(o->list, (o->max + 64) * sizeof(*o->list));

		if (!more)
			return -ENOMEM;
		o->list = more;
		o->max += 64;
	}
	o->list[o->n].fd = (unsigned)fd;
	o->list[o->n++].kind = kind;
	return 0;
}

static int by_number(const void *a, const void *b)
{
	const unsigned *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int find_all(struct open_fds *o)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;
	int error = 0;

	for (int fd = 0; !dir && fd < FDS_WITHOUT_PROC && !error; fd++)
		error = add(o, fd);
	while (dir && !error && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			error = add(o, atoi(entry->d_name));
	if (dir)
		closedir(dir);
	if (o->n)
		qsort(o->list, o->n, sizeof(*o->list), by_number);
	return error;
}

static int refuse(scmp_filter_ctx ctx, const struct refusal *r, uint32_t first, uint32_t size)
{
	const int call = seccomp_syscall_resolve_name(r->call);
	struct scmp_arg_cmp cmp[1 + ARRAY_SIZE(r->arg)] = {
		{ .arg = 0, .op = SCMP_CMP_MASKED_EQ, .datum_a = ~(size - 1), .datum_b = first }
	};

	for (unsigned i = 0; i < r->args; i++)
		cmp[1 + i] = r->arg[i];
	return call == __NR_SCMP_ERROR
		       ? 0
		       : seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO(EPERM), call, 1 + r->args, cmp);
}

/* How many of the descriptors from @at on are of @kinds and follow each other, at most @most. */
static size_t run_length(const struct open_fds *o, size_t at, unsigned kinds, size_t most)
{
	size_t n = 0;

	while (n < most && at + n < o->n && (o->list[at + n].kind & kinds) &&
	       o->list[at + n].fd == o->list[at].fd + n)
		n++;
	return n;
}

static int refuse_all(scmp_filter_ctx ctx, const struct open_fds *o, const struct refusal *r)
{
	int error = 0;

	for (size_t at = 0; at < o->n && !error;) {
		uint32_t size = 1;

		if (!(o->list[at].kind & r->kinds)) {
			at++;
			continue;
		}
		while (o->list[at].fd % (2 * size) == 0 && run_length(o, at, r->kinds, 2 * size) == 2 * size)
			size *= 2;
		error = refuse(ctx, r, o->list[at].fd, size);
		at += size;
	}
	return error;
}

int sandbox_restrict_sockets(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	struct open_fds o = { 0 };
	int error = ctx ? find_all(&o) : -ENOMEM;

	for (unsigned i = 0; i < ARRAY_SIZE(refusals) && !error; i++)
		error = refuse_all(ctx, &o, &refusals[i]);
	if (!error && o.n)
		error = sandbox_load(ctx);
	seccomp_release(ctx);
	free(o.list);
	return error;
}
