/*
 * intercept: the black hole for the responses of replicated requests - theory of operation
 *
 * main() is the order of the start: command line, the frame of any program (program/frame.h), everything that
 * may fail for reasons of this host, the sandbox, the workers' threads. Until the program is ready, every
 * failure is reported in the foreground. Afterwards only a signal ends it, or the loss of
 * the guard.
 *
 *   SIGTERM, SIGINT  end: say goodbye to the connected tcpcopys, print the account
 *   SIGUSR1          print the account now, and write the file of --report
 *   SIGHUP           reopen the log file
 *
 * What the sandbox allows is not listed here: each module that makes system calls after the start names them
 * with SANDBOX_CALLS (program/sandbox.h), in a constructor that runs before main().
 */
#include <stdio.h>

#include "program/control.h"
#include "program/daemon.h"
#include "program/frame.h"
#include "program/log.h"
#include "build/config.h"
#include "intercept/check/check.h"
#include "intercept/hole/on_target.h"
#include "intercept/pipeline.h"
#include "intercept/pipelines.h"
#include "intercept/report/report.h"

#define NAME "intercept"

struct program {
	struct config config;
	struct frame frame;
	struct workers *workers;
	struct pipelines *pipelines;
};

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
	log_info("intercept " VERSION ": capturing %s on %s, listening for tcpcopy on %s, %s",
		 c->filter ? c->filter : "the responses of announced targets", interfaces, where,
		 c->guard ? "dropping responses that the kernel would forward" : "forwarding nothing");
	log_info("workers: %u%s", c->run.workers,
		 c->run.busy_poll ? ", busy polling: each uses a whole CPU even when it is idle" : "");
	if (c->n_allow)
		log_info("accepting connections from %u prefix%s only (--allow)", c->n_allow,
			 c->n_allow == 1 ? "" : "es");
	if (c->secret)
		log_info("the channel is encrypted (--secret)");
	else if (open)
		log_warn("the channel has no secret (--secret): anyone%s who can reach %s can request the "
			 "headers of responses, and they are sent unencrypted",
			 c->n_allow ? " in --allow" : "", where);
}

int main(int argc, char **argv)
{
	static struct program p;
	struct config *c = &p.config;
	int status = config_parse(c, argc, argv);
	char where[512], err[1024];

	if (status >= 0)
		return status;
	log_init(NAME, LOGL_INFO);
	if (c->run.status)
		return control_ask(NAME, c->run.control_path, c->run.status_json);
	if (c->clean)
		return on_target_clean();
	if (frame_need_proc(NAME))
		return 1;
	if (c->run.check)
		return check_main(c, argv);

	frame_begin(&p.frame, NAME, &c->run);
	p.workers = workers_new(&c->run, pipeline_idle, err, sizeof(err));
	if (!p.workers)
		daemon_fail(1, "%s", err);
	p.pipelines = pipelines_open(c, p.workers, p.frame.base, where, sizeof(where), err, sizeof(err));
	if (!p.pipelines)
		daemon_fail(1, "%s", err);
	log_facts(c, where);
	frame_report(&p.frame, report_new(p.workers));
	sandbox_keep_readable("/proc/sys/net"); /* forwarding is watched */
	frame_confine(&p.frame);
	if (workers_start(p.workers, err, sizeof(err)))
		daemon_fail(1, "%s", err);
	log_info("ready");
	frame_ready(&p.frame);
	frame_run(&p.frame);

	workers_stop(p.workers);
	frame_account(&p.frame);
	status = pipelines_failed(p.pipelines);
	pipelines_close(p.pipelines);
	workers_free(p.workers);
	channel_secret_free(c->secret);
	args_free();
	frame_end(&p.frame);
	return status;
}
