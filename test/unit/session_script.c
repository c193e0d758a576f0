/*
 * Scripts for the session engine - theory of operation
 *
 * A script is a list of lines; each is one step, run against a harness. Time is told by +DELTA at the front of a line and is counted from the line before. The
 * script has to name everything that the engine emits, in order: before any line that is not about an emission, and at the end, none may be left; and an emission must
 * have happened at the time of its line, give or take one tick of the timer wheel.
 *
 * What happened is kept as text for the one who reads a failure.
 */
#include "session_script.h"

#include <assert.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "base/wheel.h"
#include "packet/options.h"
#include "packet/text.h"
#include "session_harness.h"
#include "session_text.h"

#define MAX_DEPTH 2
#define LINE_LEN  512
#define TRACE_LEN (256u * 1024)

struct script {
	struct harness h;
	FILE *out;
	bool started, channel_down, ipv6, failed;
	uint64_t at; /* what the script calls now; the harness may be a tick or two ahead */
	const char *file;
	int line;
	char trace[TRACE_LEN];
	size_t trace_len;
};

static struct script *running; /* for the handler of SIGABRT: the engine's assertions */

static void PRINTF_LIKE(2, 3) note(struct script *s, const char *fmt, ...)
{
	size_t room = sizeof(s->trace) - s->trace_len;
	va_list ap;
	int n;

	if (room < 2 * LINE_LEN)
		return;
	va_start(ap, fmt);
	n = vsnprintf(s->trace + s->trace_len, room, fmt, ap);
	va_end(ap);
	s->trace_len += MIN((size_t)n, room - 1);
}

static bool name_key(struct script *s, const char *name, struct flow_key *k);

static bool PRINTF_LIKE(2, 3) fail(struct script *s, const char *fmt, ...)
{
	struct harness_emission *m;
	struct session *first;
	struct flow_key k;
	char text[SEGMENT_TEXT_LEN];
	va_list ap;

	if (s->failed)
		return false;
	s->failed = true;
	fprintf(s->out, "%s:%d: ", s->file, s->line);
	va_start(ap, fmt);
	vfprintf(s->out, fmt, ap);
	va_end(ap);
	fprintf(s->out, "\nwhat happened (ms since the start):\n%s", s->trace);
	for (m = s->h.first; m; m = m->next)
		fprintf(s->out, "%10.3f      emitted, not expected yet: %s\n", (double)(m->at - HARNESS_START) / 1e6,
			tx_segment_format(text, sizeof(text), &m->t));
	name_key(s, "client", &k);
	first = s->started ? engine_find(s->h.engine, &k) : NULL;
	if (first)
		fprintf(s->out, "%s\n", session_format(text, sizeof(text), first));
	return false;
}

static void aborted(int signal)
{
	(void)signal;
	if (running)
		fail(running, "an assertion of the engine failed");
	fflush(NULL);
	_exit(3);
}

static double since(uint64_t at)
{
	return (double)(at - HARNESS_START) / 1e6;
}

/* client, client2, client/target2, client3/copy2: all counted from 1 */
static bool name_key(struct script *s, const char *name, struct flow_key *k)
{
	unsigned client = 1, target = 1, copy = 1;
	const char *p = name;
	char *end;

	if (strncmp(p, "client", 6))
		return fail(s, "%s: a name is client[N][/targetN][/copyN]", name);
	p += 6;
	if (*p && *p != '/') {
		client = (unsigned)strtoul(p, &end, 10);
		p = end;
	}
	if (!strncmp(p, "/target", 7)) {
		target = (unsigned)strtoul(p + 7, &end, 10);
		p = end;
	}
	if (!strncmp(p, "/copy", 5)) {
		copy = (unsigned)strtoul(p + 5, &end, 10);
		p = end;
	}
	if (*p || !client || !target || target > HARNESS_TARGETS || !copy)
		return fail(s, "%s: a name is client[N][/targetN][/copyN]", name);
	memset(k, 0, sizeof(*k));
	if (s->ipv6) {
		assert(addr_parse(&k->client.addr, "fd00::1") && addr_parse(&k->online.addr, "fd00::2"));
	} else {
		k->client.addr = addr_from_v4((const uint8_t[]){10, 0, 0, 1});
		k->online.addr = addr_from_v4((const uint8_t[]){10, 0, 0, 2});
	}
	k->client.port = (uint16_t)(40000 + client - 1);
	k->online.port = 6379;
	k->target = (uint16_t)(target - 1);
	k->copy = (uint16_t)(copy - 1);
	return true;
}

static bool no_more_emissions(struct script *s)
{
	if (s->h.first)
		return fail(s, "the engine emitted something that no line expects");
	return true;
}

static void start(struct script *s)
{
	if (s->started)
		return;
	if (s->ipv6)
		for (int i = 0; i < HARNESS_TARGETS; i++) {
			char text[32];

			snprintf(text, sizeof(text), "fd00:1::%d", i + 1);
			assert(addr_parse(&s->h.target[i].addr, text));
		}
	harness_start(&s->h, !s->channel_down);
	s->started = true;
}

static bool do_config(struct script *s, char *text)
{
	char *rest, *key = strtok_r(text, " \t", &rest), *value = strtok_r(NULL, " \t", &rest);
	struct engine_config *c = &s->h.config;
	const char *fault = NULL;
	uint64_t n = 0;

	if (s->started || !key)
		return fail(s, "config comes first");
	if (!strcmp(key, "hold"))
		fault = value ? script_time(value, &c->hold) : "time?";
	else if (!strcmp(key, "no-join"))
		c->no_join = true;
	else if (!strcmp(key, "no-source"))
		s->h.no_source = true;
	else if (!strcmp(key, "channel-down"))
		s->channel_down = true;
	else if (!strcmp(key, "ipv6"))
		s->ipv6 = true;
	else
		fault = value ? script_number(value, &n) : "number?";
	if (!strcmp(key, "session-buffer"))
		c->session_buffer = n;
	else if (!strcmp(key, "memory"))
		c->max_memory = n;
	else if (!strcmp(key, "max-half-open"))
		c->max_half_open = (unsigned)n;
	else if (!strcmp(key, "max-sessions"))
		c->max_sessions = (unsigned)n;
	else if (!strcmp(key, "mtu"))
		s->h.mtu = (uint32_t)n;
	else if (value && strcmp(key, "hold"))
		fault = "unknown setting";
	return fault ? fail(s, "config %s: %s", key, fault) : true;
}

static bool do_captured(struct script *s, const char *name, char *text)
{
	struct script_segment w;
	struct segment g = {.ttl = 64, .df = true};
	const char *fault = script_segment(text, &w);
	struct flow_key k;
	uint8_t *payload;
	char line[SEGMENT_TEXT_LEN];

	if (fault)
		return fail(s, "%s", fault);
	if (!name_key(s, name, &k))
		return false;
	g.tuple = (struct tuple){.src = k.client, .dst = k.online};
	g.time = s->h.now - w.late;
	g.seq = w.seq;
	g.ack = w.ack;
	g.len = w.len;
	g.captured = w.captured;
	g.flags = w.flags;
	g.window = (uint16_t)w.win;
	g.urgent = (uint16_t)w.urg;
	g.ip_id = (uint16_t)w.id;
	g.gso_size = (uint16_t)w.gso;
	g.tos = (uint8_t)w.tos;
	if (w.has_ttl)
		g.ttl = (uint8_t)w.ttl;
	g.raw_options = w.options;
	g.raw_options_len = w.options_len;
	tcp_options_parse(&g.opt, w.options, w.options_len);
	payload = malloc(w.captured + 1u); /* exactly as much as was captured: reading on is found by the sanitizer */
	assert(payload);
	for (uint32_t i = 0; i < w.captured; i++)
		payload[i] = script_byte(w.seq + (w.flags & TCPF_SYN ? 1 : 0) + i, w.other);
	g.payload = payload;
	note(s, "%10.3f captured  %s\n", since(s->h.now), segment_format(line, sizeof(line), &g));
	harness_captured(&s->h, &k, &g);
	free(payload);
	return true;
}

static bool do_response(struct script *s, char *text)
{
	struct script_segment w;
	const char *fault = script_segment(text, &w);
	struct response r = {0};
	struct flow_key k;
	struct tuple response;
	struct segment shown = {0};
	char line[SEGMENT_TEXT_LEN];

	if (fault)
		return fail(s, "%s", fault);
	if (!name_key(s, w.name, &k))
		return false;
	response = (struct tuple){.src = s->h.target[k.target], .dst = harness_source(&k)};
	r.id = harness_watched(&s->h, &response, w.age);
	if (!r.id)
		return fail(s, "the engine has not announced %s", w.name);
	r.seq = w.seq;
	r.ack = w.ack;
	r.len = w.len;
	r.window = (uint16_t)w.win;
	r.flags = w.flags;
	r.dup_acks = (uint8_t)w.dup;
	r.merged = (uint16_t)w.merged;
	tcp_options_parse(&r.opt, w.options, w.options_len);
	shown.tuple = response;
	shown.seq = w.seq;
	shown.ack = w.ack;
	shown.len = shown.captured = w.len;
	shown.window = r.window;
	shown.flags = w.flags;
	shown.raw_options = w.options;
	shown.raw_options_len = w.options_len;
	note(s, "%10.3f response  %s\n", since(s->h.now), segment_format(line, sizeof(line), &shown));
	harness_response(&s->h, &r);
	return true;
}

/* How @m differs from @w; NULL: not at all. */
static const char *difference(const struct script_segment *w, const struct harness_emission *m, const struct tuple *tuple)
{
	const struct tx_segment *t = &m->t;

	if (!tuple_eq(&t->tuple, tuple))
		return "other addresses";
	if (t->flags != w->flags)
		return "flags";
	if (t->seq != w->seq)
		return "sequence number";
	if (t->len != w->len)
		return "length";
	if (t->flags & TCPF_ACK && !w->has_ack)
		return "the line has no ack";
	if (w->has_ack && t->ack != w->ack)
		return "ack";
	if (w->has_win && t->window != w->win)
		return "window";
	if (w->has_id && t->ip_id != w->id)
		return "IP id";
	if (w->has_ttl && t->ttl != w->ttl)
		return "TTL";
	if (w->has_tos && t->tos != w->tos)
		return "TOS";
	if (w->has_gso && t->gso_size != w->gso)
		return "gso size";
	if (w->has_urg && t->urgent != w->urg)
		return "urgent pointer";
	if (w->has_options && (t->options_len != w->options_len || memcmp(t->options, w->options, w->options_len)))
		return "options";
	for (uint32_t i = 0; i < t->len; i++)
		if (m->payload[i] != script_byte(t->seq + i, w->other))
			return "payload";
	return NULL;
}

static bool do_emits(struct script *s, char *text)
{
	struct harness_emission *m;
	char expected[LINE_LEN], emitted[SEGMENT_TEXT_LEN];
	struct script_segment w;
	const char *fault;
	struct tuple tuple;
	struct flow_key k;

	if (!strncmp(text, "nothing", 7))
		return no_more_emissions(s);
	snprintf(expected, sizeof(expected), "%s", text);
	fault = script_segment(text, &w);
	if (fault)
		return fail(s, "%s", fault);
	if (!name_key(s, w.name, &k))
		return false;
	tuple = (struct tuple){.src = harness_source(&k), .dst = s->h.target[k.target]};
	m = harness_take(&s->h);
	if (!m)
		return fail(s, "expected: %s\n emitted: nothing", expected);
	fault = difference(&w, m, &tuple);
	tx_segment_format(emitted, sizeof(emitted), &m->t);
	if (fault)
		fail(s, "%s\nexpected: %s\n emitted: %s id %u ttl %u tos 0x%02x", fault, expected, emitted, m->t.ip_id, m->t.ttl,
		     m->t.tos);
	else if (m->at + WHEEL_TICK_NS < s->at)
		fail(s, "emitted %.3f ms too early: %s", (double)(s->at - m->at) / 1e6, emitted);
	s->at = m->at; /* what follows is counted from when it happened */
	note(s, "%10.3f   emitted %s id %u\n", since(m->at), emitted, m->t.ip_id);
	harness_emission_free(m);
	return !s->failed;
}

static bool do_outcome(struct script *s, char *text)
{
	char *rest, *what = strtok_r(text, " \t", &rest), *by = strtok_r(NULL, " \t", &rest), *name;
	struct flow_key k;

	name = by && !strcmp(by, "for") ? strtok_r(NULL, " \t", &rest) : NULL;
	if (!what || !name_key(s, name ? name : "client", &k))
		return fail(s, "outcome NAME [for CLIENT]");
	for (unsigned i = 0; i < s->h.n_outcome; i++) {
		struct harness_outcome *o = &s->h.outcome[i];

		if (o->taken || o->key.target != k.target || o->key.copy != k.copy || !endpoint_eq(&o->key.client, &k.client))
			continue;
		o->taken = true;
		if (strcmp(session_outcome_name(o->outcome), what))
			return fail(s, "outcome %s expected, %s seen", what, session_outcome_name(o->outcome));
		note(s, "%10.3f   outcome %s\n", since(s->h.now), what);
		return true;
	}
	return fail(s, "outcome %s expected, the session lives", what);
}

/* Numbers of the engine that a script may ask for: counters by their names, and some of its state. */
static bool number_of(const struct script *s, const char *name, uint64_t *n)
{
	const struct engine_counters *c = engine_counters(s->h.engine);

#define X(field, text)               \
	if (!strcmp(name, #field)) { \
		*n = c->field;       \
		return true;         \
	}
	ENGINE_COUNTERS(X)
#undef X
	if (!strcmp(name, "sessions"))
		*n = engine_sessions(s->h.engine);
	else if (!strcmp(name, "lingering"))
		*n = engine_lingering(s->h.engine);
	else if (!strcmp(name, "observed"))
		*n = engine_observed(s->h.engine);
	else if (!strcmp(name, "live_bytes"))
		*n = engine_live_bytes(s->h.engine);
	else if (!strcmp(name, "memory"))
		*n = engine_memory(s->h.engine);
	else if (!strcmp(name, "announced"))
		*n = s->h.watch_calls;
	else if (!strcmp(name, "unannounced"))
		*n = s->h.unwatch_calls;
	else
		return false;
	return true;
}

static bool do_counter(struct script *s, char *text)
{
	char *rest, *name = strtok_r(text, " \t", &rest), *value = strtok_r(NULL, " \t", &rest);
	uint64_t seen, wanted;

	if (!name || !value || script_number(value, &wanted))
		return fail(s, "counter NAME VALUE");
	if (!number_of(s, name, &seen))
		return fail(s, "no counter is called %s", name);
	if (seen != wanted)
		return fail(s, "%s: %llu expected, %llu seen", name, (unsigned long long)wanted, (unsigned long long)seen);
	return true;
}

static bool do_channel(struct script *s, const char *text)
{
	bool up = !strcmp(text, "up");

	if (!up && strcmp(text, "down"))
		return fail(s, "channel up|down");
	note(s, "%10.3f   channel %s\n", since(s->h.now), text);
	harness_channel(&s->h, up);
	return true;
}

/* What the online server's socket says when it is asked. */
static bool do_online(struct script *s, const char *text)
{
	if (strncmp(text, "received ", 9) || script_number(text + 9, &s->h.online_bytes))
		return fail(s, "online received BYTES");
	s->h.online_known = true;
	return true;
}

static bool advance(struct script *s, uint64_t delta, bool emits)
{
	if (!delta)
		return true; /* the same instant: no timer fires in between */
	s->at += delta;
	/* an emission may be a tick late */
	if (!harness_advance(&s->h, emits ? s->at + WHEEL_TICK_NS : s->at))
		return fail(s, "time stands still");
	return true;
}

static bool run_file(struct script *s, const char *path, int depth);

static bool do_include(struct script *s, const char *path, const char *name, int depth)
{
	char file[4096];
	const char *slash = strrchr(path, '/'), *outer = s->file;
	int line = s->line;
	bool fine;

	if (depth >= MAX_DEPTH)
		return fail(s, "include in an include");
	snprintf(file, sizeof(file), "%.*s%s", (int)(slash ? slash + 1 - path : 0), path, name);
	fine = run_file(s, file, depth + 1);
	s->file = outer;
	s->line = line;
	return fine;
}

static bool run_line(struct script *s, char *text, const char *path, int depth)
{
	char *word, *rest;
	uint64_t delta;
	const char *fault;
	bool emits;

	text[strcspn(text, "#\n")] = '\0';
	for (size_t n = strlen(text); n && (text[n - 1] == ' ' || text[n - 1] == '\t'); n--)
		text[n - 1] = '\0';
	word = strtok_r(text, " \t", &rest);
	if (!word)
		return true;
	rest += strspn(rest, " \t");
	if (!strcmp(word, "config"))
		return do_config(s, rest);
	if (!strcmp(word, "include"))
		return do_include(s, path, rest, depth);
	start(s);
	if (!strcmp(word, "counter"))
		return do_counter(s, rest);
	if (!strcmp(word, "outcome"))
		return do_outcome(s, rest);
	if (*word != '+')
		return fail(s, "a line begins with a time such as +0ms, or with config, include, counter or outcome");
	fault = script_time(word + 1, &delta);
	if (fault)
		return fail(s, "%s", fault);
	word = strtok_r(NULL, " \t", &rest);
	if (!word)
		return fail(s, "and what then?");
	rest += strspn(rest, " \t");
	emits = !strcmp(word, "emits");
	if ((!emits || delta) && !no_more_emissions(s))
		return false;
	if (!advance(s, delta, emits && strcmp(rest, "nothing")))
		return false;
	if (emits)
		return do_emits(s, rest);
	if (!no_more_emissions(s))
		return false;
	if (!strncmp(word, "client", 6))
		return do_captured(s, word, rest);
	if (!strcmp(word, "target"))
		return do_response(s, rest);
	if (!strcmp(word, "channel"))
		return do_channel(s, rest);
	if (!strcmp(word, "online"))
		return do_online(s, rest);
	if (!strcmp(word, "shutdown")) {
		harness_shutdown(&s->h);
		return true;
	}
	return fail(s, "unknown word %s", word);
}

static bool run_file(struct script *s, const char *path, int depth)
{
	FILE *in = fopen(path, "r");
	char line[LINE_LEN];
	bool fine = true;

	if (!in)
		return fail(s, "%s cannot be opened", path);
	s->file = path;
	s->line = 0;
	while (fine && fgets(line, sizeof(line), in)) {
		s->line++;
		fine = run_line(s, line, path, depth);
	}
	fclose(in);
	return fine;
}

/* After the last line: nothing unexpected, no outcome that no line named, and nothing left behind. */
static void finish(struct script *s)
{
	const char *fault;

	if (!s->started) {
		fail(s, "an empty script");
		return;
	}
	if (!s->failed)
		no_more_emissions(s);
	for (unsigned i = 0; i < s->h.n_outcome && !s->failed; i++)
		if (!s->h.outcome[i].taken)
			fail(s, "a session ended by %s, which no line expects",
			     session_outcome_name(s->h.outcome[i].outcome));
	if (s->failed)
		return;
	fault = harness_finish(&s->h);
	if (fault)
		fail(s, "after the end: %s", fault);
}

bool session_script_run(const char *path, FILE *out)
{
	struct script *s = calloc(1, sizeof(*s));
	bool fine;

	assert(s);
	s->out = out;
	s->file = path;
	s->at = HARNESS_START;
	harness_init(&s->h);
	running = s;
	signal(SIGABRT, aborted);
	run_file(s, path, 0);
	finish(s);
	fine = !s->failed;
	running = NULL;
	signal(SIGABRT, SIG_DFL);
	free(s);
	return fine;
}
