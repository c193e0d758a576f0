/*
 * Scripts for the session engine, the lines about numbers - theory of operation
 *
 * `counter NAME VALUE`: a name is that of a counter of the engine, with the words of its tables before
 * those that are counted by kind, or one of the few that are state. All is of the first target.
 */
#include <string.h>

#include "session_script_impl.h"

/* Of the first target: exchanges_KIND, not_comparable_REASON, ended_by_END, target_first_TURNS. */
static bool exchanges_of(const struct script *s, const char *name, uint64_t *n)
{
	const struct exchange_tally *t = engine_exchanges(s->h.engine, 0);
	const struct {
		const char *name;
		uint64_t n;
	} rows[] = { { "exchanges", t->all },
		     { "exchanges_open", t->open },
		     { "exchanges_same", t->same },
		     { "exchanges_followers", t->followers },
		     { "exchanges_merged", t->merged },
		     { "exchanges_unsolicited", t->unsolicited },
#define X(id, key, text) { "exchanges_" #key, t->different[EXCHANGE_##id] },
		     EXCHANGE_DIFFERENCES(X)
#undef X
#define X(id, key, text) { "not_comparable_" #key, t->not_comparable[EXCHANGE_NOT_##id] },
			     EXCHANGE_OBSTACLES(X)
#undef X
#define X(id, key, text) { "ended_by_" #key, t->ended_by[EXCHANGE_BY_##id] },
				     EXCHANGE_ENDS(X)
#undef X
#define X(id, key, text) { "target_first_" #key, t->target_first[EXCHANGE_AFTER_##id] },
					     EXCHANGE_TURNS(X)
#undef X
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		if (!strcmp(name, rows[i].name)) {
			*n = rows[i].n;
			return true;
		}
	return false;
}

/* How the first target copes: pace_answers, pace_longest_ms and so on. */
static bool pace_of(const struct script *s, const char *name, uint64_t *n)
{
	const struct engine_pace *p = engine_pace(s->h.engine, 0);
	const struct {
		const char *name;
		uint64_t n;
	} rows[] = {
		{ "pace_answers", p->answer.count }, { "pace_longest_ms", p->answer.max / NS_PER_MS },
		{ "pace_released", p->released },    { "pace_overdue", p->overdue },
		{ "pace_begun", p->begun },          { "pace_ended", p->ended },
		{ "pace_refused", p->refused },      { "pace_reset", p->reset },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		if (!strcmp(name, rows[i].name)) {
			*n = rows[i].n;
			return true;
		}
	return false;
}

/* Numbers of the engine that a script may ask for: counters by their names, and some of its state.
 */
static bool number_of(const struct script *s, const char *name, uint64_t *n)
{
	const struct engine_counters *c = engine_counters(s->h.engine);

#define X(field, text)                                                                                       \
	if (!strcmp(name, #field)) {                                                                         \
		*n = c->field;                                                                               \
		return true;                                                                                 \
	}
	ENGINE_COUNTERS(X)
#undef X
#define X(field, text)                                                                                       \
	if (!strcmp(name, "questions_" #field)) {                                                            \
		*n = engine_questions(s->h.engine)->field;                                                   \
		return true;                                                                                 \
	}
	ENGINE_QUESTIONS(X)
#undef X
	for (int d = 0; d < DECLINE_COUNT; d++) {
		if (!strncmp(name, "declined_", 9) && !strcmp(name + 9, decline_name((enum decline)d))) {
			*n = c->declined[d];
			return true;
		}
	}
	for (unsigned p = 0; p < PROTOCOL_COUNT; p++) {
		const struct protocol_tally *t = engine_spoken(s->h.engine, 0);
		const char *called = protocol_name((enum protocol)p);
		const struct {
			const char *before;
			const uint64_t *n;
		} tallies[] = { { "spoken_", t->sessions },
				{ "joined_", t->joined },
				{ "not_joined_", t->not_joined } };

		for (unsigned i = 0; i < ARRAY_SIZE(tallies); i++) {
			const size_t len = strlen(tallies[i].before);

			if (!strncmp(name, tallies[i].before, len) && !strcmp(name + len, called)) {
				*n = tallies[i].n[p];
				return true;
			}
		}
	}
	for (unsigned a = 0; a < ANSWER_COUNT; a++) {
		if (!strncmp(name, "online_", 7) &&
		    !strcmp(name + 7, protocol_answer_name((enum protocol_answer)a))) {
			*n = engine_spoken(s->h.engine, 0)->online_answers[a];
			return true;
		}
	}
	for (int r = 0; r < REFUSAL_COUNT; r++) {
		if (!strncmp(name, "refused_", 8) && !strcmp(name + 8, refusal_name((enum refusal)r))) {
			*n = c->refused[r];
			return true;
		}
	}
	if (exchanges_of(s, name, n))
		return true;
	if (pace_of(s, name, n))
		return true;
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
	else if (!strcmp(name, "expected")) /* the acknowledgment that the last announcement named */
		*n = (uint32_t)(s->h.number + 1);
	else if (!strcmp(name, "unannounced"))
		*n = s->h.unwatch_calls;
	else
		return false;
	return true;
}

bool script_counter(struct script *s, char *text)
{
	char *rest, *name = strtok_r(text, " \t", &rest), *value = strtok_r(NULL, " \t", &rest);
	uint64_t seen, wanted;

	if (!name || !value || script_number(value, &wanted))
		return script_fail(s, "counter NAME VALUE");
	if (!number_of(s, name, &seen))
		return script_fail(s, "no counter is called %s", name);
	if (seen != wanted)
		return script_fail(s, "%s: %llu expected, %llu seen", name, (unsigned long long)wanted,
				   (unsigned long long)seen);
	return true;
}
