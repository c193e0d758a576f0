#ifndef PROGRAM_DAEMON_H
#define PROGRAM_DAEMON_H

#include <sys/types.h>
#include "base/util.h"

/*
 * Close what the caller had open besides stdio. It would otherwise stay open as long as the daemon: a pipe
 * whose end somebody waits for, or a lock. Call it before anything of the program's own is open.
 */
void daemon_close_inherited(void);

/*
 * Become a daemon, in two steps, so that the shell learns whether the start succeeded: the process that was
 * started waits until the daemon is ready, and then exits with 0, or fails, and then exits with the daemon's
 * status. Call it before there are threads and before a PID file is taken. Returns 0 in the daemon, which
 * still has its stdio and its directory, and the umask 027; does not return in the starter. Returns -1 with
 * errno if there can be no process.
 */
int daemon_begin(const char *prog);

/*
 * The second step, when the daemon is ready: its stdio becomes /dev/null, its directory "/", and the starter
 * exits with 0. Returns 0; or -1 with errno if there is no /dev/null or the starter is gone (ESRCH), in
 * which case the daemon should end. Does nothing without daemon_begin().
 */
int daemon_ready(void);

/*
 * End the program before it is ready: "prog: text" goes to the stderr of the starter, which exits with
 * @status; without daemon_begin(), to our own stderr. Where the process has nearly used up the files that it
 * may open, that is added, because many a failure is then due to it.
 */
_Noreturn void daemon_fail(int status, const char *fmt, ...) PRINTF_LIKE(2, 3);

/*
 * Create, lock and write the PID file at @path, which exit() removes. Returns 0; or -1 with errno, which is
 * EBUSY if another process holds the file, and *@holder is then its process ID (0: not known); EEXIST if
 * there is a file with other contents, which is left alone; or file_open()'s. The lock decides, not the
 * content: a file that a crash has left is taken over.
 */
int pid_file_take(const char *path, pid_t *holder);

#endif
