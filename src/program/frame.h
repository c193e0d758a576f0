#ifndef PROGRAM_FRAME_H
#define PROGRAM_FRAME_H

#include <signal.h>

#include "program/options.h"
#include "program/reporter.h"

struct event_base;
struct event;

/*
 * The frame of a program: everything from the command line to the end that does not depend on what the
 * program does. main() calls the steps in this order, with its own between them, so main() shows the order
 * of the start. A step that fails ends the program with words for whoever started it (daemon_fail()).
 *
 *     frame_begin()    daemon, log, pid file, event loop, signals; the service manager's socket
 *                      ... open everything that may fail or needs privilege ...
 *     frame_report()   --report, --stats, --status
 *     frame_confine()  the sandbox: from here on nothing is opened that was not named before
 *                      ... start threads, connect ...
 *     frame_ready()    it works: the shell gets its prompt back (-d), and the service manager is told
 *     frame_run()      until SIGTERM or SIGINT
 *                      ... stop ...
 *     frame_account()  the last report
 *                      ... close ...
 *     frame_end()
 *
 * SIGUSR1 reports, SIGHUP reopens the log. All of it belongs to the main thread, and a process has one
 * frame.
 */
#define FRAME_SIGNALS 4

struct frame {
	const char *name;
	const struct run_config *run;
	struct event_base *base; /* the main thread's loop */
	struct event *signals[FRAME_SIGNALS];
	struct event *interval; /* of --stats; NULL: none */
	struct reporter *reporter;
	struct control *control;
};

/*
 * Can the kernel's settings be read? Without them all that is said of forwarding, routes and rules of others
 * would be guesses. Call it before --check and before frame_begin(). Returns 0, or 1 with words on standard
 * error.
 */
int frame_need_proc(const char *name);

/*
 * Begin: become a daemon, open the log, take the PID file, make the event loop. @name and @run must outlive
 * the frame. From here on, signals that end the program wait for frame_run().
 */
void frame_begin(struct frame *f, const char *name, const struct run_config *run);

/*
 * Open --report and --control, and start --stats. @r belongs to the frame from now on; NULL: out of memory.
 */
void frame_report(struct frame *f, struct reporter *r);

/* Enter the sandbox. Call it when everything that needs privilege is open, and before there are threads. */
void frame_confine(struct frame *f);

/* Report that the program is ready. Call it from within frame_run(), or before. */
void frame_ready(struct frame *f);

/* Run the event loop until SIGTERM or SIGINT, then tell the service manager and close --control. */
void frame_run(struct frame *f);

/* Make the last report, while what it counts still exists. */
void frame_account(struct frame *f);

/* Free everything that the frame has, and close the log. */
void frame_end(struct frame *f);

#endif
