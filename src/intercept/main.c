/*
 * intercept: the black hole for the responses of replicated requests.
 *
 * The order of the start: command line, daemon, pid file, log, then everything that may fail for
 * reasons of this host, then the sandbox. Until the daemon is ready, all of it fails in the
 * foreground. Afterwards signals are all that ends the program.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "program/args.h"
#include "program/control.h"
#include "program/daemon.h"
#include "program/log.h"
#include "build/config.h"
#include "intercept/check/check.h"
#include "intercept/report/report.h"
#include "intercept/workers.h"

#define N_SIGNALS 4

struct program {
	struct event_base *base;
	struct workers *workers;
	struct report *report;
	struct control *control;
	struct event *stats;
	struct event *signals[N_SIGNALS];
};

static void on_end(evutil_socket_t number, short what, void *arg)
{
	struct program *program = arg;

	(void)what;
	log_info("ends: %s", strsignal((int)number));
	event_base_loopbreak(program->base);
}

static void on_hup(evutil_socket_t number, short what, void *arg)
{
	(void)number;
	(void)what;
	(void)arg;
	if (log_reopen())
		log_err("the log cannot be opened again: %s", strerror(errno));
	else
		log_info("log opened again");
}

static void on_usr1(evutil_socket_t number, short what, void *arg)
{
	(void)number;
	(void)what;
	report_account(((struct program *)arg)->report);
}

static void on_stats(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	report_interval(((struct program *)arg)->report);
}

static char *status_of(bool json, void *arg)
{
	return report_status(((struct program *)arg)->report, json);
}

static void take_pid_file(const char *path)
{
	pid_t holder;

	if (!*path || !pid_file_take(path, &holder))
		return;
	if (errno == EBUSY)
		daemon_fail(1,
			    "option -P \"%s\": in use by process %ld; end that one, or name another "
			    "file",
			    path, (long)holder);
	daemon_fail(1,
		    "option -P \"%s\": %s; accepted: a file in a directory that exists and "
		    "may be written",
		    path, strerror(errno));
}

static void open_log(const struct config *c)
{
	if (c->run.log_path[0] && log_to_file(c->run.log_path))
		daemon_fail(1,
			    "option -l \"%s\": %s; accepted: a file in a directory that exists "
			    "and may be written",
			    c->run.log_path, strerror(errno));
	if (c->run.log_journal && log_to_journal(LOG_JOURNAL_SOCKET))
		daemon_fail(1,
			    "option -l \"journal\": " LOG_JOURNAL_SOCKET
			    ": %s; accepted: a file, or journal where systemd runs",
			    strerror(errno));
	if (c->run.daemon && !c->run.log_path[0] && !c->run.log_journal)
		log_info("option -d without -l: further messages go to syslog");
}

static void log_facts(const struct config *c, const char *where)
{
	char interfaces[CONFIG_MAX_INTERFACES * 18] = "";
	bool open = !c->n_binds;
	size_t n = 0;

	for (unsigned i = 0; i < c->n_interfaces; i++)
		n += (size_t)snprintf(interfaces + n, sizeof(interfaces) - n, "%s%s", n ? ", " : "",
				      c->interfaces[i]);
	for (unsigned i = 0; i < c->n_binds; i++)
		open |= !addr_is_loopback(&c->binds[i]);
	log_info("intercept " VERSION " captures %s on %s, listens for tcpcopy on %s, %s",
		 c->filter ? c->filter : "what tcpcopy announces", interfaces, where,
		 c->guard ? "drops what the kernel would forward" : "forwards nothing");
	log_info("workers: %u%s", c->run.workers,
		 c->run.busy_poll
			 ? ", busy polling: each uses a whole processor, also when there is nothing to do"
			 : "");
	if (c->n_allow)
		log_info("connections are accepted from %u prefixes only (--allow)", c->n_allow);
	if (c->secret)
		log_info("the channel is encrypted, with a secret that tcpcopy must have, too");
	else if (open)
		log_warn("the channel has no secret (--secret): whoever%s reaches %s can ask for "
			 "headers of responses, and they can be read on the way",
			 c->n_allow ? " is in --allow and" : "", where);
}

/* --stats, --status and the file of --report. */
static void open_reports(struct program *program, const struct config *c)
{
	struct timeval tv = { .tv_sec = (time_t)(c->run.stats_interval / NS_PER_SEC),
			      .tv_usec = (suseconds_t)(c->run.stats_interval % NS_PER_SEC / 1000) };
	char err[512];

	program->report = report_open(c, program->workers, err, sizeof(err));
	if (!program->report)
		daemon_fail(1, "%s", err);
	program->control = control_open(program->base, "intercept", c->run.control_path, status_of, program,
					err, sizeof(err));
	if (!program->control && *c->run.control_path)
		daemon_fail(1,
			    "option --control \"%s\": %s; accepted: a new name in a directory that "
			    "exists and may be written",
			    c->run.control_path, err);
	if (program->control)
		log_info("status: intercept --status --control %s", control_path(program->control));
	else
		log_info("no --status: %s; --control names another path", err);
	if (!c->run.stats_interval)
		return;
	program->stats = event_new(program->base, -1, EV_PERSIST, on_stats, program);
	if (!program->stats || event_add(program->stats, &tv))
		daemon_fail(1, "out of memory");
}

static void catch_signals(struct program *program)
{
	static const struct {
		int number;
		event_callback_fn fn;
	} wanted[N_SIGNALS] = {
		{ SIGTERM, on_end }, { SIGINT, on_end }, { SIGHUP, on_hup }, { SIGUSR1, on_usr1 }
	};

	signal(SIGPIPE, SIG_IGN);
	for (unsigned i = 0; i < N_SIGNALS; i++) {
		program->signals[i] = evsignal_new(program->base, wanted[i].number, wanted[i].fn, program);
		if (!program->signals[i] || event_add(program->signals[i], NULL))
			daemon_fail(1, "signals cannot be caught");
	}
}

int main(int argc, char **argv)
{
	struct program program = { 0 };
	struct config config;
	char where[512], err[1024];
	int status = config_parse(&config, argc, argv);

	if (status >= 0)
		return status;
	if (config.run.status)
		return control_ask("intercept", config.run.control_path, config.run.status_json);
	if (config.run.check)
		return check_main(&config, argv);
	log_init("intercept", LOGL_INFO);
	if (config.run.daemon && daemon_begin("intercept"))
		daemon_fail(1, "option -d: %s", strerror(errno));
	open_log(&config);
	take_pid_file(config.run.pid_path);
	program.base = event_base_new();
	if (!program.base)
		daemon_fail(1, "the event loop: %s", strerror(errno));
	catch_signals(&program);
	program.workers = workers_open(&config, where, sizeof(where), err, sizeof(err));
	if (!program.workers)
		daemon_fail(1, "%s", err);
	log_facts(&config, where);
	open_reports(&program, &config);
	sandbox_keep_readable("/proc/sys/net"); /* forwarding is watched */
	if (sandbox_enter(&config.run.user, config.run.no_sandbox, err, sizeof(err)))
		daemon_fail(1, "%s", err);
	if (workers_start(program.workers, err, sizeof(err)))
		daemon_fail(1, "%s", err);
	log_info("ready");
	if (daemon_ready())
		daemon_fail(1, "option -d: %s", strerror(errno));
	if (config.run.daemon && !config.run.log_path[0] && !config.run.log_journal)
		log_to_syslog();
	event_base_dispatch(program.base);
	control_close(program.control);
	workers_stop(program.workers);
	report_account(program.report);
	report_close(program.report);
	if (program.stats)
		event_free(program.stats);
	workers_close(program.workers);
	for (unsigned i = 0; i < N_SIGNALS; i++)
		event_free(program.signals[i]);
	event_base_free(program.base);
	channel_secret_free(config.secret);
	args_free();
	log_close();
	return 0;
}
