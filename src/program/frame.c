/*
 * The frame of a program - theory of operation
 *
 * In: the options that all programs have. Out: a process that starts completely or says why it cannot,
 * answers signals, and ends in order. Until it is ready, every failure is reported in the foreground, also
 * with -d. Afterwards only a signal ends it.
 *
 * The order of the steps matters. The daemon is another process, so it comes before the PID file; the log
 * comes before anything that may warn; the manager's socket comes before the sandbox, which allows none to
 * be opened.
 */
#include "program/frame.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "program/control.h"
#include "program/daemon.h"
#include "program/file.h"
#include "program/log.h"
#include "program/notify.h"

#define DIRECTORY " an existing, writable directory"
#define WRITABLE "a file in" DIRECTORY

static void on_signal(evutil_socket_t number, short what, void *arg)
{
	struct frame *f = arg;

	(void)what;
	switch ((int)number) {
	case SIGUSR1:
		if (f->reporter)
			reporter_account(f->reporter);
		break;
	case SIGHUP:
		if (log_reopen())
			log_warn("cannot reopen the log \"%s\": %s; keeping the old file", f->run->log_path,
				 file_words(errno));
		else if (f->run->log_path[0])
			log_info("log reopened");
		break;
	default:
		log_info("%s: ending", number == SIGTERM ? "SIGTERM" : "SIGINT");
		event_base_loopbreak(f->base);
		break;
	}
}

static void on_interval(evutil_socket_t fd, short what, void *arg)
{
	const struct frame *f = arg;

	(void)fd;
	(void)what;
	reporter_interval(f->reporter);
}

static char *on_question(bool json, void *arg)
{
	const struct frame *f = arg;

	return reporter_status(f->reporter, json);
}

/* Does the log go elsewhere than to standard error, which with -d ends when the program is ready? */
static bool log_is_elsewhere(const struct run_config *run)
{
	return run->log_path[0] || run->log_journal;
}

static void open_log(const struct run_config *run)
{
	if (run->log_path[0] && log_to_file(run->log_path))
		daemon_fail(1, "option -l \"%s\": %s; accepted: " WRITABLE, run->log_path, file_words(errno));
	if (run->log_journal && log_to_journal(LOG_JOURNAL_SOCKET))
		daemon_fail(1,
			    "option -l \"journal\": " LOG_JOURNAL_SOCKET
			    ": %s; accepted: a file, or journal where systemd runs",
			    strerror(errno));
	if (!run->daemon || log_is_elsewhere(run))
		return;
	if (log_open_syslog(LOG_SYSLOG_SOCKET))
		log_warn("option -d without -l: no syslog here (" LOG_SYSLOG_SOCKET
			 ": %s); further messages are lost; name a file with -l",
			 strerror(errno));
	else
		log_info("option -d without -l: further messages go to syslog");
}

static void take_pid_file(const char *path)
{
	pid_t holder;

	if (!*path || !pid_file_take(path, &holder))
		return;
	if (errno == EBUSY)
		daemon_fail(1, "option -P \"%s\": in use by process %d; end that one, or name another file",
			    path, (int)holder);
	daemon_fail(1, "option -P \"%s\": %s; accepted: " WRITABLE, path,
		    errno == EEXIST ? "there is a file, but it holds no process ID" : file_words(errno));
}

static void catch_signals(struct frame *f)
{
	static const int number[FRAME_SIGNALS] = { SIGTERM, SIGINT, SIGUSR1, SIGHUP };

	for (int i = 0; i < FRAME_SIGNALS; i++) {
		f->signals[i] = evsignal_new(f->base, number[i], on_signal, f);
		if (!f->signals[i] || event_add(f->signals[i], NULL))
			daemon_fail(1, "out of memory or file descriptors");
	}
}

/*
 * What the caller had blocked or ignored is not what stops or ends this program. A file that may not grow
 * (ulimit -f) is an error of writing, as a full disk is.
 */
static void own_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGCHLD, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
}

int frame_need_proc(const char *name)
{
	if (!access("/proc/sys/net", X_OK) && !access("/proc/net", X_OK))
		return 0;
	fprintf(stderr,
		"%s: cannot read /proc: %s; /proc is not mounted here, or not all of it: on this host "
		"type: mount -t proc proc /proc\n",
		name, strerror(errno));
	return 1;
}

void frame_begin(struct frame *f, const char *name, const struct run_config *run)
{
	own_signals();
	*f = (struct frame){ .name = name, .run = run };
	if (sandbox_hide_memory(run->no_sandbox))
		log_warn("this process leaves a core when it crashes: %s", strerror(errno));
	if (run->daemon)
		daemon_close_inherited();
	if (run->daemon && daemon_begin(name))
		daemon_fail(1, "option -d: cannot become a daemon: %s", strerror(errno));
	open_log(run);
	for (unsigned i = 0; i < run->n_ignored; i++)
		log_warn("%s", run->ignored[i]);
	take_pid_file(run->pid_path);
	if (notify_open())
		log_warn("cannot report to the service manager: NOTIFY_SOCKET: %s", strerror(errno));
	f->base = event_base_new();
	if (!f->base)
		daemon_fail(1, "cannot create the event loop: out of memory or file descriptors");
	catch_signals(f);
}

static void open_control(struct frame *f)
{
	char err[512];

	f->control = control_open(f->base, f->name, f->run->control_path, on_question, f, err, sizeof(err));
	if (!f->control && f->run->control_path[0])
		daemon_fail(1, "option --control \"%s\": %s; accepted: a new name in" DIRECTORY,
			    f->run->control_path, err);
	if (f->control)
		log_info("status: %s --status --control %s", f->name, control_path(f->control));
	else
		log_info("no --status: %s; choose another path with --control", err);
}

void frame_report(struct frame *f, struct reporter *r)
{
	const uint64_t ns = f->run->stats_interval;
	const struct timeval tv = { .tv_sec = (time_t)(ns / NS_PER_SEC),
				    .tv_usec = (suseconds_t)(ns % NS_PER_SEC / NS_PER_US) };
	char err[512] = "out of memory or file descriptors";

	if (!r || reporter_open(r, f->run->report_path, err, sizeof(err)))
		daemon_fail(1, "%s", err);
	f->reporter = r;
	open_control(f);
	if (!ns)
		return;
	f->interval = event_new(f->base, -1, EV_PERSIST, on_interval, f);
	if (!f->interval || event_add(f->interval, &tv))
		daemon_fail(1, "out of memory or file descriptors");
}

void frame_confine(struct frame *f)
{
	char err[512];

	if (sandbox_enter(&f->run->user, f->run->no_sandbox, err, sizeof(err)))
		daemon_fail(1, "%s", err);
}

void frame_ready(struct frame *f)
{
	if (daemon_ready())
		daemon_fail(1, "option -d: cannot become a daemon, which needs /dev/null: %s",
			    strerror(errno));
	if (f->run->daemon && !log_is_elsewhere(f->run))
		log_to_syslog();
	notify_manager("READY=1");
}

void frame_run(struct frame *f)
{
	event_base_dispatch(f->base);
	notify_manager("STOPPING=1");
	control_close(f->control);
	f->control = NULL;
}

void frame_account(struct frame *f)
{
	reporter_account(f->reporter);
}

void frame_end(struct frame *f)
{
	reporter_free(f->reporter);
	if (f->interval)
		event_free(f->interval);
	for (int i = 0; i < FRAME_SIGNALS; i++)
		event_free(f->signals[i]);
	event_base_free(f->base);
	notify_close();
	log_close();
}
