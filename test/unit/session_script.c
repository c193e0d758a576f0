/*
 * Scripts for the session engine - theory of operation
 *
 * A script is a list of lines; each is one step, run against a harness. Time is told by +DELTA at
 * the front of a line and is counted from the line before. The script has to name everything that
 * the engine emits and asks, in order: before any line that is not about such an action, and at the
 * end, none may be left; and an action must have happened at the time of its line, give or take one tick of
 * the timer wheel.
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
#include "packet/text.h"
#include "session_script_impl.h"

#define MAX_DEPTH 2

static struct script *running; /* for the handler of SIGABRT: the engine's assertions */

void script_note(struct script *s, const char *fmt, ...)
{
	size_t room = sizeof(s->trace) - s->trace_len;
	va_list ap;
	int n;

	if (room < 2 * SCRIPT_LINE)
		return;
	va_start(ap, fmt);
	n = vsnprintf(s->trace + s->trace_len, room, fmt, ap);
	va_end(ap);
	s->trace_len += MIN((size_t)n, room - 1);
}

bool script_fail(struct script *s, const char *fmt, ...)
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
		fprintf(s->out, "%10.3f      emitted, not expected yet: %s\n",
			(double)(m->at - HARNESS_START) / 1e6, tx_segment_format(text, sizeof(text), &m->t));
	script_key(s, "client", &k);
	first = s->started ? engine_find(s->h.engine, &k) : NULL;
	if (first)
		fprintf(s->out, "%s\n", session_format(text, sizeof(text), first));
	return false;
}

static void aborted(int signal)
{
	(void)signal;
	if (running)
		script_fail(running, "an assertion of the engine failed");
	fflush(NULL);
	_exit(3);
}

/* client, client2, client/online2, client/target2, client3/copy2: all counted from 1 */
bool script_key(struct script *s, const char *name, struct flow_key *k)
{
	unsigned client = 1, online = 1, target = 1, copy = 1;
	const char *p = name;
	char *end;

	if (strncmp(p, "client", 6))
		return script_fail(s, "%s: a name is client[N][/onlineN][/targetN][/copyN]", name);
	p += 6;
	if (*p && *p != '/') {
		client = (unsigned)strtoul(p, &end, 10);
		p = end;
	}
	if (!strncmp(p, "/online", 7)) {
		online = (unsigned)strtoul(p + 7, &end, 10);
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
	if (*p || !client || !online || online > 200 || !target || target > HARNESS_TARGETS || !copy)
		return script_fail(s, "%s: a name is client[N][/onlineN][/targetN][/copyN]", name);
	memset(k, 0, sizeof(*k));
	if (s->ipv6) {
		assert(addr_parse(&k->client.addr, "fd00::1") && addr_parse(&k->online.addr, "fd00::2"));
		k->online.addr.b[15] = (uint8_t)(1 + online);
	} else {
		k->client.addr = addr_from_v4((const uint8_t[]){ 10, 0, 0, 1 });
		k->online.addr = addr_from_v4((const uint8_t[]){ 10, 0, 0, (uint8_t)(1 + online) });
	}
	k->client.port = (uint16_t)(40000 + client - 1);
	k->online.port = 6379;
	k->target = (uint16_t)(target - 1);
	k->copy = (uint16_t)(copy - 1);
	return true;
}

bool script_all_named(struct script *s)
{
	if (s->h.first)
		return script_fail(s, "the engine emitted something that no line expects");
	if (s->h.n_taken < s->h.n_question)
		return script_fail(s, "the engine asked something that no line expects");
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
		return script_fail(s, "config comes first");
	if (!strcmp(key, "hold"))
		fault = value ? script_time(value, &c->hold) : "time?";
	else if (!strcmp(key, "later"))
		fault = value ? script_time(value, &s->h.later) : "time?";
	else if (!strcmp(key, "no-join"))
		c->join = ENGINE_JOIN_NONE;
	else if (!strcmp(key, "join-all"))
		c->join = ENGINE_JOIN_ALL;
	else if (!strcmp(key, "prove"))
		c->prove = true;
	else if (!strcmp(key, "recorded"))
		c->recorded = true;
	else if (!strcmp(key, "unproved"))
		c->unproved = true;
	else if (!strcmp(key, "no-source"))
		s->h.no_source = true;
	else if (!strcmp(key, "no-other-source"))
		s->h.no_other = true;
	else if (!strcmp(key, "channel-down"))
		s->channel_down = true;
	else if (!strcmp(key, "ipv6"))
		s->ipv6 = true;
	else if (!strcmp(key, "routed"))
		s->h.routed = true;
	else
		fault = value ? script_number(value, &n) : "number?";
	if (!strcmp(key, "server-window"))
		c->server_window = (uint32_t)n;
	else if (!strcmp(key, "session-buffer"))
		c->session_buffer = n;
	else if (!strcmp(key, "memory"))
		c->max_memory = n;
	else if (!strcmp(key, "max-half-open"))
		c->max_half_open = (unsigned)n;
	else if (!strcmp(key, "max-observed"))
		c->max_observed = (unsigned)n;
	else if (!strcmp(key, "engines"))
		c->engines = (unsigned)n;
	else if (!strcmp(key, "max-sessions"))
		c->max_sessions = (unsigned)n;
	else if (!strcmp(key, "mtu"))
		s->h.mtu = (uint32_t)n;
	else if (value && strcmp(key, "hold") && strcmp(key, "later"))
		fault = "unknown setting";
	return fault ? script_fail(s, "config %s: %s", key, fault) : true;
}

static bool do_outcome(struct script *s, char *text)
{
	char *rest, *what = strtok_r(text, " \t", &rest), *by = strtok_r(NULL, " \t", &rest), *name;
	struct flow_key k;

	name = by && !strcmp(by, "for") ? strtok_r(NULL, " \t", &rest) : NULL;
	if (!what || !script_key(s, name ? name : "client", &k))
		return script_fail(s, "outcome NAME [for CLIENT]");
	for (unsigned i = 0; i < s->h.n_outcome; i++) {
		struct harness_outcome *o = &s->h.outcome[i];

		if (o->taken || o->key.target != k.target || o->key.copy != k.copy ||
		    !endpoint_eq(&o->key.client, &k.client))
			continue;
		o->taken = true;
		if (strcmp(session_outcome_name(o->outcome), what))
			return script_fail(s, "outcome %s expected, %s seen", what,
					   session_outcome_name(o->outcome));
		script_note(s, "%10.3f   outcome %s\n", script_ms(s->h.now), what);
		return true;
	}
	return script_fail(s, "outcome %s expected, the session lives", what);
}

static bool do_channel(struct script *s, const char *text)
{
	const char *only = strncmp(text, "up for ", 7) ? NULL : text + 7;
	bool up = only || !strcmp(text, "up");
	struct flow_key k;

	if (!up && strcmp(text, "down"))
		return script_fail(s, "channel up [for CLIENT]|down");
	if (only && !script_key(s, only, &k))
		return false;
	script_note(s, "%10.3f   channel %s\n", script_ms(s->h.now), text);
	harness_channel(&s->h, up, only ? &k.client : NULL);
	return true;
}

/* Another tcpcopy has the source of this session. */
static bool do_taken(struct script *s, const char *text)
{
	struct tuple response;
	struct flow_key k;

	if (strncmp(text, "for ", 4) || !script_key(s, text + 4, &k))
		return script_fail(s, "taken for CLIENT");
	response = (struct tuple){ .src = s->h.target[k.target], .dst = harness_source(&s->h, &k) };
	script_note(s, "%10.3f   taken %s\n", script_ms(s->h.now), text);
	harness_source_taken(&s->h, harness_watched(&s->h, &response, 0));
	return true;
}

/* Nobody listens to this session: the only assistant has no room for its watch; one of several; no source. */
static bool do_unheard(struct script *s, const char *word, const char *text)
{
	uint64_t id;
	struct tuple response;
	struct flow_key k;

	if (strncmp(text, "for ", 4) || !script_key(s, text + 4, &k))
		return script_fail(s, "full|nearly-full|lost for CLIENT");
	response = (struct tuple){ .src = s->h.target[k.target], .dst = harness_source(&s->h, &k) };
	script_note(s, "%10.3f   %s %s\n", script_ms(s->h.now), word, text);
	id = harness_watched(&s->h, &response, 0);
	if (strcmp(word, "lost") != 0)
		harness_unwatched(&s->h, id, !strcmp(word, "full"));
	else
		harness_source_lost(&s->h, id);
	return true;
}

/* The way to every target has another MTU from now on. */
static bool do_mtu(struct script *s, const char *text)
{
	uint64_t mtu;

	if (script_number(text, &mtu))
		return script_fail(s, "mtu BYTES");
	for (unsigned i = 0; i < HARNESS_TARGETS; i++)
		engine_set_target_mtu(s->h.engine, i, (uint32_t)mtu, true);
	return true;
}

/* Whoever is asked whether a session may be opened says no, for this reason; or yes. */
static bool do_declines(struct script *s, const char *text)
{
	s->h.declines = DECLINE_COUNT;
	if (!strcmp(text, "nothing"))
		return true;
	for (unsigned d = 0; d < DECLINE_COUNT; d++)
		if (!strcmp(text, decline_name((enum decline)d)))
			s->h.declines = (enum decline)d;
	return s->h.declines != DECLINE_COUNT || script_fail(s, "declines REASON|nothing");
}

/* Packets were lost before they could be captured; or some were not shown to the engine until now. */
static bool do_capture(struct script *s, const char *text)
{
	if (!strcmp(text, "grows"))
		engine_not_shown(s->h.engine, s->h.now);
	else if (!strcmp(text, "lost"))
		engine_capture_lost(s->h.engine, s->h.now);
	else
		return script_fail(s, "capture lost|grows");
	return true;
}

static bool advance(struct script *s, uint64_t delta, bool acts)
{
	if (!delta)
		return true; /* the same instant: no timer fires in between */
	s->at += delta;
	/* an action may be a tick late */
	if (!harness_advance(&s->h, acts ? s->at + WHEEL_TICK_NS : s->at))
		return script_fail(s, "time stands still");
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
		return script_fail(s, "include in an include");
	snprintf(file, sizeof(file), "%.*s%s", (int)(slash ? slash + 1 - path : 0), path, name);
	fine = run_file(s, file, depth + 1);
	s->file = outer;
	s->line = line;
	return fine;
}

bool script_times(char *text, uint64_t *n)
{
	char *times = strstr(text, " times ");

	*n = 1;
	if (!times)
		return true;
	*times = '\0';
	return !script_number(times + 7, n) && *n;
}

/* "... times N": the same again, at the same distance. */
static bool emits_often(struct script *s, char *text, uint64_t delta)
{
	char line[SCRIPT_LINE];
	uint64_t n;

	if (!script_times(text, &n))
		return script_fail(s, "times N");
	while (n--) {
		snprintf(line, sizeof(line), "%s", text);
		if (!script_emits(s, line))
			return false;
		if (n && (!script_all_named(s) || !advance(s, delta, true)))
			return false;
	}
	return true;
}

static bool run_line(struct script *s, char *text, const char *path, int depth)
{
	char *word, *rest;
	uint64_t delta;
	const char *fault;
	bool emits, acts;

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
		return script_counter(s, rest);
	if (!strcmp(word, "outcome"))
		return do_outcome(s, rest);
	if (*word != '+')
		return script_fail(s, "a line begins with +TIME, config, include, counter or outcome");
	fault = script_time(word + 1, &delta);
	if (fault)
		return script_fail(s, "%s", fault);
	word = strtok_r(NULL, " \t", &rest);
	if (!word)
		return script_fail(s, "and what then?");
	rest += strspn(rest, " \t");
	emits = !strcmp(word, "emits");
	acts = emits || !strcmp(word, "asks");
	if ((!acts || delta) && !script_all_named(s))
		return false;
	if (!advance(s, delta, acts && strcmp(rest, "nothing")))
		return false;
	if (emits)
		return emits_often(s, rest, delta);
	if (acts)
		return script_asks(s, rest);
	if (!script_all_named(s))
		return false;
	if (!strncmp(word, "client", 6))
		return script_captured(s, word, rest);
	if (!strcmp(word, "server"))
		return script_server(s, rest, false);
	if (!strcmp(word, "resets"))
		return script_server(s, rest, true);
	if (!strcmp(word, "target"))
		return script_response(s, rest);
	if (!strcmp(word, "channel"))
		return do_channel(s, rest);
	if (!strcmp(word, "taken"))
		return do_taken(s, rest);
	if (!strcmp(word, "full") || !strcmp(word, "nearly-full") || !strcmp(word, "lost"))
		return do_unheard(s, word, rest);
	if (!strcmp(word, "mtu"))
		return do_mtu(s, rest);
	if (!strcmp(word, "online"))
		return script_online(s, rest);
	if (!strcmp(word, "answer"))
		return script_answer(s, rest);
	if (!strcmp(word, "declines"))
		return do_declines(s, rest);
	if (!strcmp(word, "capture"))
		return do_capture(s, rest);
	if (!strcmp(word, "shutdown")) {
		harness_shutdown(&s->h);
		return true;
	}
	return script_fail(s, "unknown word %s", word);
}

static bool run_file(struct script *s, const char *path, int depth)
{
	FILE *in = fopen(path, "r");
	char line[SCRIPT_LINE];
	bool fine = true;

	if (!in)
		return script_fail(s, "%s cannot be opened", path);
	s->file = path;
	s->line = 0;
	while (fine && fgets(line, sizeof(line), in)) {
		s->line++;
		fine = run_line(s, line, path, depth);
	}
	fclose(in);
	return fine;
}

/* After the last line: nothing unexpected, no outcome that no line named, and nothing left behind.
 */
static void finish(struct script *s)
{
	const char *fault;

	if (!s->started) {
		script_fail(s, "an empty script");
		return;
	}
	if (!s->failed)
		script_all_named(s);
	for (unsigned i = 0; i < s->h.n_outcome && !s->failed; i++)
		if (!s->h.outcome[i].taken)
			script_fail(s, "a session ended by %s, which no line expects",
				    session_outcome_name(s->h.outcome[i].outcome));
	if (s->failed)
		return;
	fault = harness_finish(&s->h);
	if (fault)
		script_fail(s, "after the end: %s", fault);
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
