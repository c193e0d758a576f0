#ifndef PROGRAM_NOTIFY_H
#define PROGRAM_NOTIFY_H

/*
 * Tells the service manager that has set NOTIFY_SOCKET how the start and the end go, with the protocol of
 * sd_notify(3). There is one connection per process, for the main thread.
 */

/*
 * Connect to the socket that NOTIFY_SOCKET names, and remove the variable from the environment, so that
 * programs that we run do not speak for us. Call it before the sandbox, in which no such socket can be
 * opened. Returns 0, also if the variable is not set; or -1 with errno if the socket cannot be reached, and
 * notify_manager() then does nothing.
 */
int notify_open(void);

/*
 * Send @state, such as "READY=1" or "STOPPING=1". If the manager does not read, this waits some seconds at
 * most, and then logs what could not be sent.
 */
void notify_manager(const char *state);

/* Close the connection. Does nothing if there is none. */
void notify_close(void);

#endif
