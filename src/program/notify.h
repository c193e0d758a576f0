#ifndef PROGRAM_NOTIFY_H
#define PROGRAM_NOTIFY_H

/*
 * How the start and the end go, for the service manager that has set NOTIFY_SOCKET: the protocol of
 * sd_notify(3). One per process, for the main thread.
 */

/*
 * Connect to the socket that NOTIFY_SOCKET names, and take the variable out of the environment, so that
 * programs that we run do not speak for us. Before the sandbox, for no socket is opened later. 0, also when
 * nobody has set it; -1 with errno: it cannot be reached, and notify_manager() does nothing.
 */
int notify_open(void);

/*
 * Send @state: "READY=1", "STOPPING=1". A manager that does not read is waited for, at most some seconds;
 * what it does not get is logged.
 */
void notify_manager(const char *state);

void notify_close(void);

#endif
