#ifndef PROGRAM_DAEMON_H
#define PROGRAM_DAEMON_H

#include <sys/types.h>
#include "base/util.h"

/*
 * Becomes a daemon in two steps, so that the shell hears whether the start succeeded: the process
 * that was started waits until the daemon says ready (and then exits 0) or fails (and then exits
 * with its status). Call before there are threads and before a pid file is taken. Returns 0 in the
 * daemon, which still has its stdio, its directory and the umask 027; does not return in the
 * starter. -1 with errno: no process to be had.
 */
int daemon_begin(const char *prog);

/*
 * The daemon works: stdio becomes /dev/null, the directory "/", the starter exits 0. 0; or -1 with
 * errno when there is no /dev/null or the starter is gone (ESRCH; someone interrupted it): the
 * daemon should end. Does nothing without daemon_begin().
 */
int daemon_ready(void);

/*
 * Ends the program before it is ready: "prog: text" goes to the stderr of the starter, which exits
 * with @status. Without daemon_begin(), to our own stderr.
 */
_Noreturn void daemon_fail(int status, const char *fmt, ...) PRINTF_LIKE(2, 3);

/*
 * Creates, locks and writes the pid file; it is removed at exit(). 0; or -1 with errno: EBUSY when
 * another process holds it, then *@holder is its pid (0: not known). The lock decides, not the
 * content: a file left by a crash is taken over.
 */
int pid_file_take(const char *path, pid_t *holder);

#endif
