/*
 * The answers of both sides, in words - theory of operation
 *
 * In: the tallies of the engine (compare/exchange.h). Out: lines for people. What the target acknowledges its
 * kernel has; whether its application has done the same work is another thing, and lengths tell: a login that
 * fails or a page that is not there is short. Said once a rule and kind, when there are enough answers for it
 * not to be chance.
 */
#include "tcpcopy/exchanges.h"

#include "program/log.h"

#define ENOUGH_ANSWERS 20  /* that could be compared */
#define ENOUGH_SESSIONS 10 /* that the target ended first */

typedef unsigned long long ull;

static void print_some(FILE *to, const char **before, const char *name, uint64_t n)
{
	if (!n)
		return;
	fprintf(to, "%s%s %llu", *before, name, (ull)n);
	*before = ", ";
}

void exchanges_print(FILE *to, const struct exchange_tally *t)
{
	const char *before = "; not comparable ";

	fprintf(to, "%llu of %llu compared: %llu of the same length", (ull)exchange_compared(t), (ull)t->all,
		(ull)t->same);
	for (unsigned i = 0; i < EXCHANGE_DIFFERENCE_COUNT; i++)
		if (t->different[i])
			fprintf(to, ", %llu %s", (ull)t->different[i],
				exchange_difference_name((enum exchange_difference)i));
	if (t->followers)
		fprintf(to, " (%llu behind an earlier difference)", (ull)t->followers);
	for (unsigned i = 0; i < EXCHANGE_OBSTACLE_COUNT; i++)
		print_some(to, &before, exchange_obstacle_name((enum exchange_obstacle)i),
			   t->not_comparable[i]);
	if (t->open)
		fprintf(to, "; open %llu", (ull)t->open);
	before = "; ended first by the target, after ";
	for (unsigned i = 0; i < EXCHANGE_TURNS_COUNT; i++)
		if (t->target_first[i]) {
			fprintf(to, "%s%s: %llu", before, exchange_turns_text((enum exchange_turns)i),
				(ull)t->target_first[i]);
			before = ", ";
		}
}

/* Ended by the target before it had answered a second turn. */
static uint64_t ended_soon(const struct exchange_tally *t)
{
	return t->target_first[EXCHANGE_AFTER_NONE] + t->target_first[EXCHANGE_AFTER_ONE];
}

bool exchanges_matter(const struct exchange_tally *t, uint64_t sessions, enum exchanges_warning w)
{
	const uint64_t compared = exchange_compared(t);

	switch (w) {
	case EXCHANGES_DIFFER:
		return compared >= ENOUGH_ANSWERS && exchange_differ(t) > compared / 10;
	case EXCHANGES_ENDED_FIRST:
		return ended_soon(t) >= ENOUGH_SESSIONS && ended_soon(t) > sessions / 2;
	default:
		return false;
	}
}

char *exchanges_text(char *buf, size_t size, const struct rule *rule, const struct exchange_tally *t,
		     uint64_t sessions, enum exchanges_warning w)
{
	char target[ENDPOINT_TEXT_LEN];

	endpoint_format(target, sizeof(target), &rule->target);
	if (w == EXCHANGES_DIFFER)
		snprintf(
			buf, size,
			"port %u: the target does not answer as the online server does: of %llu answers that can be "
			"compared %llu are shorter, %llu longer and %llu absent; so what it has acknowledged it may "
			"have refused (a login, data that it does not have, another version): see the newest one with "
			"tcpcopy --status, send that request to %s by hand, and look at the target's log",
			rule->online_port, (ull)exchange_compared(t), (ull)t->different[EXCHANGE_SHORTER],
			(ull)t->different[EXCHANGE_LONGER], (ull)t->different[EXCHANGE_ABSENT], target);
	else
		snprintf(
			buf, size,
			"port %u: the target ends the connections, and the online server does not: %llu of %llu "
			"sessions so far, %llu of them before it had answered a second request: look at the log of %s "
			"for refused logins and errors, and raise its limit of requests and of idle time for each "
			"connection to that of the online server (keep-alive)",
			rule->online_port, (ull)exchange_ended_first(t), (ull)sessions, (ull)ended_soon(t),
			target);
	return buf;
}

void exchanges_say(struct exchanges_said *said, const struct config *c, unsigned rule,
		   const struct exchange_tally *t, uint64_t sessions)
{
	char text[EXCHANGES_TEXT];

	for (unsigned w = 0; w < EXCHANGES_WARNINGS; w++) {
		if (said->warnings[rule] & 1u << w ||
		    !exchanges_matter(t, sessions, (enum exchanges_warning)w))
			continue;
		said->warnings[rule] |= (uint8_t)(1u << w);
		log_warn("%s", exchanges_text(text, sizeof(text), &c->rules[rule], t, sessions,
					      (enum exchanges_warning)w));
	}
}
