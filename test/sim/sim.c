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
#include <sys/wait.h>
#include <unistd.h>

#define LIFE (1500 * NS_PER_SEC) /* of a run, until every client must be done */
#define SETTLE (200 * NS_PER_SEC)
#define PATIENCE 20                   /* s of real time for one run */
#define FOUND_GONE (700 * NS_PER_SEC) /* by then a session that is quiet for long is asked about, and ended */
#define HOLE_OVER (7 * NS_PER_SEC)    /* found, its stream delivered, and the session ended */
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
	const char *text = says[sig == SIGALRM];

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
		bool over = c->ended || c->c.state == T_TIME_WAIT ||
			    (c->ending == END_OPEN && c->sent == c->n && c->served_online == c->n &&
			     c->c.snd_una == c->c.snd_max);

		if (!c->started || !over)
			return false;
	}
	return true;
}

/* Everything that the client's bytes went through is over: did they arrive? */
static void check_complete(struct world *w)
{
	for (unsigned i = 0; i < w->n_conns; i++) {
		const struct conn *c = &w->conn[i];
		uint32_t got = c->o.w ? c->o.rcv_nxt - c->o.irs - 1 - c->o.fin_taken : 0;

		for (unsigned t = 0; t < w->copy.n_targets; t++) {
			const struct target_host *h = &w->copy.target[t];
			/*
			 * A target that closes behind each answer takes a handshake for each turn, and where
			 * its SYN-ACK comes to the assistant before the announcement even a time-out of the
			 * SYN. A successor on the same port waits for --hold, as does its RST for its turn,
			 * and not for that; referee_outcome.c looks that it waits so long.
			 */
			bool pressed =
				h->closes_after && (c->pressed[t] || (c->waits && w->conn[i - 1].pressed[t]));
			bool quick = w->fair.lockstep && w->fair.equal_answers && w->fair.wires_clean &&
				     !h->read_rate && w->subject != SUBJECT_PORTS && !pressed;

			if (c->multipath >= MULTIPATH_AGREED || c->unheard)
				continue;
			/* a successor on the same port waits, and so does an RST, but not for ever */
			if ((c->reused_by || c->ending == END_RST || c->ending == END_RST_EARLY ||
			     c->reset_at || c->has_limit) &&
			    !quick)
				continue;
			if (c->waits && h->lwip)
				continue; /* its TIME-WAIT refuses every SYN for two minutes */
			if (!c->met[t] && (c->old || (!got && !(c->accepted && quick))))
				continue; /* a connection older than the capture may have had no
					     further turn */
			if (!c->met[t])
				fail(w, "connection %u never reached target %u", i, t);
			if (c->base[t] && !c->old)
				fail(w, "connection %u was joined at %u", i, c->base[t]);
			/*
			 * What came before the turn at which an older connection was joined is not copied. A
			 * RST that follows the last request at once waits for its acknowledgment, and not
			 * until the target has executed it.
			 */
			for (unsigned k = 0; k < c->n && h->closes_after; k++)
				if (c->r[k].start >= c->base[t] &&
				    !(c->ending == END_RST_EARLY && k + 1 == c->sent) &&
				    c->r[k].start + c->r[k].size <= got && c->executed[t][k] != 1)
					fail(w, "connection %u: target %u has executed request %u %u times",
					     i, t, k, c->executed[t][k]);
			if (c->reached[t] != got)
				fail(w, "connection %u: target %u has read up to %u of %u bytes", i, t,
				     c->reached[t], got);
		}
	}
}

/*
 * The capture has lost a request. What was captured some seconds after that became known begins with a turn
 * of its own, and is copied from there on.
 */
static void check_holes(struct world *w)
{
	for (unsigned i = 0; w->subject == SUBJECT_HOLES && i < w->n_conns; i++) {
		const struct conn *c = &w->conn[i];

		for (unsigned t = 0; t < w->copy.n_targets; t++)
			for (unsigned k = 0; k < c->n && !w->copy.target[t].lwip; k++) {
				const bool lost = c->lose >> k & 1;
				const bool before = !c->lose || k < (unsigned)__builtin_ctz(c->lose);

				if ((before || (!lost && c->hole_told &&
						c->captured_at[k] > c->hole_told + HOLE_OVER)) &&
				    c->executed[t][k] != 1)
					fail(w, "connection %u: target %u has executed request %u %u times",
					     i, t, k, c->executed[t][k]);
			}
	}
}

static void check_objections(struct world *w)
{
	for (unsigned i = 0; i < w->copy.n_targets; i++) {
		const struct objections *b = &w->copy.target[i].bad;

		if (b->no_ts || b->oversize)
			fail(w, "target %u: %llu segments without timestamps, %llu over its MSS", i,
			     (unsigned long long)b->no_ts, (unsigned long long)b->oversize);
		if (!w->copy.to_target[i].dup && !w->copy.to_target[i].reorder && b->paws)
			fail(w, "target %u dropped %llu segments by PAWS", i, (unsigned long long)b->paws);
		if (w->fair.wires_clean && w->fair.complete &&
		    (b->challenge || b->ack_beyond || b->beyond_window))
			fail(w,
			     "target %u: %llu challenge ACKs, %llu ACKs above SND.NXT, %llu beyond its window",
			     i, (unsigned long long)b->challenge, (unsigned long long)b->ack_beyond,
			     (unsigned long long)b->beyond_window);
	}
}

static void check_counters(struct world *w)
{
	const struct engine_counters *n = engine_counters(w->copy.e);
	uint64_t waits = n->released_on_pause + n->released_on_deadline + n->released_on_close;
	bool far = false;

	/* a target farther away than the client falls behind in a closed loop, until --hold has
	 * passed */
	for (unsigned i = 0; i < w->copy.n_targets; i++)
		if (MAX_REQUESTS * (w->copy.to_target[i].delay + w->copy.to_assistant[i].delay) >
		    w->copy.cfg.hold / 2)
			far = true;

	if (w->fair.no_early && w->early && !waits)
		fail(w, "%llu requests came early, only %llu turns were released without their answer",
		     (unsigned long long)w->early, (unsigned long long)waits);
	if (!w->odd && w->fair.lockstep && waits - (far ? n->released_on_deadline : 0))
		fail(w, "a plain run: %llu turns released on pause, %llu on deadline, %llu on close",
		     (unsigned long long)n->released_on_pause, (unsigned long long)n->released_on_deadline,
		     (unsigned long long)n->released_on_close);
	/* lwIP delays an ACK longer than a tail loss probe waits */
	/* where a port is used again at once, the SYN-ACK may be looked up as the old connection's */
	if (!w->odd && !w->copy.target[0].lwip && !w->day &&
	    (n->retransmitted_segments || n->responses_refused))
		fail(w, "a plain run: %llu retransmissions, %llu responses refused",
		     (unsigned long long)n->retransmitted_segments, (unsigned long long)n->responses_refused);
}

static bool any_mute(const struct world *w)
{
	for (unsigned i = 0; i < w->n_conns; i++)
		if (w->conn[i].mute)
			return true;
	return false;
}

/* Where nothing goes wrong, no session ends because something did. */
static void check_outcomes(struct world *w)
{
	static const enum session_outcome wrong[] = {
		OUTCOME_TARGET_RESET,  OUTCOME_REFUSED,      OUTCOME_NO_ANSWER,   OUTCOME_RETURN_SILENT,
		OUTCOME_TARGET_SILENT, OUTCOME_CAPTURE_HOLE, OUTCOME_BUFFER_FULL, OUTCOME_NO_MEMORY,
		OUTCOME_HALF_OPEN,     OUTCOME_TARGET_OPEN,
	};

	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
		if ((wrong[i] == OUTCOME_HALF_OPEN && any_mute(w)) ||
		    (wrong[i] == OUTCOME_TARGET_OPEN && w->subject == SUBJECT_HALF_CLOSE))
			continue;
		else if (w->fair.complete && w->fair.wires_clean && w->fair.client_clean &&
			 w->fair.capture_whole && !w->copy.target[0].lwip && w->sum_ended[wrong[i]])
			fail(w, "%llu sessions ended: %s", (unsigned long long)w->sum_ended[wrong[i]],
			     session_outcome_name(wrong[i]));
}

/* The engine has nothing left to do: nothing may be left of it. */
static void check_nothing_left(struct world *w)
{
	struct engine *e = w->copy.e;

	engine_check(e);
	if (engine_sessions(e) || engine_lingering(e) || engine_observed(e))
		fail(w, "at the end %u sessions live, %u linger, %u are observed", engine_sessions(e),
		     engine_lingering(e), engine_observed(e));
	engine_flushed(e);
	if (engine_memory(e) || engine_live_bytes(e))
		fail(w, "at the end %zu bytes of memory are in use", engine_memory(e));
	sources_end(w);
	if (w->copy.n_watched && !w->cut_at)
		fail(w, "at the end the assistant still watches %u sessions", w->copy.n_watched);
	for (unsigned i = 0; i < w->copy.n_targets; i++)
		for (const struct served *v = w->copy.target[i].all; v; v = v->link)
			if (w->fair.nothing_lost && !v->closed && v->t.w && v->t.state != T_TIME_WAIT)
				fail(w, "target %u still has connection %u, state %d", i, v->conn->index,
				     v->t.state);
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

/*
 * Nobody said that the originals are gone: it has to be found. A missing socket is the end only of a session
 * whose socket was there before.
 */
static void check_ends(struct world *w)
{
	unsigned n = engine_states(w->copy.e)[STATE_ESTABLISHED], unknown = 0;

	for (unsigned i = 0; i < w->n_conns; i++)
		for (unsigned t = 0; t < w->copy.n_targets; t++)
			unknown += !w->conn[i].found[t];
	if (n > unknown)
		fail(w, "%u sessions live %.0f s after their originals have gone", n,
		     (double)FOUND_GONE / 1e9);
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
	uint64_t until;

	if (!w)
		abort();
	w->seed = w->rng_state = running = seed;
	say_beforehand();
	if (show)
		setvbuf(stdout, NULL, _IOLBF, 0);
	alarm(show ? 0 : PATIENCE);
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
	signal(SIGALRM, aborted);
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
