/*
 * The options that say how many copies there are of a session.
 *
 * In: the text as typed. Out: members of *c.
 */
#include <stdio.h>

#include "base/number.h"
#include "tcpcopy/config/parts.h"

const char *config_set_copies(struct config *c, const char *value)
{
	return number_parse_millionths(value, COPIES_ONE, COPIES_MOST * COPIES_ONE, &c->copies.times);
}

char *config_copies_format(char buf[CONFIG_COPIES_TEXT], const struct config *c)
{
	buf[0] = '\0';
	if (c->copies.times > COPIES_ONE)
		snprintf(buf, CONFIG_COPIES_TEXT, "%.6g times", (double)c->copies.times / (double)COPIES_ONE);
	return buf;
}
