/*
 * Replay of recorded traffic - theory of operation
 *
 *   recording (io/file)   packets in the order of time, read ahead by a thread
 *   schedule              when is it due? On this host's clock, in place of the time of capture
 *   parse, classify       as live: which rules is it for? Any recorded address counts, for nobody knows which
 *                         of them was the online server's
 *   served                what the recorded server's packets say: which SYNs it took, what it acknowledged
 *   session               as live
 *
 * Everything downstream sees a time of capture, which is when the packet was due, and does not know that it
 * is none. What drives the loop is a timer instead of a descriptor. Close to its time the timer is too
 * coarse, so there the loop goes round without sleeping.
 *
 * What is behind: this program, where it was late to hand over; or the target, where sessions hold more than
 * they should. Then reading waits, which bounds the memory, and the schedule moves.
 *
 * With --speed max a connection begins when as few are open as were in the recording: otherwise all of a file
 * of short connections would be opened at once. That, and what waits in the sessions, paces the reading.
 *
 * At the end of the recording the sessions are given time: until all are done, or nothing is on its way any
 * more, or nothing has moved for END_PATIENCE. What is live then ends with the program.
 */
#include "tcpcopy/replay/replay.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "io/file/file.h"
#include "program/clock.h"
#include "program/log.h"
#include "tcpcopy/pipeline.h"
#include "tcpcopy/replay/figures.h"
#include "tcpcopy/replay/served.h"

#define SLICE 128u /* packets for one turn of the loop */
#define SPIN (100 * NS_PER_US)
#define AGAIN NS_PER_MS /* while the target is behind */
#define OPEN_MORE 16u   /* sessions than the recording has connections, with --speed max */
#define LOOK_EVERY (10 * NS_PER_MS)
#define END_QUIET NS_PER_SEC
#define END_CLOSING (3 * NS_PER_SEC) /* the same, where closing is under way */
#define END_PATIENCE (15 * NS_PER_SEC)
#define PORTS_SAID 5
#define LONG_PAUSE (60 * NS_PER_SEC) /* is said, so that nobody takes it for the end */

/* Whose a packet is. */
enum whose { NOBODY, CLIENT, SERVER };

struct replay {
	struct pipeline *p;
	struct recording *recording;
	struct served *served;
	struct event *timer, *readable;
	struct replay_state state;
	bool going;
	uint64_t began_at; /* ns */
	/* the next packet; NULL: not looked at yet */
	const struct recorded *next;
	uint64_t due; /* ns; 0: at once */
	enum whose whose;
	bool chosen; /* its connection is */
	struct served_verdict verdict;
	const struct served_syn *syn; /* to be handed over before */
	enum parse_reason reason;
	struct segment segment;
	/* the end */
	bool ending;
	uint64_t moved_at, moved; /* when something moved last, ns; a sum that changes with it */
	bool said_here, said_there;
	uint64_t said_due;    /* of the packet whose long pause was said last, ns */
	uint64_t port[65536]; /* packets to or from each, of the two ports the lower one */
};

static void arm(struct replay *r, uint64_t wait)
{
	const struct timeval tv = { .tv_sec = (time_t)(wait / NS_PER_SEC),
				    .tv_usec = (suseconds_t)(wait % NS_PER_SEC / 1000) };

	event_add(r->timer, &tv);
}

static struct flow_key key_of(const struct replay *r, const struct tuple *request, unsigned rule,
			      unsigned copy)
{
	return copies_key(&r->p->config->copies, request, rule, copy, r->next->loop);
}

static struct tuple reverse(const struct tuple *t)
{
	return (struct tuple){ .src = t->dst, .dst = t->src };
}

/* The rules for which *t would be a request. */
static unsigned rules_of(const struct replay *r, const struct tuple *t, struct classify_counters *n,
			 unsigned rule[CONFIG_MAX_RULES])
{
	const struct segment s = { .tuple = *t };

	return classify(r->p->config, NULL, n, NULL, &s, false, r->p->now, rule);
}

static bool is_for_a_rule(const struct replay *r, const struct tuple *t)
{
	struct classify_counters none = { .given = 0 };
	unsigned rule[CONFIG_MAX_RULES];

	return rules_of(r, t, &none, rule) > 0;
}

static enum whose whose(const struct replay *r)
{
	const struct tuple back = reverse(&r->segment.tuple);

	if (r->reason != PARSE_OK)
		return NOBODY;
	if (is_for_a_rule(r, &r->segment.tuple))
		return CLIENT;
	return is_for_a_rule(r, &back) ? SERVER : NOBODY;
}

static enum parse_reason parse(struct replay *r, struct segment *s, const struct recorded *x)
{
	enum parse_reason reason = parse_packet(s, &x->raw);
	struct raw_packet p = x->raw;

	if (reason == PARSE_NOT_TCP && decap(&p, r->p->config->decap)) {
		r->state.unwrapped++;
		reason = parse_packet(s, &p);
	}
	if (reason != PARSE_BAD_CHECKSUM)
		return reason;
	p.checksum = file_checksum(&p); /* pending in a device, where it was sent */
	return parse_packet(s, &p);
}

/*
 * A packet of a connection: when is it due, is it chosen, and what does it say of the recorded server? With a
 * ramp, what is chosen goes by when it is due; with --rate, what is due goes by whether it is chosen.
 */
static void look_at_connection(struct replay *r)
{
	const bool client = r->whose == CLIENT;
	const struct tuple request = client ? r->segment.tuple : reverse(&r->segment.tuple);
	const struct flow_key k = key_of(r, &request, 0, 0);
	const struct choice *choice = &r->p->choice;

	if (choice->ramp)
		r->due = schedule_due(&r->state.clock, r->next->raw.time, false, r->p->now);
	r->chosen = choice_takes(choice, &request.src, MAX(r->due, r->p->now));
	if (r->chosen && client) {
		r->verdict = served_client(r->served, &k, &r->segment);
		r->syn = r->verdict.syn;
	} else if (r->chosen) {
		r->syn = served_server(r->served, &k, &r->segment);
	}
	if (!choice->ramp)
		r->due = schedule_due(&r->state.clock, r->next->raw.time, r->verdict.turn, r->p->now);
}

/* Look at the next packet, and when it is due. False: there is none now. */
static bool look(struct replay *r)
{

	if (r->next)
		return true;
	r->next = recording_next(r->recording);
	if (!r->next)
		return false;
	r->reason = parse(r, &r->segment, r->next);
	r->segment.opt.tsval += r->segment.opt.has_ts ? (uint32_t)(r->next->shift / NS_PER_MS) : 0;
	r->whose = whose(r);
	r->verdict = (struct served_verdict){ .turn = false };
	r->syn = NULL;
	r->due = 0;
	r->chosen = false;
	if (r->whose == SERVER || (r->whose == CLIENT && r->next->matches))
		look_at_connection(r);
	return true;
}

static void run_batch(struct replay *r)
{
	struct pipeline *p = r->p;

	pipeline_choice_grows(p);
	if (p->batch.n)
		batch_run(&p->batch, p->engine, &p->answers, p->now);
}

/* A client's segment goes to the engine, once for each copy and rule. */
static void give_client(struct replay *r, struct segment *s)
{
	struct pipeline *p = r->p;
	unsigned rule[CONFIG_MAX_RULES], n = rules_of(r, &s->tuple, &p->classified, rule);
	const unsigned n_keys = n * copies_of(&p->config->copies, &s->tuple.src);

	s->time = r->due ? MIN(r->due, p->now) : p->now;
	for (unsigned i = 0; i < n_keys; i++) {
		const struct flow_key k = key_of(r, &s->tuple, rule[i % n], i / n);

		p->last = k;
		if (batch_add(&p->batch, &k, s))
			run_batch(r);
	}
}

/* What the recorded server says goes to the engine where live capture would tell it, too. */
static void give_server(struct replay *r, struct segment *s)
{
	struct pipeline *p = r->p;
	const struct tuple request = reverse(&s->tuple);
	struct classify_counters none = { .given = 0 };
	unsigned rule[CONFIG_MAX_RULES], n, n_keys;

	if (!(s->flags & (TCPF_SYN | TCPF_RST)))
		return;
	run_batch(r); /* in order */
	n = rules_of(r, &request, &none, rule);
	s->time = p->now;
	n_keys = n * copies_of(&p->config->copies, &request.src);
	for (unsigned i = 0; i < n_keys; i++) {
		const struct flow_key k = key_of(r, &request, rule[i % n], i / n);

		engine_server(p->engine, &k, s, p->now);
		answers_give(&p->answers, p->engine, p->now);
	}
}

/* Of the two ports the lower one is that of the service, mostly. */
static void give_nobody(struct replay *r)
{
	const struct tuple *t = &r->segment.tuple;

	if (r->reason != PARSE_OK)
		return;
	r->state.other++;
	r->port[MIN(t->src.port, t->dst.port)]++;
	r->p->classified.no_rule++;
}

static void give(struct replay *r)
{
	struct served_syn syn;

	r->state.taken++;
	r->p->classified.parse[r->reason]++;
	if (r->syn) {
		syn = *r->syn;
		syn.segment.raw_options = syn.options;
		r->state.unanswered--;
		give_client(r, &syn.segment);
		run_batch(r); /* its options end with this function */
	}
	switch (r->whose) {
	case NOBODY:
		give_nobody(r);
		break;
	case CLIENT:
		if (!r->next->matches)
			r->state.filtered++;
		else if (!r->chosen)
			r->p->classified.not_chosen++;
		else if (r->verdict.keep)
			r->state.unanswered++;
		else
			give_client(r, &r->segment);
		r->state.requests += r->verdict.turn;
		break;
	case SERVER:
		r->state.server++;
		if (r->chosen)
			give_server(r, &r->segment);
		break;
	}
	recording_taken(r->recording);
	r->next = NULL;
}

/* Is anything on its way to the target, or from it? */
static bool is_under_way(const struct replay *r)
{
	const struct engine *e = r->p->engine;
	const unsigned *states = engine_states(e);

	return engine_live_bytes(e) || engine_turns_waiting(e) || engine_doubtful_bytes(e) ||
	       states[STATE_WAITING] || states[STATE_SYN_SENT];
}

static bool ports_run_short(const struct replay *r)
{
	uint64_t used = 0, all = 0;

	if (!r->p->own)
		return false;
	own_ports(r->p->own, &used, &all);
	return used + used / 8 >= all;
}

/*
 * Do the sessions hold so much that reading has to wait? Not if nothing would ever change that. It goes on
 * when there is room for some more, and not for each packet.
 */
static bool is_full(const struct replay *r)
{
	const struct pipeline *p = r->p;
	const uint64_t most = p->config->memory / 2;
	const bool begins = r->syn != NULL;

	if (begins && ports_run_short(r) && (engine_lingering(p->engine) || is_under_way(r)))
		return true;
	if (!is_under_way(r))
		return false;
	if (engine_memory(p->engine) > (r->state.waits ? most - most / 4 : most))
		return true;
	return !r->state.clock.speed && !r->state.clock.rate && begins &&
	       engine_sessions(p->engine) >
		       (served_open(r->served) + OPEN_MORE) * copies_most(&p->config->copies) *
			       (p->config->targets.mode == TARGETS_ALL ? p->config->n_rules : 1);
}

/* Once for each cause, when it begins. */
static void say_late(struct replay *r, bool target)
{
	bool *said = target ? &r->said_there : &r->said_here;

	if (*said)
		return;
	*said = true;
	if (target)
		log_warn(
			"the target is behind: its sessions hold what waits for its answers, so the replay waits, "
			"and its clock with it; nothing is made good in a burst");
	else
		log_warn(
			"this program is behind the recorded times by more than %u ms: its clock is put back, and "
			"nothing is made good in a burst; --speed sets another pace",
			(unsigned)(SCHEDULE_LATE / NS_PER_MS));
}

/* The next packet is due. Returns false if it has to wait for the target. */
static bool hand_over(struct replay *r)
{
	const uint64_t now = r->p->now;
	const bool full = is_full(r);

	if (full) {
		r->state.waits = true;
		return false;
	}
	if (schedule_move(&r->state.clock, r->due, r->state.waits, now)) {
		say_late(r, r->state.waits);
		r->due = now;
	}
	if (r->due)
		hist_add(&r->state.late_here, now - r->due);
	r->state.waits = false;
	give(r);
	return true;
}

static void finish(struct replay *r)
{
	replay_say(r);
	r->state.over = true;
	r->p->replayed(r->p->started_arg);
}

/* All of it was handed over: is all of it done? */
static void look_at_end(struct replay *r)
{
	const struct pipeline *p = r->p;
	const struct engine_counters *n = engine_counters(p->engine);
	const unsigned *states = engine_states(p->engine);
	const uint64_t moved = n->acked_bytes + n->responses + n->emitted_segments + n->lost_bytes,
		       now = p->now;
	const bool closing =
		states[STATE_CLIENT_CLOSED] || states[STATE_TARGET_CLOSED] || states[STATE_CLOSING];

	if (!r->ending)
		event_del(r->readable); /* it stays readable from now on */
	if (moved != r->moved || !r->ending) {
		r->moved = moved;
		r->moved_at = now;
		r->ending = true;
	}
	if (!engine_sessions(p->engine) ||
	    (!is_under_way(r) && now - r->moved_at > (closing ? END_CLOSING : END_QUIET)) ||
	    now - r->moved_at > END_PATIENCE + p->config->hold)
		finish(r);
	else
		arm(r, LOOK_EVERY);
}

/* It is long until the next packet: is that what the user wants? */
static void say_pause(struct replay *r, uint64_t wait)
{
	char text[FIGURES_DURATION];

	if (wait < LONG_PAUSE || r->due == r->said_due || r->state.clock.rate ||
	    r->state.clock.gap != UINT64_MAX)
		return;
	r->said_due = r->due;
	log_warn("the next packet is due in %s; -I 5s caps gaps", figures_duration(text, wait));
}

/* Hand over what is due, and set the timer for what is not. */
static void step(struct replay *r)
{
	struct pipeline *p = r->p;
	uint64_t wait = 0;
	bool empty = false;

	p->now = clock_now();
	for (unsigned n = 0; n < SLICE; n++) {
		if (!look(r)) {
			empty = true;
			break;
		}
		if (r->due > p->now)
			p->now = clock_now();
		if (r->due > p->now) {
			wait = r->due - p->now;
			say_pause(r, wait);
			break;
		}
		if (!hand_over(r)) {
			wait = AGAIN;
			break;
		}
	}
	run_batch(r);
	recording_release(r->recording);
	engine_captured_all(p->engine, p->now);
	if (!empty)
		arm(r, wait > SPIN ? wait - SPIN / 2 : wait == AGAIN ? wait : 0);
	else if (recording_at_end(r->recording))
		look_at_end(r);
	/* else the descriptor says when there is more */
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct replay *r = arg;

	(void)fd;
	(void)what;
	if (!r->going || r->state.over)
		return;
	step(r);
	pipeline_batch_done(r->p);
}

struct replay *replay_new(struct pipeline *p, struct recording *recording, const struct siphash_key *key)
{
	struct replay *r = calloc(1, sizeof(*r));

	if (r) {
		r->p = p;
		r->recording = recording;
		r->served = served_new(key);
		r->state.clock.speed = p->config->speed;
		r->state.clock.rate = p->config->rate;
		r->state.clock.gap = p->config->gap;
		hist_reset(&r->state.late_here);
	}
	if (r && r->served) {
		p->answers.served = r->served;
		return r;
	}
	free(r);
	recording_close(recording);
	return NULL;
}

int replay_start(struct replay *r)
{
	r->timer = evtimer_new(r->p->base, on_turn, r);
	r->readable = event_new(r->p->base, recording_fd(r->recording), EV_READ | EV_PERSIST, on_turn, r);
	return r->timer && r->readable && !recording_start(r->recording) ? 0 : -1;
}

void replay_go(struct replay *r)
{
	if (r->going)
		return;
	r->going = true;
	r->began_at = clock_now();
	event_add(r->readable, NULL);
	arm(r, 0);
}

uint64_t replay_time(const struct replay *r)
{
	if (!r->began_at)
		return 0;
	return (r->ending ? r->moved_at : clock_now()) - r->began_at;
}

void replay_say(struct replay *r)
{
	char words[512];

	for (recording_complaint(r->recording, words, sizeof(words)); words[0];
	     recording_complaint(r->recording, words, sizeof(words)))
		log_warn("%s", words);
}

const struct replay_state *replay_state(const struct replay *r)
{
	return &r->state;
}

struct recording *replay_recording(const struct replay *r)
{
	return r->recording;
}

static bool is_of_a_rule(const struct config *c, unsigned port)
{
	for (unsigned i = 0; i < c->n_rules; i++)
		if (c->rules[i].online_port == port)
			return true;
	return false;
}

bool replay_is_empty(const struct replay *r, char *words, size_t size)
{
	const struct config *c = r->p->config;
	uint64_t *port = (uint64_t *)(uintptr_t)r->port;
	size_t n = 0;

	if (r->p->classified.given || r->p->classified.not_chosen)
		return false;
	if (r->state.filtered) {
		snprintf(words, size, "no packet to be replayed passes -F \"%s\"", c->filter);
		return true;
	}
	for (unsigned i = 0; i < c->n_rules && n < size; i++)
		n += (size_t)snprintf(words + n, size - n, "%s%u", i ? " or " : "no packets to port ",
				      c->rules[i].online_port);
	for (unsigned said = 0; said < PORTS_SAID && n < size; said++) {
		unsigned most = 0;

		for (unsigned i = 1; i < 65536; i++)
			if (port[i] > port[most])
				most = i;
		if (!port[most])
			break;
		n += (size_t)snprintf(words + n, size - n, "%s%llu to port %u%s",
				      said ? ", " : "; there are ", (unsigned long long)port[most], most,
				      is_of_a_rule(c, most) ? " of other addresses than the rule's" : "");
		port[most] = 0;
	}
	if (n < size && !r->state.other)
		n += (size_t)snprintf(words + n, size - n, "; there is no TCP in it that can be read");
	if (n < size && r->p->classified.parse[PARSE_BAD_CHECKSUM])
		snprintf(
			words + n, size - n,
			"; %llu packets have a wrong checksum, as after editing addresses: tcprewrite -C -i FILE "
			"-o MENDED writes right ones",
			(unsigned long long)r->p->classified.parse[PARSE_BAD_CHECKSUM]);
	return true;
}

void replay_stop(struct replay *r)
{
	r->going = false;
	if (r->timer)
		event_del(r->timer);
	if (r->readable)
		event_del(r->readable);
}

void replay_free(struct replay *r)
{
	if (!r)
		return;
	if (r->timer)
		event_free(r->timer);
	if (r->readable)
		event_free(r->readable);
	recording_close(r->recording);
	served_free(r->served);
	free(r);
}
