/*
 * The deterministic simulator of the session engine - theory of operation
 *
 * A seed makes a world (scenario.c): connections with their scripts (online.c) over links with
 * faults (link.c), a capture, the engine with channel and assistant (copy.c) and targets that judge
 * what reaches them (target.c on stack.c, or lwip.c). run() lets it live until all clients are done
 * and the copies have had time to finish, then ends the engine and looks whether anything is left.
 * Each property is checked where it can first be seen to be broken; fail() names the one command
 * that shows the same run again with a trace.
 *
 *     sim --seed N [--trace]
 *     sim --seeds A-B [--jobs N] [--first]
 *
 * With --first the first seed that fails ends it. With --day each run lasts for at least a day of the
 * virtual clock, some for a month (day.c).
 */
#include "sim.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIFE (1500 * NS_PER_SEC) /* of a run, until every client must be done */
#define SETTLE (200 * NS_PER_SEC)
#define PATIENCE 60 /* s of a processor for one run; some days take ten with sanitizers */
#define CLOSING_TIME (5 * 3600 * NS_PER_SEC)

static uint64_t running; /* the seed, for the signal handler */
static const char *program;
static bool day;

struct totals {
	uint64_t seed, done, failed;
	uint64_t requests, executed, early, connections;
	struct engine_counters n;
	struct objections bad;
	uint64_t links_lost, fair, strict, lwip;
	struct exchanges_seen exchanges;
};

static void say_how(void)
{
	fprintf(stderr, "replay: %s%s --seed %llu --trace\n", program, day ? " --day" : "",
		(unsigned long long)running);
}

void fail(struct world *w, const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "seed %llu at %.6f s: ", (unsigned long long)w->seed, (double)w->now / 1e9);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	say_how();
	_exit(1);
}

static char says[2][400]; /* what aborted() says of a crash, and of a run that takes too long */

static void say_beforehand(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(says); i++)
		snprintf(says[i], sizeof(says[i]), "seed %llu: %s\nreplay: %s%s --seed %llu --trace\n",
			 (unsigned long long)running, i ? "took too long" : "crashed", program,
			 day ? " --day" : "", (unsigned long long)running);
}

static void aborted(int sig)
{
	const char *text = says[sig == SIGVTALRM];

	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		_exit(1);
	signal(sig, SIG_DFL);
	raise(sig);
}

void trace(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (!w->trace)
		return;
	printf("%12.6f ms  ", (double)w->now / 1e6);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

void trace_segment(struct world *w, const char *who, const struct segment *g, uint32_t seq0, uint32_t ack0)
{
	char options[200] = "";
	size_t n = 0;

	if (!w->trace)
		return;
	if (g->opt.has_ts)
		n = (size_t)snprintf(options, sizeof(options), " ts %u/%u", g->opt.tsval, g->opt.tsecr);
	for (int i = 0; i < g->opt.n_sack; i++)
		n += (size_t)snprintf(options + n, sizeof(options) - n, " sack %u-%u",
				      g->opt.sack[i].start - ack0, g->opt.sack[i].end - ack0);
	trace(w, "%s %u>%u %s%s%s%s%s seq %u len %u ack %u win %u%s", who, g->tuple.src.port,
	      g->tuple.dst.port, g->flags & TCPF_SYN ? "S" : "", g->flags & TCPF_FIN ? "F" : "",
	      g->flags & TCPF_RST ? "R" : "", g->flags & TCPF_PSH ? "P" : "", g->flags & TCPF_ACK ? "." : "",
	      g->seq - seq0, g->len, g->ack - ack0, g->window, options);
}

static void begin(struct world *w, void *arg, uint64_t n)
{
	(void)n;
	conn_start(w, arg);
}

static void cut(struct world *w, void *arg, uint64_t up)
{
	(void)arg;
	if (up)
		copy_restore_channel(w);
	else
		copy_cut_channel(w);
}

static bool clients_done(const struct world *w)
{
	for (unsigned i = 0; i < w->n_conns; i++) {
		const struct conn *c = &w->conn[i];
		/* the server's RST may get lost, and a client without keep-alive waits for ever */
		bool reset = c->ending == END_SERVER_RST && c->sent && c->o.state == T_CLOSED &&
			     c->c.snd_una == c->c.snd_max;
		bool over = c->ended || reset || c->c.state == T_TIME_WAIT ||
			    (c->ending == END_OPEN && c->sent == c->n && c->served_online == c->n &&
			     c->c.snd_una == c->c.snd_max);

		if (!c->started || !over)
			return false;
	}
	return true;
}

/* They are gone, and so are the sockets of their connections. */
static void stop_clients(struct world *w)
{
	w->client_p.keepalive = w->online_p.keepalive = 0;
	for (unsigned i = 0; i < w->copy.n_targets; i++)
		w->copy.target[i].p.keepalive = 0;
	w->stopped = true;
	for (unsigned i = 0; i < w->n_conns; i++) {
		w->conn[i].o.state = T_CLOSED;
		for (int t = 0; t < TT_COUNT; t++) {
			w->conn[i].c.deadline[t] = 0;
			w->conn[i].o.deadline[t] = 0;
		}
	}
}

static void add_up(struct world *w, struct totals *sum)
{
	const uint64_t *from = (const uint64_t *)engine_counters(w->copy.e);
	uint64_t *to = (uint64_t *)&sum->n;

	for (size_t i = 0; i < offsetof(struct engine_counters, capture_to_emit) / sizeof(*to); i++)
		to[i] += from[i];
	sum->exchanges.all += w->exchanges.all;
	sum->exchanges.compared += w->exchanges.compared;
	sum->exchanges.differ += w->exchanges.differ;
	sum->requests += w->requests;
	sum->executed += w->executed;
	sum->early += w->early;
	sum->connections += w->n_conns;
	sum->fair += w->fair.complete;
	sum->strict += w->fair.no_early;
	sum->lwip += w->copy.target[0].lwip;
	for (unsigned i = 0; i < w->copy.n_targets; i++) {
		const struct target_host *h = &w->copy.target[i];

		sum->bad.paws += h->bad.paws;
		sum->bad.no_ts += h->bad.no_ts;
		sum->bad.beyond_window += h->bad.beyond_window;
		sum->bad.challenge += h->bad.challenge;
		sum->bad.ack_beyond += h->bad.ack_beyond;
		sum->bad.bad_rst += h->bad.bad_rst;
		sum->bad.oversize += h->bad.oversize;
		sum->bad.old += h->bad.old;
		sum->links_lost += w->copy.to_target[i].lost + w->copy.to_assistant[i].lost;
	}
	sum->done++;
}

static void run(uint64_t seed, bool show, struct totals *sum)
{
	struct world *w = calloc(1, sizeof(*w));
	const struct itimerval patience = { .it_value = { .tv_sec = show ? 0 : PATIENCE } };
	uint64_t until;

	if (!w)
		abort();
	w->seed = w->rng_state = running = seed;
	say_beforehand();
	if (show)
		setvbuf(stdout, NULL, _IOLBF, 0);
	setitimer(ITIMER_VIRTUAL, &patience, NULL);
	w->trace = show;
	w->now = NS_PER_SEC;
	w->day = day;
	if (day)
		day_begin(w);
	scenario_make(w);
	if (show)
		scenario_print(w);
	copy_start(w);
	if (day)
		day_start(w);
	for (unsigned i = 0; i < w->n_conns; i++)
		if (!w->conn[i].waits)
			at(w, w->now + w->conn[i].start, begin, &w->conn[i], 0);
	if (w->copy.mtu_at)
		at(w, w->copy.mtu_at, copy_narrow, NULL, w->copy.later_mtu);
	if (w->cut_at) {
		at(w, w->now + w->cut_at, cut, NULL, 0);
		at(w, w->now + w->cut_at + w->cut_for, cut, NULL, 1);
	}
	for (until = w->now + LIFE + 2 * w->span;
	     (!clients_done(w) || w->now < w->begun + w->span) && events_step(w, until);)
		;
	if (!clients_done(w))
		fail(w, "the simulator's own clients are not done");
	for (until = w->now + SETTLE; events_step(w, until);)
		;
	stop_clients(w);
	if (w->fair.complete)
		check_complete(w);
	check_older(w);
	check_holes(w);
	if (w->shutdown_at_end)
		copy_shutdown(w);
	for (until = w->now + FOUND_GONE; events_step(w, until);)
		;
	check_ends(w);
	for (until = w->now + CLOSING_TIME; events_step(w, until);)
		;
	check_counters(w);
	check_outcomes(w);
	check_objections(w);
	referee_exchanges(w);
	check_nothing_left(w);
	add_up(w, sum);
	copy_free(w);
	if (w->copy.target[0].lwip)
		lwip_end(&w->copy.target[0]);
	for (unsigned i = 0; i < w->copy.n_targets; i++)
		target_free(&w->copy.target[i]);
	events_free(w);
	for (unsigned i = 0; i < w->n_conns; i++) {
		tcb_free(&w->conn[i].c);
		tcb_free(&w->conn[i].o);
		free(w->conn[i].late);
	}
	free(w);
}

/* --- the command
 * ------------------------------------------------------------------------------------- */

static uint64_t most_failures = 10;

static pid_t work(struct totals *t, uint64_t from, uint64_t to, uint64_t step)
{
	pid_t child = fork();

	if (child)
		return child;
	for (uint64_t seed = from; seed <= to; seed += step) {
		t->seed = seed;
		run(seed, false, t);
	}
	fflush(NULL);
	_exit(0);
}

static void report(const struct totals *t, unsigned jobs)
{
	struct totals sum = { 0 };
	const uint64_t *from;
	uint64_t *to = (uint64_t *)&sum;
	static const char *const names[] = {
#define X(field, text) #field,
		ENGINE_COUNTERS(X)
#undef X
	};

	for (unsigned j = 0; j < jobs; j++) {
		from = (const uint64_t *)&t[j];
		for (size_t i = 0; i < sizeof(sum) / sizeof(*to); i++)
			to[i] += from[i];
	}
	printf("%llu runs, %llu failed; %llu connections, %llu requests, %llu executed; %llu runs had to be complete, %llu had"
	       " turns judged strictly, %llu met lwIP\n",
	       (unsigned long long)sum.done, (unsigned long long)sum.failed,
	       (unsigned long long)sum.connections, (unsigned long long)sum.requests,
	       (unsigned long long)sum.executed, (unsigned long long)sum.fair, (unsigned long long)sum.strict,
	       (unsigned long long)sum.lwip);
	printf("early requests %llu; packets lost %llu; targets saw: old %llu, PAWS %llu, beyond window %llu, challenge %llu,"
	       " ack above %llu, inexact RST %llu\n",
	       (unsigned long long)sum.early, (unsigned long long)sum.links_lost,
	       (unsigned long long)sum.bad.old, (unsigned long long)sum.bad.paws,
	       (unsigned long long)sum.bad.beyond_window, (unsigned long long)sum.bad.challenge,
	       (unsigned long long)sum.bad.ack_beyond, (unsigned long long)sum.bad.bad_rst);
	printf("exchanges %llu, compared %llu, different %llu\n", (unsigned long long)sum.exchanges.all,
	       (unsigned long long)sum.exchanges.compared, (unsigned long long)sum.exchanges.differ);
	to = (uint64_t *)&sum.n;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		printf("%s%s %llu", i ? ", " : "engine: ", names[i], (unsigned long long)to[i]);
	printf("\nended:");
	for (int o = 0; o < OUTCOME_COUNT; o++)
		printf(" %s %llu", session_outcome_name((enum session_outcome)o),
		       (unsigned long long)sum.n.ended[o]);
	putchar('\n');
}

static int run_range(uint64_t from, uint64_t to, unsigned jobs)
{
	struct totals *t =
		mmap(NULL, jobs * sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t failures = 0;
	pid_t child[64];

	if (t == MAP_FAILED) {
		perror("sim: mmap");
		return 1;
	}
	fflush(stdout);
	for (unsigned j = 0; j < jobs; j++)
		child[j] = work(&t[j], from + j, to, jobs);
	for (unsigned left = jobs; left;) {
		int status;
		pid_t pid = wait(&status);

		for (unsigned j = 0; j < jobs; j++) {
			if (child[j] != pid)
				continue;
			child[j] = -1;
			if (!status) {
				left--;
				continue;
			}
			t[j].failed++;
			if (++failures < most_failures && t[j].seed + jobs <= to)
				child[j] = work(&t[j], t[j].seed + jobs, to, jobs);
			else
				left--;
		}
	}
	report(t, jobs);
	return failures ? 1 : 0;
}

static int usage(void)
{
	fprintf(stderr,
		"usage: %s [--day] --seed N [--trace]\n       %s [--day] --seeds A-B [--jobs N] [--first]\n",
		program, program);
	return 2;
}

int main(int argc, char **argv)
{
	unsigned long long from = 1, to = 0;
	unsigned jobs = 1;
	bool show = false;

	program = argv[0];
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGABRT, aborted);
	signal(SIGILL, aborted);
	signal(SIGSEGV, aborted);
	signal(SIGVTALRM, aborted);
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--seed") && i + 1 < argc && sscanf(argv[i + 1], "%llu", &from) == 1)
			to = from, i++;
		else if (!strcmp(argv[i], "--seeds") && i + 1 < argc &&
			 sscanf(argv[i + 1], "%llu-%llu", &from, &to) == 2)
			i++;
		else if (!strcmp(argv[i], "--jobs") && i + 1 < argc && sscanf(argv[i + 1], "%u", &jobs) == 1)
			i++;
		else if (!strcmp(argv[i], "--trace"))
			show = true;
		else if (!strcmp(argv[i], "--first"))
			most_failures = 1;
		else if (!strcmp(argv[i], "--day"))
			day = true;
		else
			return usage();
	}
	if (to < from || !jobs || jobs > 64)
		return usage();
	if (from == to) {
		struct totals t = { 0 };

		run(from, show, &t);
		report(&t, 1);
		return 0;
	}
	return run_range(from, to, jobs);
}
