/*
 * The sandbox - theory of operation
 *
 * In: the modules' lists of system calls and the paths that are still needed. Out: a process that
 * cannot have more than that. Walls, each of which stands alone:
 *
 *   user           --user; without it the user stays, and root is then one without capabilities
 *   capabilities   none: sockets keep what they were opened with, and nothing is opened later that
 *                  needs one. no_new_privs keeps set-user-ID programs and file capabilities from
 *                  giving any back.
 *   memory         no core, and no other process of the user reads it or traces this one
 *   files, ports   Landlock: those named by sandbox_keep_*(), nothing else (sandbox_landlock.c)
 *   system calls   seccomp: those that a module needs, and of some calls only the forms that reach no
 *                  other process (sandbox_calls.c), and of those about some open sockets only what
 *                  they were opened for (sandbox_sockets.c)
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
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "program/args.h"
#include "program/log.h"
#include "program/sandbox_impl.h"
#include "build/config.h"

static struct sandbox_path kept[SANDBOX_MAX_PATHS];
static unsigned n_kept;
static uint8_t ports[65536 / 8];
static bool signals;

static void keep(const char *path, size_t len, uint64_t access)
{
	if (n_kept == SANDBOX_MAX_PATHS || len >= sizeof(kept[0].path))
		return; /* what is not kept is refused */
	memcpy(kept[n_kept].path, path, len);
	kept[n_kept].path[len] = '\0';
	kept[n_kept++].access = access;
}

void sandbox_keep_file(const char *path)
{
	keep(path, strlen(path), sandbox_access_write);
}

void sandbox_keep_output(const char *path, bool series, bool removes)
{
	keep(path, strlen(path),
	     LANDLOCK_ACCESS_FS_WRITE_FILE | (series ? sandbox_access_series : 0) |
		     (removes ? LANDLOCK_ACCESS_FS_REMOVE_FILE : 0));
}

void sandbox_keep_readable(const char *path)
{
	keep(path, strlen(path), sandbox_access_read);
}

void sandbox_keep_signals(void)
{
	signals = true;
}

void sandbox_keep_port(uint16_t port)
{
	ports[port / 8] |= (uint8_t)(1u << port % 8);
}

/* --- memory --- */

int sandbox_hide_memory(bool off)
{
	if (off || INSTRUMENTED)
		return 0;
	return prctl(PR_SET_DUMPABLE, 0) || setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 });
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
	error = sandbox_restrict_sockets();
	files = sandbox_restrict_landlock(sandbox_landlock_version(), kept, n_kept, ports, signals);
	empty_bounding_set();
	if (change_user(u, err, err_size) || drop_capabilities(err, err_size))
		return -1;
	if (!error && sandbox_hide_memory(false)) /* which another user may have shown again */
		error = -errno;
	if (!error)
		error = sandbox_restrict_calls(NULL);
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
	empty_bounding_set();
	capng_clear(CAPNG_SELECT_CAPS);
	capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, (unsigned)capability);
	capng_apply(CAPNG_SELECT_CAPS);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (off || INSTRUMENTED)
		return 0;
	sandbox_hide_memory(false);
	sandbox_restrict_landlock(sandbox_landlock_version(), NULL, 0, NULL, false);
	return sandbox_restrict_calls(calls);
}
