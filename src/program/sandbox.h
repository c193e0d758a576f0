#ifndef PROGRAM_SANDBOX_H
#define PROGRAM_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * What the process gives up once everything is open: its user, its capabilities, every system call
 * that no module needs, and the file system but for a few paths.
 */

/*
 * At the top of a module that makes system calls after the start: their names, as the kernel has
 * them. Names that this machine does not have are left out. What every program does (memory, time,
 * threads, signals, reading, writing and closing what is open) need not be named. Of socket(),
 * ioctl(), clone(), mmap() and prctl() only the harmless forms are let through; see sandbox.c.
 */
#define SANDBOX_CALLS(...)                                                                                   \
	__attribute__((constructor)) static void sandbox_calls_(void)                                        \
	{                                                                                                    \
		static const char *const names[] = { __VA_ARGS__, NULL };                                    \
		static struct sandbox_calls calls = { .names = names };                                      \
                                                                                                             \
		sandbox_calls_add(&calls);                                                                   \
	}                                                                                                    \
	struct sandbox_calls

struct sandbox_calls {
	const char *const *names; /* NULL at the end */
	struct sandbox_calls *next;
};
void sandbox_calls_add(struct sandbox_calls *c);

/*
 * Before sandbox_enter(): the file @path may later be opened, made anew, replaced by rename() from
 * its own directory, and removed. It need not exist, its directory must. It is given to the user of
 * --user, if there is one.
 */
void sandbox_keep_file(const char *path);
/* The file or directory @path may later be read. */
void sandbox_keep_readable(const char *path);

/* "NAME", "NAME:GROUP", also as numbers. */
struct sandbox_user {
	uid_t uid;
	gid_t gid;
	char name[64]; /* empty: stay who we are */
};

/* NULL, or what is wrong in words, which may be args_wrong()'s. Reads the user data base. */
const char *sandbox_user_parse(struct sandbox_user *u, const char *text);

/*
 * Give it all up, for good. Call when everything that needs privilege is open and before there are
 * threads, which then inherit it. What the kernel cannot do is told by a warning and left out. -1
 * with words in @err when the user cannot be changed or the system calls not be limited: the
 * program must not go on. With @off only the user changes.
 */
int sandbox_enter(const struct sandbox_user *u, bool off, char *err, size_t err_size);

/*
 * The same for a helper process, which keeps @capability, if it has it, and the system calls @calls (NULL at
 * the end), but no files. Calls that every program may make elsewhere must be named here. Returns 0, or a
 * negative errno: the process must end. With @off only the capabilities are limited.
 */
int sandbox_enter_helper(int capability, const char *const *calls, bool off);

#endif
