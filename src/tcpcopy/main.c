/*
 * tcpcopy - theory of operation
 *
 * main() is the order of the start: command line, the frame of any program (program/frame.h), claim of the
 * rules, the helper that swallows answers, privileged sockets, sandbox, the way back. Every failure of these
 * is reported in the foreground; only when all have succeeded does -d return to the shell. From then on only
 * a signal ends the program, the end of what was recorded, or --stop-after.
 *
 *   SIGTERM, SIGINT  end: reset the sessions that are still open on the target, print the account
 *   SIGUSR1          print the account now, and write the file of --report
 *   SIGHUP           reopen the log file
 *
 * --status asks a running program through its control socket, and --check looks at what a start would need;
 * neither starts anything.
 *
 * What the sandbox allows is not listed here: each module that makes system calls after the start names them
 * with SANDBOX_CALLS (program/sandbox.h), in a constructor that runs before main().
 */
#include <event2/event.h>
#include <unistd.h>

#include "program/control.h"
#include "program/daemon.h"
#include "program/frame.h"
#include "program/helper/nft.h"
#include "program/log.h"
#include "tcpcopy/check/check.h"
#include "tcpcopy/check/diagnosis.h"
#include "tcpcopy/config/lock.h"
#include "tcpcopy/govern/govern.h"
#include "tcpcopy/govern/stop.h"
#include "tcpcopy/pipelines.h"
#include "tcpcopy/replay/progress.h"
#include "tcpcopy/replay/reached.h"
#include "tcpcopy/report/report.h"
#include "tcpcopy/returns/swallow.h"

#define NAME "tcpcopy"

struct program {
	struct config config;
	struct frame frame;
	struct plan plan; /* of own addresses, if there is no assistant */
	struct swallow *swallow;
	bool failed;
	struct workers *workers;
	struct pipelines pipelines;
	struct diagnosis *diagnosis;
	struct progress *progress; /* of a replay */
	struct stop *stop;
	struct record *record; /* --write */
	struct govern *govern;
};

/* The way back was tried for the first time: the start has succeeded or failed. */
static void on_started(const char *failed, void *arg)
{
	struct program *p = arg;

	if (failed && !p->config.keep_trying)
		daemon_fail(1, "%s", failed);
	if (failed)
		log_warn("%s; trying again until it answers (-L)", failed);
	else
		log_info("ready");
	stop_begin(p->stop);
	frame_ready(&p->frame);
}

static void on_swallow_lost(void *arg)
{
	struct program *p = arg;

	p->failed = true;
	event_base_loopbreak(p->frame.base);
}

/* All that was recorded was replayed, as far as it can be; or all that was wanted is done. */
static void on_done(void *arg)
{
	struct program *p = arg;

	event_base_loopbreak(p->frame.base);
}

/* The files of --read, and the pipeline that replays them. */
static void open_replay(struct program *p)
{
	const struct config *c = &p->config;
	char err[512];
	struct recording *r = recording_open(c->read, c->n_read, c->filter, c->loops, err, sizeof(err));

	if (!r || pipelines_replay(&p->pipelines, r, on_done))
		daemon_fail(1, "%s", r ? "out of memory" : err);
}

/* The files of --write. */
static void open_record(struct program *p)
{
	const struct config *c = &p->config;
	const struct pipeline *first = &p->pipelines.pipeline[0];
	const char *interface[CONFIG_MAX_INTERFACES];
	char err[RUN_PATH_SIZE + 512];

	if (!c->write[0])
		return;
	interface[0] = "dry-run"; /* it is captured on none */
	for (unsigned i = 0; i < first->n_sources; i++)
		interface[i] = first->source[i]->name;
	p->record = record_open(c, interface, c->dry_run ? 1 : first->n_sources, err, sizeof(err));
	if (!p->record)
		daemon_fail(1, "%s", err);
	sandbox_keep_output(record_path(p->record), record_is_series(p->record), c->write_max);
	pipelines_record(&p->pipelines, p->record);
}

/* Was anything replayed, of what is over? If not, its end is a failure, and the log says why. */
static bool nothing_replayed(const struct program *p)
{
	const struct pipeline *first = &p->pipelines.pipeline[0];
	char words[512];

	if (!first->replay || !replay_state(first->replay)->over)
		return false;
	if (replay_is_empty(first->replay, words, sizeof(words)))
		log_err("nothing to replay: %s", words);
	else if (replay_reached_nobody(&p->config, engine_counters(first->engine), words, sizeof(words)))
		log_err("nothing was replayed: %s", words);
	else
		return false;
	return true;
}

/* Own addresses: claim them, and keep their answers from this host's TCP before any is captured. */
static const struct plan *open_own(struct program *p)
{
	char err[512];

	if (p->config.way_back != RETURN_OWN)
		return NULL;
	if (plan_make(&p->plan, &p->config, err, sizeof(err)) ||
	    (!p->config.dry_run && lock_plan(&p->plan, err, sizeof(err))))
		daemon_fail(1, "%s", err);
	if (p->config.dry_run)
		return &p->plan;
	p->swallow = swallow_open(p->frame.base, &p->plan, p->config.run.no_sandbox, on_swallow_lost, p, err,
				  sizeof(err));
	if (!p->swallow)
		daemon_fail(1, "%s", err);
	return &p->plan;
}

static void log_own(const struct program *p)
{
	const char *no_table = p->swallow ? swallow_no_table(p->swallow) : NULL;

	plan_log(&p->plan);
	if (!p->swallow)
		return; /* a dry run */
	if (no_table)
		log_warn(
			"no nft table (%s): %u listening sockets keep the answers from this host's TCP instead; "
			"\"ss -ltn\" shows them, and they accept nothing. --own-ports N makes more or fewer",
			no_table, p->plan.n_ports);
	else
		log_info("nft table inet " NFT_OWN_NAME " keeps the answers from this host's TCP",
			 (long)getpid());
}

int main(int argc, char **argv)
{
	static struct program p;
	struct config *c = &p.config;
	const struct plan *plan;
	int status = config_parse(c, argc, argv);
	char err[RUN_PATH_SIZE + 512];

	if (status >= 0)
		return status;
	log_init(NAME, c->run.verbose ? LOGL_DEBUG : LOGL_INFO);
	if (c->run.status)
		return control_ask(NAME, c->run.control_path, c->run.status_json);
	if (frame_need_proc(NAME))
		return 1;
	if (c->run.check)
		return check_main(c, argv);

	frame_begin(&p.frame, NAME, &c->run);
	if (!c->n_read && !c->dry_run && lock_rules(c, err, sizeof(err)))
		daemon_fail(1, "%s", err);
	plan = open_own(&p);
	p.workers = workers_new(&c->run, pipeline_idle, err, sizeof(err));
	if (!p.workers || pipelines_open(&p.pipelines, c, plan, p.workers, err, sizeof(err)))
		daemon_fail(1, "%s", err);
	p.stop = stop_new(p.frame.base, p.workers, c, on_done, &p);
	if (!p.stop)
		daemon_fail(1, "out of memory");
	p.govern = govern_new(p.frame.base, p.workers, c, &p.pipelines.gates, err, sizeof(err));
	if (!p.govern)
		daemon_fail(1, "%s", err);
	if (c->n_read)
		open_replay(&p);
	else if (!c->dry_run)
		p.diagnosis = diagnosis_open(c, p.workers, p.frame.base);
	open_record(&p);
	config_log_facts(c);
	if (plan)
		log_own(&p);
	frame_report(&p.frame, report_new(c, p.workers, p.swallow, p.record, p.govern));
	sandbox_keep_readable("/proc/net");
	sandbox_keep_readable("/proc/sys/net");
	for (unsigned i = 0; i < c->n_assistants; i++)
		sandbox_keep_port(c->assistants[i].at.port);
	for (unsigned i = 0; i < c->n_rules; i++) /* is the target reached at all? */
		sandbox_keep_port(c->rules[i].target.port);
	frame_confine(&p.frame);
	if (p.record && record_start(p.record, err, sizeof(err)))
		daemon_fail(1, "%s", err);
	if (pipelines_start(&p.pipelines, p.frame.base, on_started, &p, err, sizeof(err)))
		daemon_fail(1, "%s", err);
	if (c->n_read && !c->quiet)
		p.progress = progress_new(p.frame.base, p.workers,
					  !c->run.daemon && !c->run.log_path[0] && !c->run.log_journal &&
						  isatty(STDERR_FILENO));
	frame_run(&p.frame);

	stop_free(p.stop);
	progress_free(p.progress);
	diagnosis_close(p.diagnosis);
	pipelines_stop(&p.pipelines);
	if (p.record)
		record_end(p.record);
	p.failed |= nothing_replayed(&p); /* before the account, whose first line it is */
	frame_account(&p.frame);
	govern_free(p.govern);
	pipelines_close(&p.pipelines);
	swallow_close(p.swallow);
	workers_free(p.workers);
	record_free(p.record);
	channel_secret_free(c->secret);
	frame_end(&p.frame);
	return p.failed;
}
