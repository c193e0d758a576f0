/*
 * The system calls of a confined program - theory of operation
 *
 * In: the names of calls that its modules need. Out: a filter of seccomp that lets these through, and of
 * some others the forms that reach nothing but the process itself. What one call could do to another process
 * is so refused in all its forms: a signal is also sent by tgkill(), and by whoever owns a socket that is
 * readable (F_SETOWN, FIOSETOWN); limits and the scheduler are also set for a process by its number.
 *
 * An argument of the type int is compared in its lower half alone, because the kernel looks at no more.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/netlink.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "program/sandbox_impl.h"

/* What the C library, libevent's loop and the threads need in any program. */
SANDBOX_CALLS("brk", "munmap", "mremap", "madvise", "futex", "rseq", "set_robust_list", "rt_sigaction",
	      "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall", "exit", "exit_group",
	      "getpid", "gettid", "getuid", "geteuid", "getgid", "getegid", "clock_gettime", "clock_getres",
	      "clock_nanosleep", "nanosleep", "gettimeofday", "time", "sched_yield", "getcpu", "getrandom",
	      "getrusage", "sysinfo", "membarrier", "read", "write", "readv", "writev", "pread64", "pwrite64",
	      "lseek", "close", "fstat", "newfstatat", "statx", "dup2", "dup3", "pipe2", "eventfd2",
	      "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "timerfd_create",
	      "timerfd_settime", "poll", "ppoll", "select", "pselect6");

static struct sandbox_calls *all_calls;

void sandbox_calls_add(struct sandbox_calls *c)
{
	c->next = all_calls;
	all_calls = c;
}

#define WHOLE UINT64_MAX
#define INT UINT32_MAX
#define TYPE 0xfu /* of a socket, without SOCK_NONBLOCK and SOCK_CLOEXEC */

/* A call that is let through if its arguments, masked, are these. */
struct form {
	const char *name;
	struct {
		unsigned number;
		uint64_t mask, value;
	} arg[3];
	unsigned args;
};

static int allow_form(scmp_filter_ctx ctx, const struct form *f)
{
	struct scmp_arg_cmp cmp[ARRAY_SIZE(f->arg)];

	for (unsigned i = 0; i < f->args; i++)
		cmp[i] = (struct scmp_arg_cmp){ .arg = f->arg[i].number,
						.op = SCMP_CMP_MASKED_EQ,
						.datum_a = f->arg[i].mask,
						.datum_b = f->arg[i].value };
	return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, seccomp_syscall_resolve_name(f->name), f->args,
				      cmp);
}

static int allow_forms(scmp_filter_ctx ctx)
{
	const uint32_t self = (uint32_t)getpid();
	const struct form forms[] = {
		/* No code that was not there at the start. */
		{ "mmap", { { 2, PROT_EXEC, 0 } }, 1 },
		{ "mprotect", { { 2, PROT_EXEC, 0 } }, 1 },
		/* Threads, no processes. */
		{ "clone", { { 0, CLONE_THREAD, CLONE_THREAD } }, 1 },
		/* This process, no others; its limits are read. */
		{ "tgkill", { { 0, INT, self } }, 1 },
		{ "prlimit64", { { 0, INT, 0 }, { 2, WHOLE, 0 } }, 2 },
		{ "sched_getaffinity", { { 0, INT, 0 } }, 1 },
		{ "sched_setaffinity", { { 0, INT, 0 } }, 1 },
		/* Neither a new number for a file nor signals about it. */
		{ "fcntl", { { 1, INT, F_GETFD } }, 1 },
		{ "fcntl", { { 1, INT, F_SETFD } }, 1 },
		{ "fcntl", { { 1, INT, F_GETFL } }, 1 },
		{ "fcntl", { { 1, INT, F_SETFL } }, 1 },
		{ "fcntl", { { 1, INT, F_GETLK } }, 1 },
		{ "fcntl", { { 1, INT, F_SETLK } }, 1 },
		/* Connections and questions to the kernel; neither packets past its rules nor daemons. */
		{ "socket", { { 0, WHOLE, AF_INET }, { 1, TYPE, SOCK_STREAM }, { 2, INT, 0 } }, 3 },
		{ "socket", { { 0, WHOLE, AF_INET }, { 1, TYPE, SOCK_DGRAM }, { 2, INT, 0 } }, 3 },
		{ "socket", { { 0, WHOLE, AF_INET6 }, { 1, TYPE, SOCK_STREAM }, { 2, INT, 0 } }, 3 },
		{ "socket", { { 0, WHOLE, AF_INET6 }, { 1, TYPE, SOCK_DGRAM }, { 2, INT, 0 } }, 3 },
		{ "socket", { { 0, WHOLE, AF_NETLINK }, { 2, INT, NETLINK_ROUTE } }, 2 },
		{ "socket", { { 0, WHOLE, AF_NETLINK }, { 2, INT, NETLINK_SOCK_DIAG } }, 2 },
		/* No connection that connect() is not asked for: Landlock looks at that alone. */
		{ "sendto", { { 3, MSG_FASTOPEN, 0 } }, 1 },
		/* Questions about interfaces; on a terminal, "is it one?" alone. */
		{ "ioctl", { { 1, INT, SIOCGIFNAME } }, 1 },
		{ "ioctl", { { 1, INT, SIOCGIFFLAGS } }, 1 },
		{ "ioctl", { { 1, INT, SIOCGIFMTU } }, 1 },
		{ "ioctl", { { 1, INT, SIOCGIFHWADDR } }, 1 },
		{ "ioctl", { { 1, INT, SIOCGIFINDEX } }, 1 },
		{ "ioctl", { { 1, INT, SIOCETHTOOL } }, 1 },
		{ "ioctl", { { 1, INT, TCGETS } }, 1 },
		{ "ioctl", { { 1, INT, FIONREAD } }, 1 },
		{ "ioctl", { { 1, INT, FIONBIO } }, 1 },
		{ "prctl", { { 0, INT, PR_SET_NAME } }, 1 },
		{ "prctl", { { 0, INT, PR_SET_PDEATHSIG } }, 1 },
	};
	int error = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(forms) && !error; i++)
		error = allow_form(ctx, &forms[i]);
	/* Its flags lie in memory, where a filter cannot look; the C library then uses clone(). */
	return error ? error
		     : seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), seccomp_syscall_resolve_name("clone3"),
					0);
}

/* @all: also what is let through in some forms alone. */
static int allow_names(scmp_filter_ctx ctx, const char *const *names, bool all)
{
	int error = 0;

	for (; *names && !error; names++) {
		const int call = seccomp_syscall_resolve_name(*names);

		if (call != __NR_SCMP_ERROR && (all || strcmp(*names, "sendto") != 0))
			error = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, call, 0);
	}
	return error;
}

int sandbox_load(void *ctx)
{
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_LOG, 1);
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	return seccomp_load(ctx);
}

int sandbox_restrict_calls(const char *const *names)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int error = ctx ? 0 : -ENOMEM;

	if (!error && names)
		error = allow_names(ctx, names, true);
	for (const struct sandbox_calls *c = names ? NULL : all_calls; c && !error; c = c->next)
		error = allow_names(ctx, c->names, false);
	if (!error && !names)
		error = allow_forms(ctx);
	if (!error && !names)
		error = sandbox_allow_sending(ctx);
	if (!error)
		error = sandbox_load(ctx);
	seccomp_release(ctx);
	return error;
}
