/*
 * The sandbox: what an attacker gets who takes over the process.
 *
 * In: the modules' lists of system calls and the paths that are still needed. Out: a process that
 * cannot have more than that. Four walls, each of which stands alone:
 *
 *   user           --user; without it the user stays, and root is then one without capabilities
 *   capabilities   none: sockets keep what they were opened with, and nothing is opened later that
 *                  needs one. no_new_privs keeps set-user-ID programs and file capabilities from
 *                  giving any back.
 *   files          Landlock: the paths named by sandbox_keep_*(), nothing else. It needs no
 *                  privilege and no mount namespace, so it also holds for a start with CAP_NET_RAW
 *                  alone, and the log can still be opened anew after it was rotated.
 *   system calls   seccomp, by name; of some calls only harmless arguments.
 *
 * A call that is not in the list fails with EPERM and leaves a line in the kernel's audit log; the
 * process is not killed. Whatever calls what nobody foresaw (a library after an update) then meets
 * an error, and errors of system calls never end these programs. That gives an attacker no more
 * than a kill would: a call that is refused has no effect.
 *
 * The lists are made by constructors, so a module's calls are let through exactly where the
 * module is linked in.
 */
#include "program/sandbox.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "program/args.h"
#include "program/log.h"
#include "base/util.h"
#include "build/config.h"

#define MAX_PATHS 16

/* Newer than the headers of Debian 12. */
#define ACCESS_TRUNCATE (1ull << 14)
#define ACCESS_IOCTL_DEV (1ull << 15)

#define READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITE                                                                                                \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE |      \
	 ACCESS_TRUNCATE)
/* All of the first version: everything that has a file system call. */
#define ALL_V1 ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)

static struct sandbox_calls *all_calls;

static struct {
	char path[4096];
	uint64_t access;
} kept[MAX_PATHS];
static unsigned n_kept;

/* What the C library, libevent's loop and the threads need in any program. */
SANDBOX_CALLS("brk", "munmap", "mremap", "madvise", "futex", "rseq", "set_robust_list", "rt_sigaction",
	      "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall", "exit", "exit_group",
	      "getpid", "gettid", "tgkill", "getuid", "geteuid", "getgid", "getegid", "clock_gettime",
	      "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "sched_yield",
	      "sched_getaffinity", "sched_setaffinity", "getcpu", "getrandom", "getrusage", "sysinfo",
	      "prlimit64", "membarrier", "read", "write", "readv", "writev", "pread64", "pwrite64", "lseek",
	      "close", "fcntl", "fstat", "newfstatat", "statx", "dup", "dup2", "dup3", "pipe2", "eventfd2",
	      "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "timerfd_create",
	      "timerfd_settime", "poll", "ppoll", "select", "pselect6");

void sandbox_calls_add(struct sandbox_calls *c)
{
	c->next = all_calls;
	all_calls = c;
}

static void keep(const char *path, size_t len, uint64_t access)
{
	if (n_kept == MAX_PATHS || len >= sizeof(kept[0].path))
		return; /* what is not kept is refused */
	memcpy(kept[n_kept].path, path, len);
	kept[n_kept].path[len] = '\0';
	kept[n_kept++].access = access;
}

void sandbox_keep_file(const char *path)
{
	keep(path, strlen(path), LANDLOCK_ACCESS_FS_READ_FILE | WRITE);
}

void sandbox_keep_readable(const char *path)
{
	keep(path, strlen(path), READ);
}

/* --- user --- */

static bool number(const char *text, unsigned *n)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	*n = (unsigned)value;
	return *text >= '0' && *text <= '9' && !*end && value < UINT32_MAX;
}

const char *sandbox_user_parse(struct sandbox_user *u, const char *text)
{
	const char *colon = strchr(text, ':');
	const size_t len = colon ? (size_t)(colon - text) : strlen(text);
	const struct passwd *pw;
	const struct group *gr;

	if (!len || len >= sizeof(u->name) || (colon && !colon[1]))
		return "a name is missing";
	memcpy(u->name, text, len);
	u->name[len] = '\0';
	pw = getpwnam(u->name);
	if (pw) {
		u->uid = pw->pw_uid;
		u->gid = pw->pw_gid;
	} else if (!number(u->name, &u->uid)) {
		return args_wrong("there is no user %s; to create one: useradd --system %s", u->name,
				  u->name);
	} else {
		pw = getpwuid(u->uid);
		u->gid = pw ? pw->pw_gid : (gid_t)u->uid;
	}
	if (colon) {
		gr = getgrnam(colon + 1);
		if (gr) {
			u->gid = gr->gr_gid;
		} else if (!number(colon + 1, &u->gid)) {
			return args_wrong("there is no group %.64s", colon + 1);
		}
	}
	return geteuid() ? "only root can change the user" : NULL;
}

/* Log and pid file go with the process, so that they can be opened and emptied later. */
static void give_files(const struct sandbox_user *u)
{
	for (unsigned i = 0; i < n_kept; i++) {
		int fd;

		if (!(kept[i].access & LANDLOCK_ACCESS_FS_WRITE_FILE))
			continue;
		fd = open(kept[i].path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
		if (fd < 0)
			continue;
		if (fchown(fd, u->uid, u->gid))
			log_warn("cannot give %s to user %s: %s", kept[i].path, u->name, strerror(errno));
		close(fd);
	}
}

static int change_user(const struct sandbox_user *u, char *err, size_t err_size)
{
	if (!u->name[0])
		return 0;
	give_files(u);
	if (!setgroups(0, NULL) && !setresgid(u->gid, u->gid, u->gid) && !setresuid(u->uid, u->uid, u->uid))
		return 0;
	snprintf(err, err_size, "option --user \"%s\": %s", u->name, strerror(errno));
	return -1;
}

/* --- capabilities --- */

/* The bounding set takes a capability to empty, so it comes before the user, and the others after. */
static void empty_bounding_set(void)
{
	capng_get_caps_process();
	if (!capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP))
		return;
	capng_clear(CAPNG_SELECT_BOUNDS);
	capng_apply(CAPNG_SELECT_BOUNDS);
}

static int drop_capabilities(char *err, size_t err_size)
{
	capng_clear(CAPNG_SELECT_CAPS);
	if (!capng_apply(CAPNG_SELECT_CAPS) && capng_get_caps_process() == 0 &&
	    capng_have_capabilities(CAPNG_SELECT_CAPS) == CAPNG_NONE)
		return 0;
	snprintf(err, err_size, "cannot drop the capabilities: %s", strerror(errno));
	return -1;
}

/* --- files --- */

static int landlock_rule(int ruleset, const char *path, uint64_t access)
{
	struct landlock_path_beneath_attr rule = { .allowed_access = access };
	struct stat st;
	int result;

	rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
	if (rule.parent_fd < 0)
		return -1;
	if (!fstat(rule.parent_fd, &st) && !S_ISDIR(st.st_mode))
		rule.allowed_access &=
			LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | ACCESS_TRUNCATE;
	result = (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	close(rule.parent_fd);
	return result;
}

/* The directory of a file that may be made anew, or what is to be read. */
static int keep_rule(int ruleset, const char *path, uint64_t access)
{
	char directory[sizeof(kept[0].path)];
	char *slash;

	if (!(access & LANDLOCK_ACCESS_FS_MAKE_REG))
		return landlock_rule(ruleset, path, access);
	snprintf(directory, sizeof(directory), "%s", path);
	slash = strrchr(directory, '/');
	if (!slash)
		return landlock_rule(ruleset, ".", access);
	slash[slash == directory] = '\0';
	return landlock_rule(ruleset, directory, access);
}

/* False: this kernel cannot. */
static bool restrict_files(void)
{
	struct landlock_ruleset_attr attr = { .handled_access_fs = ALL_V1 };
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	uint64_t handled = ALL_V1;
	bool done;
	int ruleset;

	if (version < 1)
		return false;
	if (version >= 2)
		handled |= LANDLOCK_ACCESS_FS_REFER;
	if (version >= 3)
		handled |= ACCESS_TRUNCATE;
	if (version >= 5)
		handled |= ACCESS_IOCTL_DEV;
	attr.handled_access_fs = handled;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (ruleset < 0)
		return false;
	for (unsigned i = 0; i < n_kept; i++)
		if (keep_rule(ruleset, kept[i].path, kept[i].access & handled))
			log_debug("sandbox: %s: %s", kept[i].path, strerror(errno));
	done = !syscall(SYS_landlock_restrict_self, ruleset, 0);
	close(ruleset);
	return done;
}

/* --- system calls --- */

/* One form of a call: argument @arg, masked, has @value. */
static int allow_form(scmp_filter_ctx ctx, const char *name, unsigned arg, uint64_t mask, uint64_t value)
{
	struct scmp_arg_cmp cmp = { .arg = arg, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value };

	return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, seccomp_syscall_resolve_name(name), 1, &cmp);
}

static int allow_forms(scmp_filter_ctx ctx)
{
	static const struct {
		const char *name;
		unsigned arg;
		uint64_t mask, value;
	} forms[] = {
		/* No code that was not there at the start. */
		{ "mmap", 2, PROT_EXEC, 0 },
		{ "mprotect", 2, PROT_EXEC, 0 },
		/* Threads, no processes. */
		{ "clone", 0, CLONE_THREAD, CLONE_THREAD },
		/* Connections and questions to the kernel, no packets past its rules. */
		{ "socket", 0, ~0ull, AF_INET },
		{ "socket", 0, ~0ull, AF_INET6 },
		{ "socket", 0, ~0ull, AF_UNIX },
		{ "socket", 0, ~0ull, AF_NETLINK },
		/* Of sockets and interfaces (0x89xx); on a terminal, "is it one?" alone. */
		{ "ioctl", 1, 0xffffff00, 0x8900 },
		{ "ioctl", 1, 0xffffffff, TCGETS },
		{ "ioctl", 1, 0xffffffff, FIONREAD },
		{ "ioctl", 1, 0xffffffff, FIONBIO },
		{ "prctl", 0, 0xffffffff, PR_SET_NAME },
		{ "prctl", 0, 0xffffffff, PR_SET_PDEATHSIG },
	};
	int error = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(forms) && !error; i++)
		error = allow_form(ctx, forms[i].name, forms[i].arg, forms[i].mask, forms[i].value);
	/* Its flags lie in memory, where a filter cannot look; the C library then uses clone(). */
	return error ? error
		     : seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), seccomp_syscall_resolve_name("clone3"),
					0);
}

/* Only those in @lists, and, with @forms, the harmless forms of others. 0 or a negative errno. */
static int restrict_calls(const struct sandbox_calls *lists, bool forms)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int error = ctx ? 0 : -ENOMEM;

	for (const struct sandbox_calls *c = lists; c && !error; c = c->next) {
		for (const char *const *name = c->names; *name && !error; name++) {
			int call = seccomp_syscall_resolve_name(*name);

			if (call != __NR_SCMP_ERROR)
				error = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, call, 0);
		}
	}
	if (!error && forms)
		error = allow_forms(ctx);
	if (!error) {
		seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
		seccomp_attr_set(ctx, SCMP_FLTATR_CTL_LOG, 1);
		seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
		error = seccomp_load(ctx);
	}
	seccomp_release(ctx);
	return error;
}

int sandbox_enter(const struct sandbox_user *u, bool off, char *err, size_t err_size)
{
	bool files;
	int error;

	if (off || INSTRUMENTED) {
		if (off)
			log_warn("no sandbox (--no-sandbox): whoever takes over this process has all of its "
				 "privileges");
		return change_user(u, err, err_size);
	}
	tzset(); /* reads its file, for the log */
	keep("/dev/null", strlen("/dev/null"), LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE);
	sandbox_keep_readable("/dev/urandom"); /* libraries that do not know getrandom() */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) {
		snprintf(err, err_size, "no_new_privs: %s", strerror(errno));
		return -1;
	}
	files = restrict_files();
	empty_bounding_set();
	if (change_user(u, err, err_size) || drop_capabilities(err, err_size))
		return -1;
	error = restrict_calls(all_calls, true);
	if (error) {
		snprintf(err, err_size,
			 "cannot restrict the system calls: %s; --no-sandbox runs without the sandbox",
			 strerror(-error));
		return -1;
	}
	log_info("sandbox: user %s, no capabilities, system calls restricted, %s",
		 u->name[0]  ? u->name
		 : geteuid() ? "unchanged"
			     : "root",
		 files ? "files restricted" : "files not restricted (this kernel has no Landlock)");
	return 0;
}

int sandbox_enter_helper(int capability, const char *const *calls, bool off)
{
	const struct sandbox_calls list = { .names = calls };

	empty_bounding_set();
	capng_clear(CAPNG_SELECT_CAPS);
	capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, (unsigned)capability);
	capng_apply(CAPNG_SELECT_CAPS);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (off || INSTRUMENTED)
		return 0;
	n_kept = 0;
	restrict_files();
	return restrict_calls(&list, false);
}
