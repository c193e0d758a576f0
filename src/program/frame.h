#ifndef PROGRAM_FRAME_H
#define PROGRAM_FRAME_H

#include <signal.h>

#include "program/options.h"
#include "program/reporter.h"

struct event_base;
struct event;

/*
 * The frame of a program: everything between the command line and the end that does not depend on what the
 * program does. main() calls the steps in this order, with its own between them; so main() is the order of
 * the start. A step that fails ends the program, in words for who started it (daemon_fail()).
 *
 *     frame_begin()    daemon, log, pid file, event loop, signals; the service manager's socket
 *                      ... open everything that may fail or needs privilege ...
 *     frame_report()   --report, --stats, --status
 *     frame_confine()  the sandbox: from here on nothing is opened that was not named before
 *                      ... start threads, connect ...
 *     frame_ready()    it works: the shell gets its prompt back (-d), the service manager is told
 *     frame_run()      until SIGTERM or SIGINT
 *                      ... stop ...
 *     frame_account()  the last report
 *                      ... close ...
 *     frame_end()
 *
 * SIGUSR1 reports, SIGHUP opens the log anew. All of it is the main thread's, and there is one frame a
 * process.
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

/* Both must outlive the frame. Signals that end the program wait for frame_run() from here on. */
void frame_begin(struct frame *f, const char *name, const struct run_config *run);
/* @r is the frame's from now on; NULL: there was no memory for it. */
void frame_report(struct frame *f, struct reporter *r);
void frame_confine(struct frame *f);
/* In frame_run(), or before. */
void frame_ready(struct frame *f);
void frame_run(struct frame *f);
void frame_account(struct frame *f);
void frame_end(struct frame *f);

#endif
