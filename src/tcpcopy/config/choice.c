/*
 * The options that say how much is replicated.
 *
 * In: the text as typed. Out: members of *c. What contradicts what is judged when all options are known.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/number.h"
#include "program/args.h"
#include "tcpcopy/choice/strain.h"
#include "tcpcopy/config/parts.h"

#define MILLION 1000000ull
#define STOP_MOST 1000000000000ull
#define STOP_TIME_MOST (1000 * 3600 * NS_PER_SEC)

const char *config_set_sample(struct config *c, const char *value)
{
	return number_parse_millionths(value, 1, CHOICE_ALL, &c->choice.share);
}

const char *config_set_seed(struct config *c, const char *value)
{
	c->has_seed = true;
	return number_parse(value, 0, UINT32_MAX, &c->choice.seed);
}

const char *config_set_sample_by(struct config *c, const char *value)
{
	static const char *const names[CHOICE_UNIT_COUNT] = {
#define X(id, name, text) [CHOICE_BY_##id] = name,
		CHOICE_UNITS(X)
#undef X
	};
	unsigned i = 0;

	while (i < CHOICE_UNIT_COUNT && strcmp(value, names[i]) != 0)
		i++;
	c->choice.by = (enum choice_unit)i;
	return i == CHOICE_UNIT_COUNT ? "is neither a session nor a client" : NULL;
}

/* As the original tool has it, a second brings one in a hundred more. */
const char *config_set_ramp(struct config *c, const char *value)
{
	return number_parse_duration(value ? value : "100s", NS_PER_SEC, CHOICE_RAMP_MOST, &c->choice.ramp);
}

const char *config_set_max_sessions(struct config *c, const char *value)
{
	return number_parse(value, 1, CONFIG_MAX_SESSIONS, &c->max_sessions);
}

const char *config_set_max_rate(struct config *c, const char *value)
{
	return number_parse_millionths(value, MILLION / 1000, MILLION * MILLION, &c->max_rate);
}

/* A number of something, "1000sessions"; false: it is not of that. */
static bool counts(const char *value, const char *unit, const char **wrong, uint64_t *n)
{
	const size_t digits = strspn(value, "0123456789");
	char number[24];

	if (!digits || strcmp(value + digits, unit) != 0)
		return false;
	snprintf(number, sizeof(number), "%.*s", (int)digits, value);
	*wrong = digits < sizeof(number) ? number_parse(number, 1, STOP_MOST, n) : "out of range";
	return true;
}

const char *config_set_stop_after(struct config *c, const char *value)
{
	const char *wrong = NULL;
	uint64_t n = 0, *into = &c->stop_time;

	if (counts(value, "sessions", &wrong, &n))
		into = &c->stop_sessions;
	else if (counts(value, "requests", &wrong, &n))
		into = &c->stop_requests;
	else
		wrong = number_parse_duration(value, 100 * NS_PER_MS, STOP_TIME_MOST, &n);
	if (!wrong && *into)
		return "the same is given twice";
	*into = n;
	return wrong;
}

/* Conditions for a breaker. The parser ends its words with what it accepts, as the option does. */
static const char *set_conditions(const char *value, const struct condition_metric *metrics, unsigned count,
				  struct condition *out, unsigned *n)
{
	char words[512], *accepted;

	*n = condition_parse(value, metrics, count, out, CONFIG_MAX_CONDITIONS, words, sizeof(words));
	accepted = *n ? NULL : strstr(words, "; accepted: ");
	if (accepted) {
		*accepted = '\0';
		return args_wrong("%s (%s)", words, accepted + strlen("; accepted: "));
	}
	for (unsigned i = 0; i < *n; i++)
		if (out[i].class[0])
			return args_wrong("\"%s: \": classes of requests are not known here", out[i].class);
	return *n ? NULL : args_wrong("%s", words);
}

const char *config_set_breaker(struct config *c, const char *value)
{
	return set_conditions(value, strain_target, STRAIN_TARGET_COUNT, c->breaker, &c->n_breaker);
}

const char *config_set_yield(struct config *c, const char *value)
{
	c->yield_text = value;
	return set_conditions(value, strain_host, STRAIN_HOST_COUNT, c->yield, &c->n_yield);
}

const char *config_check_choice(const struct config *c, const char **option)
{
	const bool some = c->choice.share < CHOICE_ALL || c->choice.ramp;
	const bool some_twice =
		c->copies.times % COPIES_ONE || c->copies.spread || c->targets.mode == TARGETS_SPREAD;

	*option = c->has_seed ? "seed" : "sample-by";
	if (!some && ((c->has_seed && !some_twice) || c->choice.by != CHOICE_BY_SESSION))
		return c->has_seed
			       ? "is for a choice of sessions, and all are replicated alike; accepted: with "
				 "-r, -g or a fraction of -n"
			       : "is for a choice of sessions, and all are replicated; accepted: with -r or -g";
	*option = "max-sessions";
	if (c->max_sessions && c->max_sessions < c->run.workers)
		return "is less than the number of workers that share it; accepted: one for each at least";
	*option = "breaker";
	for (unsigned i = 0; i < c->n_breaker && !c->hold; i++)
		if (c->breaker[i].metric == STRAIN_ANSWER || c->breaker[i].metric == STRAIN_UNANSWERED)
			return "goes by answers, and nothing waits for them (-W); accepted: refused and reset";
	*option = "ramp";
	if (c->choice.ramp && c->n_read && (c->rate || !c->speed))
		return "goes by the time, and with --rate or --speed max recorded traffic does not; accepted: "
		       "another --speed";
	return NULL;
}

char *config_choice_format(char buf[CONFIG_CHOICE_TEXT], const struct choice *c, uint64_t now)
{
	static const char *const texts[CHOICE_UNIT_COUNT] = {
#define X(id, name, text) [CHOICE_BY_##id] = text,
		CHOICE_UNITS(X)
#undef X
	};
	int n;

	buf[0] = '\0';
	if (c->share == CHOICE_ALL && !c->ramp)
		return buf;
	n = snprintf(buf, CONFIG_CHOICE_TEXT, "%.6g %% of the sessions, chosen %s, seed %" PRIu64,
		     (double)choice_share(c, now) / (double)MILLION, texts[c->by], c->seed);
	if (choice_grows(c, now))
		snprintf(buf + n, CONFIG_CHOICE_TEXT - (size_t)n, "; growing to %.6g %% over %.6g s",
			 (double)c->share / (double)MILLION, (double)c->ramp / (double)NS_PER_SEC);
	return buf;
}
