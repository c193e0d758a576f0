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
 *   packet sockets that capture   receive and never send. Their filters and interfaces stay as they
 *                                 are; of the fan-out group only the program changes, where the
 *                                 capture turns from one socket to the other.
 *   ... whose filter changes      (sandbox_keep_changing()) may take another, and be bound anew.
 *   sockets that inject packets   (sandbox_keep_sending()) send, and cannot be made to receive.
 *
 * Numbers last: dup() is not let through, dup2() and dup3() of these descriptors are refused, and so is
 * passing them on. A number whose descriptor is closed must not become another's, which would be refused what
 * it needs: sandbox_close() keeps the number. Other sockets of AF_UNIX are listening or
 * connected, which the kernel lets nobody change.
 *
 * sendmmsg() is for sockets that inject, as sandbox_allow_sending() tells the first filter, and nobody
 * calls sendmsg(). So no descriptor is passed to another process.
 *
 * The kernel looks at the lower half of a descriptor alone, and so does the filter. Neighbouring numbers
 * share rules: each rule is for a block of 2^n of them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
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
	RECEIVES = 1 << 1, /* AF_PACKET */
	CHANGES = 1 << 2,  /* the same, with a filter that changes */
	SENDS = 1 << 3,    /* AF_PACKET or a raw socket */
	CAPTURES = RECEIVES | CHANGES,
};

/* For descriptors of @kinds: a call, perhaps only where its other arguments say so. */
struct rule {
	unsigned kinds;
	const char *call;
	struct scmp_arg_cmp arg[2];
	unsigned args;
};

#define IS(number, value)                                                                                    \
	{                                                                                                    \
		number, SCMP_CMP_MASKED_EQ, UINT32_MAX, value                                                \
	}
#define IS_NOT(number, value)                                                                                \
	{                                                                                                    \
		number, SCMP_CMP_NE, value, 0                                                                \
	}

static const struct rule refusals[] = {
	{ DATAGRAM, "connect", { { 0 } }, 0 },
	{ DATAGRAM, "sendto", { IS_NOT(4, 0) }, 1 }, /* to an address */
	{ CAPTURES, "sendto", { { 0 } }, 0 },
	{ CAPTURES, "write", { { 0 } }, 0 },
	{ CAPTURES, "writev", { { 0 } }, 0 },
	{ CAPTURES, "pwrite64", { { 0 } }, 0 },
	{ RECEIVES | SENDS, "bind", { { 0 } }, 0 },
	{ RECEIVES | SENDS, "setsockopt", { IS_NOT(1, SOL_PACKET) }, 1 },
	{ RECEIVES | SENDS, "setsockopt", { IS_NOT(2, PACKET_FANOUT_DATA) }, 1 },
	{ CHANGES, "setsockopt", { IS(1, SOL_PACKET), IS_NOT(2, PACKET_FANOUT_DATA) }, 2 },
	{ CHANGES, "setsockopt", { IS(1, SOL_SOCKET), IS_NOT(2, SO_ATTACH_FILTER) }, 2 },
	{ DATAGRAM | CAPTURES | SENDS, "dup2", { { 0 } }, 0 },
	{ DATAGRAM | CAPTURES | SENDS, "dup3", { { 0 } }, 0 },
};

static const struct rule sending = { SENDS, "sendmmsg", { { 0 } }, 0 };

/* Descriptors that were named before. */
struct named {
	int *fd;
	size_t n;
};

static struct named sends, changes;

static void name(struct named *list, int fd)
{
	int *more = realloc(list->fd, (list->n + 1) * sizeof(*more));

	if (!more)
		return; /* what is not kept is refused */
	list->fd = more;
	list->fd[list->n++] = fd;
}

static bool is_named(const struct named *list, int fd)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->fd[i] == fd)
			return true;
	return false;
}

void sandbox_keep_sending(int fd)
{
	name(&sends, fd);
}

void sandbox_keep_changing(int fd)
{
	name(&changes, fd);
}

static int socket_option(int fd, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) ? -1 : value;
}

static enum kind kind_of(int fd)
{
	const int domain = socket_option(fd, SO_DOMAIN), type = socket_option(fd, SO_TYPE);

	if (domain == AF_UNIX)
		return type == SOCK_DGRAM ? DATAGRAM : OTHER;
	if (domain != AF_PACKET && type != SOCK_RAW)
		return OTHER;
	if (is_named(&sends, fd))
		return SENDS;
	if (domain != AF_PACKET)
		return OTHER;
	return is_named(&changes, fd) ? CHANGES : RECEIVES;
}

struct open_fds {
	struct {
		unsigned fd;
		enum kind kind;
	} * list; /* ascending */
	size_t n, max;
};

static struct open_fds found;

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

static int add_rule(scmp_filter_ctx ctx, uint32_t action, const struct rule *r, uint32_t first, uint32_t size)
{
	const int call = seccomp_syscall_resolve_name(r->call);
	struct scmp_arg_cmp cmp[1 + ARRAY_SIZE(r->arg)] = {
		{ .arg = 0, .op = SCMP_CMP_MASKED_EQ, .datum_a = ~(size - 1), .datum_b = first }
	};

	for (unsigned i = 0; i < r->args; i++)
		cmp[1 + i] = r->arg[i];
	return call == __NR_SCMP_ERROR ? 0 : seccomp_rule_add_array(ctx, action, call, 1 + r->args, cmp);
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

/* Add the rule *r for all descriptors of its kinds. */
static int add_rules(scmp_filter_ctx ctx, uint32_t action, const struct rule *r)
{
	const struct open_fds *o = &found;
	int error = 0;

	for (size_t at = 0; at < o->n && !error;) {
		uint32_t size = 1;

		if (!(o->list[at].kind & r->kinds)) {
			at++;
			continue;
		}
		while (o->list[at].fd % (2 * size) == 0 && run_length(o, at, r->kinds, 2 * size) == 2 * size)
			size *= 2;
		error = add_rule(ctx, action, r, o->list[at].fd, size);
		at += size;
	}
	return error;
}

int sandbox_restrict_sockets(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	int error = ctx ? find_all(&found) : -ENOMEM;

	for (unsigned i = 0; i < ARRAY_SIZE(refusals) && !error; i++)
		error = add_rules(ctx, SCMP_ACT_ERRNO(EPERM), &refusals[i]);
	if (!error && found.n)
		error = sandbox_load(ctx);
	seccomp_release(ctx);
	return error;
}

static bool is_known(int fd)
{
	for (size_t i = 0; i < found.n; i++)
		if (found.list[i].fd == (unsigned)fd)
			return true;
	return false;
}

void sandbox_close(int fd)
{
	int null;

	if (!is_known(fd)) {
		close(fd);
		return;
	}
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return; /* stays open */
	dup3(null, fd, O_CLOEXEC);
	close(null);
}

int sandbox_allow_sending(void *ctx)
{
	return add_rules(ctx, SCMP_ACT_ALLOW, &sending);
}
