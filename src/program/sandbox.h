#ifndef PROGRAM_SANDBOX_H
#define PROGRAM_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * What the process gives up once everything is open: its user, its capabilities, every system call that no
 * module needs, and the file system except for a few paths.
 */

/*
 * At the top of a module that makes system calls after the start: their names, as the kernel has them. Names
 * that this machine does not have are ignored. What every program does (memory, time, threads, signals,
 * reading, writing and closing what is open) need not be named. Of socket(), ioctl(), clone(), mmap() and
 * prctl() only the harmless forms are allowed; see sandbox.c.
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
/* Add the names of *c to what the sandbox allows. Called by SANDBOX_CALLS, before main(). *c must stay. */
void sandbox_calls_add(struct sandbox_calls *c);

/*
 * Before sandbox_enter(): allow the file @path to be opened, created, replaced by rename() from its own
 * directory, and removed later. The file need not exist, but its directory must. The file is given to the
 * user of --user, if any.
 */
void sandbox_keep_file(const char *path);

/*
 * Before sandbox_enter(): the file @path was opened for writing, and belongs to the user of --user, if any.
 * With @series, allow other files to be made and written to beside it later, and with @removes to be removed.
 */
void sandbox_keep_output(const char *path, bool series, bool removes);

/* Before sandbox_enter(): allow the file or directory @path to be read later. */
void sandbox_keep_readable(const char *path);

/*
 * Before sandbox_enter(): a helper is to get its PR_SET_PDEATHSIG when this process ends. Landlock would
 * refuse it, as a signal of this process; so it refuses none, and the filter of system calls alone does.
 */
void sandbox_keep_signals(void);

/* Before sandbox_enter(): allow TCP connections to @port (host byte order) of any host later. */
void sandbox_keep_port(uint16_t port);

/*
 * Let nobody see this process's memory, which holds keys and what clients sent: no core is written, and
 * other processes of the user can neither read it nor trace it. Call it at the start, and before threads.
 * Returns 0, or -1 with errno. With @off, which is --no-sandbox, nothing is done, so that there are cores to
 * look at.
 */
int sandbox_hide_memory(bool off);

/*
 * Before sandbox_enter(): the socket @fd, of AF_PACKET or raw, injects packets by sendmmsg(). All other
 * packet sockets can only receive.
 */
void sandbox_keep_sending(int fd);

/*
 * Before sandbox_enter(): the packet socket @fd, which captures, is given other filters and bound anew
 * later. Those of all others are what they are.
 */
void sandbox_keep_changing(int fd);

/*
 * Close the packet socket @fd, before or after sandbox_enter(). The sandbox knows such sockets by their
 * numbers, so afterwards the number stays in use, by /dev/null.
 */
void sandbox_close(int fd);

/* The user of --user: "NAME" or "NAME:GROUP", each also as a number. */
struct sandbox_user {
	uid_t uid;
	gid_t gid;
	char name[64]; /* empty: the user does not change */
};

/*
 * Parse @text into *u, with the user database. Returns NULL, or what is wrong in words, perhaps
 * args_wrong()'s.
 */
const char *sandbox_user_parse(struct sandbox_user *u, const char *text);

/*
 * Give all of this up for good. Call it when everything that needs privilege is open and before there are
 * threads, which inherit it. What the kernel does not support is left out, with a warning. Returns 0; or -1
 * with words in @err if the user cannot be changed or the system calls cannot be restricted, and then the
 * program must not go on. With @off only the user changes.
 */
int sandbox_enter(const struct sandbox_user *u, bool off, char *err, size_t err_size);

/*
 * The same for a helper process, which keeps @capability, if it has it, and the system calls @calls (ended
 * by NULL), but no files. Calls that any program may make elsewhere have to be named here. Returns 0; or a
 * negative errno, and then the process must end. With @off only the capabilities are limited.
 */
int sandbox_enter_helper(int capability, const char *const *calls, bool off);

#endif
