/*
 * The options that say how many copies there are of a session.
 *
 * In: the text as typed. Out: members of *c.
 */
#include <stdio.h>
#include <string.h>

#include "base/number.h"
#include "base/util.h"
#include "tcpcopy/config/parts.h"

const char *config_set_copies(struct config *c, const char *value)
{
	return number_parse_millionths(value, COPIES_ONE, COPIES_MOST * COPIES_ONE, &c->copies.times);
}

const char *config_set_spread(struct config *c, const char *value)
{
	return number_parse_duration(value, NS_PER_MS, 10 * NS_PER_SEC, &c->copies.spread);
}

const char *config_check_copies(const struct config *c, const char **option)
{
	*option = "spread";
	if (c->copies.spread && c->copies.times <= COPIES_ONE)
		return "is for the copies of a session, and there is one of each; accepted: with -n";
	return NULL;
}

const char *config_set_targets(struct config *c, const char *value)
{
	static const char *const names[TARGETS_COUNT] = {
#define X(id, name) [TARGETS_##id] = name,
		TARGETS(X)
#undef X
	};
	unsigned i = TARGETS_ONE + 1;

	while (i < TARGETS_COUNT && strcmp(value, names[i]) != 0)
		i++;
	c->targets.mode = (enum targets_mode)i;
	return i == TARGETS_COUNT ? "no such mode" : NULL;
}

const char *config_set_spread_by(struct config *c, const char *value)
{
	static const char *const names[TARGETS_UNIT_COUNT] = {
#define X(id, name) [TARGETS_BY_##id] = name,
		TARGETS_UNITS(X)
#undef X
	};
	unsigned i = 0;

	while (i < TARGETS_UNIT_COUNT && strcmp(value, names[i]) != 0)
		i++;
	c->has_spread_by = true;
	c->targets.by = (enum targets_unit)i;
	return i == TARGETS_UNIT_COUNT ? "is neither a session nor a client" : NULL;
}

char *config_copies_format(char buf[CONFIG_COPIES_TEXT], const struct config *c)
{
	int n;

	buf[0] = '\0';
	if (c->copies.times <= COPIES_ONE)
		return buf;
	n = snprintf(buf, CONFIG_COPIES_TEXT, "%.6g times", (double)c->copies.times / (double)COPIES_ONE);
	if (c->copies.spread)
		snprintf(buf + n, CONFIG_COPIES_TEXT - (size_t)n, ", within %.6g s",
			 (double)c->copies.spread / (double)NS_PER_SEC);
	return buf;
}
