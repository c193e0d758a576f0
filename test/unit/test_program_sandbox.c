/*
 * What the sandbox refuses and what it lets through, tried in child processes that enter it. A
 * build with sanitizers has no sandbox, and nothing is tried there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "program/log.h"
#include "program/sandbox_impl.h"
#include "build/config.h"

SANDBOX_CALLS("setsockopt", "ftruncate", "unlinkat");

static char dir[] = "/tmp/test_program_sandbox.XXXXXX";
static const struct sandbox_user nobody = { .uid = 65534, .gid = 65534, .name = "65534" };
static const struct sandbox_user unchanged;

static const char *in_dir(const char *name)
{
	static char path[64];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

/* In a child: a failed check ends it with a line that says which. */
#define CHECK(x)                                                                                             \
	do {                                                                                                 \
		if (!(x)) {                                                                                  \
			dprintf(2, "line %d: %s: %s\n", __LINE__, #x, strerror(errno));                      \
			_exit(1);                                                                            \
		}                                                                                            \
	} while (0)
#define REFUSED(call, error) CHECK((errno = 0, (call) == -1) && errno == (error))

static void in_child(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void enter(const struct sandbox_user *u)
{
	char err[256];

	if (sandbox_enter(u, false, err, sizeof(err))) {
		dprintf(2, "%s\n", err);
		_exit(1);
	}
}

static void *thread(void *arg)
{
	*(bool *)arg = true;
	REFUSED(socket(AF_PACKET, SOCK_RAW, 0), EPERM);
	return NULL;
}

static void calls(void)
{
	char *const argv[] = { NULL };
	struct rlimit limit = { 0 };
	cpu_set_t cpus = { 0 };
	bool ran = false;
	pthread_t id;
	char c = 'x';

	enter(&unchanged);
	CHECK(prctl(PR_SET_NAME, "still here") == 0);
	REFUSED(prctl(PR_GET_DUMPABLE), EPERM);
	REFUSED(fork(), EPERM);
	REFUSED(execve("/bin/true", argv, argv), EPERM);
	REFUSED(socket(AF_PACKET, SOCK_RAW, 0), EPERM);
	REFUSED(socket(AF_KEY, SOCK_RAW, 0), EPERM);
	REFUSED(kill(getppid(), SIGTERM), EPERM);
	REFUSED(tgkill(getppid(), getppid(), 0), EPERM);
	CHECK(tgkill(getpid(), gettid(), 0) == 0);
	REFUSED(prlimit(getppid(), RLIMIT_NOFILE, NULL, &limit), EPERM);
	REFUSED(setrlimit(RLIMIT_NOFILE, &limit), EPERM);
	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	REFUSED(sched_setaffinity(getppid(), sizeof(cpus), &cpus), EPERM);
	CHECK(sched_getaffinity(0, sizeof(cpus), &cpus) == 0);
	CHECK(sched_setaffinity(0, sizeof(cpus), &cpus) == 0);
	REFUSED(fcntl(0, F_SETOWN, getppid()), EPERM);
	REFUSED(fcntl(0, F_DUPFD_CLOEXEC, 100), EPERM);
	REFUSED(socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT), EPERM);
	CHECK(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE) >= 0);
	REFUSED(ptrace(PTRACE_TRACEME, 0, NULL, NULL), EPERM);
	REFUSED(mount("none", "/tmp", "tmpfs", 0, NULL), EPERM);
	REFUSED(setuid(0), EPERM);
	REFUSED(chmod(dir, 0777), EPERM);
	REFUSED(ioctl(0, TIOCSTI, &c), EPERM);
	CHECK(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
	CHECK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	CHECK(pthread_create(&id, NULL, thread, &ran) == 0);
	CHECK(pthread_join(id, NULL) == 0 && ran);
	/* cppcheck-suppress leakReturnValNotUsed ; the process ends soon */
	CHECK(malloc(64 << 20) != NULL);
}

static void calls_that_nobody_named_are_refused(void **state)
{
	(void)state;
	in_child(calls);
}

/* The log is linked, so open() is let through and Landlock alone is in the way; daemon.c, which
 * names unlink(), is not. */
static void files(void)
{
	CHECK(log_to_file(in_dir("log")) == 0);
	sandbox_keep_readable("/etc/passwd");
	enter(&unchanged);
	log_info("one");
	REFUSED(rename(in_dir("log"), "/tmp/elsewhere"), EPERM);
	CHECK(log_reopen() == 0);
	log_info("two");
	CHECK(open("/etc/passwd", O_RDONLY) >= 0);
	REFUSED(open("/etc/passwd", O_WRONLY), EACCES);
	CHECK(open(in_dir("new"), O_WRONLY | O_CREAT, 0600) >= 0); /* beside the log */
	CHECK(open("/dev/null", O_RDWR) >= 0);
	REFUSED(open("/etc/group", O_RDONLY), EACCES);
	REFUSED(open("/tmp", O_RDONLY | O_DIRECTORY), EACCES);
	REFUSED(open("/tmp/test_program_sandbox.new", O_WRONLY | O_CREAT, 0600), EACCES);
	REFUSED(open("/proc/self/mem", O_RDWR), EACCES);
	REFUSED(unlink("/tmp/test_program_sandbox.none"), EPERM);
}

/* What --write needs: of a single file nothing but its descriptor, of a series what is made beside it. */
static void series(bool wanted, bool removes)
{
	const int fd = open(in_dir("day.1"), O_WRONLY | O_CREAT, 0600);
	const int directory = open(dir, O_PATH | O_DIRECTORY);

	CHECK(fd >= 0 && directory >= 0);
	close(open(in_dir("old"), O_WRONLY | O_CREAT, 0600));
	sandbox_keep_output(in_dir("day.1"), wanted, removes);
	enter(&unchanged);
	CHECK(write(fd, "x", 1) == 1 && ftruncate(fd, 0) == 0);
	if (wanted)
		CHECK(openat(directory, "day.2", O_WRONLY | O_CREAT | O_EXCL, 0600) >= 0);
	else
		REFUSED(openat(directory, "day.2", O_WRONLY | O_CREAT | O_EXCL, 0600), EACCES);
	if (removes)
		CHECK(unlinkat(directory, "old", 0) == 0);
	else
		REFUSED(unlinkat(directory, "old", 0), EACCES);
	REFUSED(open(in_dir("day.1"), O_RDONLY), EACCES);
	REFUSED(open("/tmp/test_program_sandbox.new", O_WRONLY | O_CREAT, 0600), EACCES);
}

static void single_file(void)
{
	series(false, false);
}

static void kept_series(void)
{
	series(true, false);
}

static void series_below_a_quota(void)
{
	series(true, true);
}

static void files_that_are_written(void **state)
{
	(void)state;
	in_child(single_file);
	in_child(kept_series);
	unlink(in_dir("day.2"));
	in_child(series_below_a_quota);
}

/* Landlock alone, as the kernels of this version have it. */
static long version;

static void outside(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	const int server = socket(AF_UNIX, SOCK_STREAM, 0), tcp = socket(AF_INET, SOCK_STREAM, 0);
	uint8_t ports[8192] = { 0 };
	socklen_t len;

	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
			  (size_t)snprintf(at.sun_path + 1, sizeof(at.sun_path) - 1, "%s", dir) + 1);
	CHECK(bind(server, (struct sockaddr *)&at, len) == 0 && listen(server, 1) == 0);
	CHECK(kill(getppid(), 0) == 0);
	ports[9 / 8] = 1 << 9 % 8;
	if (!sandbox_restrict_landlock(version, NULL, 0, ports, false))
		_exit(version > 0);
	REFUSED(open("/etc/passwd", O_RDONLY), EACCES);
	REFUSED(open("/tmp/test_program_sandbox.new", O_WRONLY | O_CREAT, 0600), EACCES);
	if (version < 3)
		CHECK(truncate(in_dir("long"), 1) == 0);
	else
		REFUSED(truncate(in_dir("long"), 1), EACCES);
	if (version < 4) {
		to.sin_port = htons(10);
		REFUSED(connect(tcp, (struct sockaddr *)&to, sizeof(to)), ECONNREFUSED);
	}
	if (version < 6) {
		CHECK(kill(getppid(), 0) == 0);
		CHECK(connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&at, len) == 0);
	}
	if (version >= 4) {
		to.sin_port = htons(10);
		REFUSED(connect(tcp, (struct sockaddr *)&to, sizeof(to)), EACCES);
		to.sin_port = htons(9);
		REFUSED(connect(tcp, (struct sockaddr *)&to, sizeof(to)), ECONNREFUSED);
		REFUSED(bind(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&to, sizeof(to)), EACCES);
	}
	if (version >= 6) {
		REFUSED(kill(getppid(), 0), EPERM);
		CHECK(kill(getpid(), 0) == 0);
		REFUSED(connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&at, len), EPERM);
	}
}

static void what_is_outside_is_refused(void **state)
{
	const long newest = sandbox_landlock_version();

	(void)state;
	close(open(in_dir("long"), O_WRONLY | O_CREAT, 0600));
	for (version = 0; version <= MIN(newest, 6); version++)
		in_child(outside);
}

/* What newer versions of Landlock refuse besides is refused by seccomp alone, too. */
static void without_landlock(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && sandbox_restrict_sockets() == 0);
	CHECK(sandbox_restrict_calls(NULL) == 0);
	REFUSED(socket(AF_UNIX, SOCK_STREAM, 0), EPERM);
	REFUSED(kill(getppid(), 0), EPERM);
	REFUSED((int)syscall(SYS_tgkill, getppid(), getppid(), 0), EPERM);
	REFUSED(listen(socket(AF_INET, SOCK_STREAM, 0), 1), EPERM);
	REFUSED(bind(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&to, sizeof(to)), EPERM);
}

static void seccomp_stands_alone(void **state)
{
	(void)state;
	in_child(without_landlock);
}

static void other_files_are_refused(void **state)
{
	struct stat st;

	(void)state;
	in_child(files);
	assert_int_equal(stat(in_dir("log"), &st), 0);
	assert_true(st.st_size > 100);
}

static void user(void)
{
	struct stat st;

	CHECK(log_to_file(in_dir("log")) == 0);
	enter(&nobody);
	CHECK(getuid() == 65534 && geteuid() == 65534 && getgid() == 65534);
	REFUSED(setuid(0), EPERM);
	CHECK(log_reopen() == 0); /* the file was given to the user */
	CHECK(fstatat(AT_FDCWD, in_dir("log"), &st, 0) == 0 && st.st_uid == 65534);
}

static void the_user_changes(void **state)
{
	(void)state;
	if (geteuid())
		skip();
	chmod(dir, 0711);
	in_child(user);
}

/* What is known by its number: nothing is sent through it, and after its end nobody else has the number. */
static void sockets(void)
{
	static const int one = 1;
	const int capture = socket(AF_PACKET, SOCK_RAW, 0), inject = socket(AF_PACKET, SOCK_RAW, 0);
	struct mmsghdr m = { .msg_len = 0 };
	int other;

	CHECK(capture >= 0 && inject >= 0);
	sandbox_keep_sending(inject);
	enter(&unchanged);
	REFUSED(write(capture, dir, 10), EPERM);
	REFUSED(send(capture, dir, 10, 0), EPERM);
	REFUSED(sendmmsg(capture, &m, 1, 0), EPERM);
	REFUSED(setsockopt(capture, SOL_SOCKET, SO_RCVBUF, &one, sizeof(one)), EPERM);
	REFUSED(setsockopt(inject, SOL_SOCKET, SO_RCVBUF, &one, sizeof(one)), EPERM);
	REFUSED(dup2(capture, 100), EPERM);
	REFUSED(sendmmsg(inject, &m, 1, 0), ENXIO); /* the kernel's word: there is no interface 0 */
	sandbox_close(capture);
	sandbox_close(inject);
	for (int i = 0; i < 3; i++) {
		other = socket(AF_INET, SOCK_STREAM, 0);
		CHECK(other >= 0 && other != capture && other != inject);
		CHECK(setsockopt(other, SOL_SOCKET, SO_RCVBUF, &one, sizeof(one)) == 0);
	}
	REFUSED(send(capture, dir, 10, 0), EPERM);
	REFUSED(sendmmsg(inject, &m, 1, 0), ENOTSOCK);
}

static void packet_sockets_are_for_one_thing(void **state)
{
	(void)state;
	if (geteuid())
		skip();
	in_child(sockets);
}

static void status(void)
{
	static const char *const wanted[] = { "\nNoNewPrivs:\t1\n",
					      "\nSeccomp:\t2\n",
					      "\nCapPrm:\t0000000000000000\n",
					      "\nCapEff:\t0000000000000000\n",
					      "\nCapInh:\t0000000000000000\n",
					      "\nCapAmb:\t0000000000000000\n" };
	char text[4096] = "";

	sandbox_keep_readable("/proc/self/status");
	enter(&unchanged);
	CHECK(read(open("/proc/self/status", O_RDONLY), text, sizeof(text) - 1) > 0);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		CHECK(strstr(text, wanted[i]));
}

static void nothing_is_held(void **state)
{
	(void)state;
	in_child(status);
}

/* A helper has the calls it names, not one that every program has, and one capability. */
static void helper(void)
{
	static const char *const named[] = { "write", "read", "exit_group", NULL };
	static const char *const wanted[] = { "\nNoNewPrivs:\t1\n",
					      "\nSeccomp:\t2\n",
					      "\nCapEff:\t0000000000001000\n",
					      "\nCapPrm:\t0000000000001000\n",
					      "\nCapInh:\t0000000000000000\n",
					      "\nCapBnd:\t0000000000000000\n" };
	const int status_file = open("/proc/self/status", O_RDONLY);
	const bool root = !geteuid();
	char *const argv[] = { NULL };
	char text[4096] = "";

	sandbox_keep_readable("/etc/passwd"); /* the program's, not the helper's */
	CHECK(sandbox_enter_helper(CAP_NET_ADMIN, named, false) == 0);
	REFUSED(fork(), EPERM);
	REFUSED(execve("/bin/true", argv, argv), EPERM);
	REFUSED(open("/etc/passwd", O_RDONLY), EPERM);
	REFUSED(socket(AF_INET, SOCK_STREAM, 0), EPERM);
	REFUSED(kill(getppid(), SIGTERM), EPERM);
	REFUSED(close(0), EPERM);
	CHECK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
	CHECK(read(status_file, text, sizeof(text) - 1) > 0);
	for (size_t i = 0; i < (root ? sizeof(wanted) / sizeof(wanted[0]) : 2); i++)
		CHECK(strstr(text, wanted[i]));
}

/* Only Landlock is in the way. */
static void helper_files(void)
{
	static const char *const named[] = { "write", "openat", "open", "exit_group", NULL };

	sandbox_keep_readable("/etc/passwd");
	CHECK(sandbox_enter_helper(CAP_NET_ADMIN, named, false) == 0);
	REFUSED(open("/etc/passwd", O_RDONLY), EACCES);
}

static void a_helper_has_less(void **state)
{
	(void)state;
	in_child(helper);
	in_child(helper_files);
}

static void off(void)
{
	char err[256];

	CHECK(sandbox_enter(&unchanged, true, err, sizeof(err)) == 0);
	CHECK(open("/etc/passwd", O_RDONLY) >= 0);
	CHECK(fork() >= 0);
}

static void it_can_be_switched_off(void **state)
{
	(void)state;
	in_child(off);
}

static void users_are_names_or_numbers(void **state)
{
	struct sandbox_user u;
	const char *may = geteuid() ? "only root can change the user" : NULL;
	const char *wrong;

	(void)state;
	wrong = sandbox_user_parse(&u, "root:0");
	assert_true(wrong == may || !strcmp(wrong, may));
	assert_int_equal(u.uid, 0);
	wrong = sandbox_user_parse(&u, "4711:4712");
	assert_true(wrong == may || !strcmp(wrong, may));
	assert_int_equal(u.uid, 4711);
	assert_int_equal(u.gid, 4712);
	assert_non_null(strstr(sandbox_user_parse(&u, "no-such-user"), "there is no user no-such-user"));
	assert_non_null(strstr(sandbox_user_parse(&u, "0:no-such-group"), "there is no group"));
	assert_non_null(sandbox_user_parse(&u, ""));
	assert_non_null(sandbox_user_parse(&u, ":0"));
	assert_non_null(sandbox_user_parse(&u, "root:"));
	assert_non_null(sandbox_user_parse(&u, "-1"));
	assert_non_null(sandbox_user_parse(&u, "4294967295"));
}

static int set_up(void **state)
{
	(void)state;
	return !mkdtemp(dir);
}

static int tear_down(void **state)
{
	(void)state;
	unlink(in_dir("log"));
	unlink(in_dir("new"));
	unlink(in_dir("long"));
	unlink(in_dir("day.1"));
	unlink(in_dir("day.2"));
	unlink(in_dir("old"));
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(users_are_names_or_numbers),
		cmocka_unit_test(it_can_be_switched_off),
#if !INSTRUMENTED
		cmocka_unit_test(calls_that_nobody_named_are_refused),
		cmocka_unit_test(other_files_are_refused),
		cmocka_unit_test(files_that_are_written),
		cmocka_unit_test(what_is_outside_is_refused),
		cmocka_unit_test(seccomp_stands_alone),
		cmocka_unit_test(the_user_changes),
		cmocka_unit_test(packet_sockets_are_for_one_thing),
		cmocka_unit_test(nothing_is_held),
		cmocka_unit_test(a_helper_has_less),
#endif
	};

	(void)calls_that_nobody_named_are_refused;
	(void)other_files_are_refused;
	(void)files_that_are_written;
	(void)what_is_outside_is_refused;
	(void)seccomp_stands_alone;
	(void)the_user_changes;
	(void)packet_sockets_are_for_one_thing;
	(void)nothing_is_held;
	(void)a_helper_has_less;
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
