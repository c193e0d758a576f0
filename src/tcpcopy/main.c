/*
 * tcpcopy - theory of operation
 *
 * Starts in an order in which every failure is said in the foreground: command line, daemon, pid file,
 * claim of the rules, privileged sockets, sandbox, connections to the assistants. Only when all of that
 * stands does -d return to the shell. From then on nothing but a signal ends the program.
 *
 *   SIGTERM, SIGINT  end: sessions still open on the target are reset, the account is printed
 *   SIGUSR1          print the account now, and write the file of --report
 *   SIGHUP           reopen the log file
 *
 * --status asks a program that runs, at its control socket, and does nothing else.
 */
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "program/control.h"
#include "program/daemon.h"
#include "program/log.h"
#include "tcpcopy/check/check.h"
#include "tcpcopy/check/diagnosis.h"
#include "tcpcopy/config/lock.h"
#include "tcpcopy/report/report.h"

#define N_SIGNALS 4

struct program {
	struct config config;
	struct workers *workers;
	struct event_base *base;
	struct event *signals[N_SIGNALS];
	struct event *stats;
	struct report *report;
	struct control *control;
	struct diagnosis *diagnosis;
};

static struct program prog;

static void on_signal(evutil_socket_t number, short what, void *arg)
{
	(void)what;
	(void)arg;
	switch ((int)number) {
	case SIGTERM:
	case SIGINT:
		log_info("%s: ending", number == SIGTERM ? "SIGTERM" : "SIGINT");
		event_base_loopbreak(prog.base);
		break;
	case SIGUSR1:
		report_account(prog.report);
		break;
	case SIGHUP:
		if (log_reopen())
			log_warn("cannot reopen the log \"%s\": %s; the old one is kept",
				 prog.config.run.log_path, strerror(errno));
		break;
	default:
		break;
	}
}

static void on_stats(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	report_interval(prog.report);
}

/* The first round of connections is over: the start has succeeded or failed. */
static void on_started(const char *failed, void *arg)
{
	(void)arg;
	if (failed && !prog.config.keep_trying)
		daemon_fail(1, "%s", failed);
	if (failed)
		log_warn("%s; trying again until it answers (-L)", failed);
	else
		log_info("ready");
	if (daemon_ready() && prog.config.run.daemon)
		daemon_fail(1, "cannot become a daemon: %s", strerror(errno));
	if (prog.config.run.daemon && !prog.config.run.log_path[0] && !prog.config.run.log_journal)
		log_to_syslog();
}

static void take_pid_file(void)
{
	pid_t holder;

	if (!prog.config.run.pid_path[0] || !pid_file_take(prog.config.run.pid_path, &holder))
		return;
	if (errno == EBUSY)
		daemon_fail(1, "option -P \"%s\": in use by process %d; end that one, or name another file",
			    prog.config.run.pid_path, (int)holder);
	daemon_fail(1, "option -P \"%s\": %s; accepted: a file in a directory that exists and may be written",
		    prog.config.run.pid_path, strerror(errno));
}

static void open_log(void)
{
	if (prog.config.run.log_path[0] && log_to_file(prog.config.run.log_path))
		daemon_fail(
			1,
			"option -l \"%s\": %s; accepted: a file in a directory that exists and may be written",
			prog.config.run.log_path, strerror(errno));
	if (prog.config.run.log_journal && log_to_journal(LOG_JOURNAL_SOCKET))
		daemon_fail(1,
			    "option -l \"journal\": " LOG_JOURNAL_SOCKET
			    ": %s; accepted: a file, or journal where systemd "
			    "runs",
			    strerror(errno));
	if (prog.config.run.daemon && !prog.config.run.log_path[0] && !prog.config.run.log_journal)
		log_info("option -d without -l: further messages go to syslog");
}

static char *status(bool json, void *arg)
{
	(void)arg;
	return report_status(prog.report, json);
}

/* --status and the file of --report. */
static void open_reports(void)
{
	char err[512];

	prog.report = report_open(&prog.config, prog.workers, err, sizeof(err));
	if (!prog.report)
		daemon_fail(1, "%s", err);
	prog.control = control_open(prog.base, "tcpcopy", prog.config.run.control_path, status, NULL, err,
				    sizeof(err));
	if (!prog.control && prog.config.run.control_path[0])
		daemon_fail(
			1,
			"option --control \"%s\": %s; accepted: a new name in a directory that exists and may be written",
			prog.config.run.control_path, err);
	if (prog.control)
		log_info("status: tcpcopy --status --control %s", control_path(prog.control));
	else
		log_info("no --status: %s; --control names another path", err);
}

static void add_events(void)
{
	static const int number[N_SIGNALS] = { SIGTERM, SIGINT, SIGUSR1, SIGHUP };
	struct timeval tv;

	for (int i = 0; i < N_SIGNALS; i++) {
		prog.signals[i] = evsignal_new(prog.base, number[i], on_signal, NULL);
		if (!prog.signals[i] || event_add(prog.signals[i], NULL))
			daemon_fail(1, "out of memory");
	}
	if (!prog.config.run.stats_interval)
		return;
	tv.tv_sec = (time_t)(prog.config.run.stats_interval / NS_PER_SEC);
	tv.tv_usec = (suseconds_t)(prog.config.run.stats_interval % NS_PER_SEC / 1000);
	prog.stats = event_new(prog.base, -1, EV_PERSIST, on_stats, NULL);
	if (!prog.stats || event_add(prog.stats, &tv))
		daemon_fail(1, "out of memory");
}

static void free_events(void)
{
	for (int i = 0; i < N_SIGNALS; i++)
		event_free(prog.signals[i]);
	if (prog.stats)
		event_free(prog.stats);
}

int main(int argc, char **argv)
{
	char err[512];
	int status;

	log_init("tcpcopy", LOGL_INFO);
	status = config_parse(&prog.config, argc, argv);
	if (status >= 0)
		return status;
	if (prog.config.run.verbose)
		log_init("tcpcopy", LOGL_DEBUG);
	if (prog.config.run.status)
		return control_ask("tcpcopy", prog.config.run.control_path, prog.config.run.status_json);
	if (prog.config.run.check)
		return check_main(&prog.config, argv);
	signal(SIGPIPE, SIG_IGN);
	if (prog.config.run.daemon && daemon_begin("tcpcopy"))
		daemon_fail(1, "option -d: cannot become a daemon: %s", strerror(errno));
	open_log();
	take_pid_file();
	if (lock_rules(&prog.config, err, sizeof(err)))
		daemon_fail(1, "%s", err);
	prog.base = event_base_new();
	if (!prog.base)
		daemon_fail(1, "the event loop cannot be made: out of memory or file descriptors");
	prog.workers = workers_open(&prog.config, err, sizeof(err));
	if (!prog.workers)
		daemon_fail(1, "%s", err);
	prog.diagnosis = diagnosis_open(&prog.config, prog.workers, prog.base);
	config_log_facts(&prog.config);
	open_reports();
	add_events();
	sandbox_keep_readable("/proc/net");
	sandbox_keep_readable("/proc/sys/net");
	if (sandbox_enter(&prog.config.run.user, prog.config.run.no_sandbox, err, sizeof(err)))
		daemon_fail(1, "%s", err);
	if (workers_start(prog.workers, prog.base, on_started, NULL, err, sizeof(err)))
		daemon_fail(1, "%s", err);
	event_base_dispatch(prog.base);
	control_close(prog.control);
	diagnosis_close(prog.diagnosis);
	workers_stop(prog.workers);
	report_account(prog.report);
	report_close(prog.report);
	workers_close(prog.workers);
	free_events();
	event_base_free(prog.base);
	channel_secret_free(prog.config.secret);
	log_close();
	return 0;
}
