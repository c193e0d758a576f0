/*
 * Lines of a script about the online server's sockets - theory of operation
 *
 * Without "online waits" the harness answers whatever the engine asks by what the lines "online ..." have
 * said, as soon as the engine has returned, and no line mentions the questions. With it each question has to
 * be named by an "asks" line, as an emission by an "emits" line, and is answered by a line "answer", later or
 * never.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/wheel.h"
#include "session_script_impl.h"

bool script_online(struct script *s, const char *text)
{
	struct flow_key k;

	if (!strcmp(text, "waits")) {
		s->h.online_waits = true;
		return true;
	}
	if (!strcmp(text, "has all")) {
		s->h.online = ONLINE_THERE;
		s->h.online_gone = (struct endpoint){ 0 };
		return true;
	}
	if (!strcmp(text, "has none")) {
		s->h.online = ONLINE_GONE;
		return true;
	}
	if (!strncmp(text, "lacks ", 6) && script_key(s, text + 6, &k)) {
		s->h.online_gone = k.client;
		return true;
	}
	if (strncmp(text, "received ", 9) || script_number(text + 9, &s->h.online_bytes))
		return script_fail(s, "online received BYTES, has all, has none, lacks CLIENT, waits");
	s->h.online_known = true;
	return true;
}

/* asks QUESTION [for CLIENT] */
bool script_asks(struct script *s, char *text)
{
	char *rest, *name = strtok_r(text, " \t", &rest), *by = strtok_r(NULL, " \t", &rest), *who;
	const struct harness_question *q;
	struct flow_key k;

	if (name && !strcmp(name, "nothing"))
		return script_all_named(s);
	who = by && !strcmp(by, "for") ? strtok_r(NULL, " \t", &rest) : NULL;
	if (!name || strlen(name) >= sizeof(s->question[0].name) || !script_key(s, who ? who : "client", &k))
		return script_fail(s, "asks QUESTION [for CLIENT]");
	if (s->n_questions == SCRIPT_QUESTIONS)
		return script_fail(s, "too many questions");
	q = harness_take_question(&s->h);
	if (!q)
		return script_fail(s, "question %s expected, nothing was asked", name);
	if (!endpoint_eq(&q->key.client, &k.client) || q->key.target != k.target || q->key.copy != k.copy)
		return script_fail(s, "question %s is about another connection", name);
	if (q->at + WHEEL_TICK_NS < s->at)
		return script_fail(s, "asked %.3f ms too early: %s", (double)(s->at - q->at) / 1e6, name);
	s->at = q->at; /* what follows is counted from when it happened */
	strcpy(s->question[s->n_questions].name, name);
	s->question[s->n_questions++].id = q->id;
	script_note(s, "%10.3f   asked    %s\n", script_ms(q->at), name);
	return true;
}

/* unknown, there, syn-recv, close-wait, gone, silent MS, received BYTES, received BYTES acked BYTES */
static bool parse_answer(const char *text, struct online_answer *a)
{
	*a = (struct online_answer){ .word = ONLINE_UNKNOWN };
	if (!strcmp(text, "unknown"))
		return true;
	if (!strcmp(text, "gone")) {
		a->word = ONLINE_GONE;
		return true;
	}
	a->word = ONLINE_THERE;
	if (!strcmp(text, "there"))
		return true;
	if (!strcmp(text, "syn-recv")) {
		a->tcp_state = ONLINE_SYN_RECV;
		return true;
	}
	if (!strcmp(text, "close-wait")) {
		a->tcp_state = ONLINE_CLOSE_WAIT;
		return true;
	}
	if (!strncmp(text, "silent ", 7)) {
		a->silent = (uint32_t)strtoul(text + 7, NULL, 10);
		return true;
	}
	a->has_received = true;
	a->acked = UINT64_MAX;
	return sscanf(text, "received %" SCNu64 " acked %" SCNu64, &a->received, &a->acked) > 0;
}

/* answer QUESTION unknown|there|syn-recv|close-wait|gone|silent MS|received BYTES [acked BYTES] */
bool script_answer(struct script *s, char *text)
{
	char *rest, *name = strtok_r(text, " \t", &rest);
	struct online_answer a;

	if (!name || !parse_answer(rest + strspn(rest, " \t"), &a))
		return script_fail(
			s,
			"answer QUESTION unknown|there|syn-recv|close-wait|gone|silent MS|received BYTES [acked BYTES]");
	for (unsigned i = 0; i < s->n_questions; i++)
		if (!strcmp(s->question[i].name, name)) {
			script_note(s, "%10.3f answer    %s: %s\n", script_ms(s->h.now), name, rest);
			harness_answer(&s->h, s->question[i].id, &a);
			return true;
		}
	return script_fail(s, "no question is called %s", name);
}
