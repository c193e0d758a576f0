/*
 * The options of a replay: which files, and how fast.
 *
 * In: the text as typed. Out: members of *c. A file is only looked for here, not opened: what is in it is for
 * whoever reads it.
 */
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/number.h"
#include "program/args.h"
#include "program/log.h"
#include "tcpcopy/config/parts.h"

#define MILLION 1000000ull
#define SPEED_LEAST 1ull /* a second of a file takes eleven days and a half */
#define SPEED_MOST (1000000 * MILLION)

const char *config_add_file(struct config *c, const char *path)
{
	if (c->n_read == CONFIG_MAX_READ)
		return args_wrong("more than %d files", CONFIG_MAX_READ);
	for (unsigned i = 0; i < c->n_read; i++)
		if (!strcmp(path, c->read[i]))
			return args_wrong("given twice, which would replay all of it twice (see -T)");
	c->read[c->n_read++] = path;
	return NULL;
}

bool config_is_file(const char *value)
{
	struct stat st;

	return !if_nametoindex(value) && !stat(value, &st) && !S_ISDIR(st.st_mode);
}

const char *config_set_speed(struct config *c, const char *value)
{
	c->has_speed = true;
	if (!strcmp(value, "max")) {
		c->speed = 0;
		return NULL;
	}
	return number_parse_millionths(value, SPEED_LEAST, SPEED_MOST, &c->speed);
}

const char *config_set_rate(struct config *c, const char *value)
{
	return number_parse_millionths(value, 1000, 100000000 * MILLION, &c->rate);
}

/* As the original tool has it, a number alone is ms. */
const char *config_set_gap(struct config *c, const char *value)
{
	uint64_t ms;

	if (value[0] && !value[strspn(value, "0123456789")]) {
		const char *wrong = number_parse(value, 0, 86400000, &ms);

		c->gap = wrong ? c->gap : ms * NS_PER_MS;
		return wrong;
	}
	return number_parse_duration(value, 0, 86400 * NS_PER_SEC, &c->gap);
}

const char *config_set_loops(struct config *c, const char *value)
{
	return number_parse(value, 1, 1000000000, &c->loops);
}

const char *config_set_decap(struct config *c, const char *value)
{
	static const char *const names[DECAP_COUNT] = {
#define X(id, name) [DECAP_BIT_##id] = name,
		DECAPS(X)
#undef X
	};

	c->has_decap = true;
	c->decap = 0;
	if (!strcmp(value, "none"))
		return NULL;
	for (;; value++) {
		const size_t len = strcspn(value, ",");
		unsigned i = 0;

		while (i < DECAP_COUNT && (strlen(names[i]) != len || memcmp(names[i], value, len) != 0))
			i++;
		if (i == DECAP_COUNT)
			return args_wrong("\"%.*s\" is no such tunnel", (int)len, value);
		c->decap |= 1u << i;
		value += len;
		if (!*value)
			return NULL;
	}
}

const char *config_check_replay(const struct config *c, const char **option)
{
	if (!c->n_read) {
		*option = c->has_speed           ? "speed"
			  : c->rate              ? "rate"
			  : c->gap != UINT64_MAX ? "gap"
			  : c->has_decap         ? "decap"
						 : "loops";
		return c->has_speed || c->rate || c->gap != UINT64_MAX || c->has_decap || c->loops != 1
			       ? "is for recorded traffic; accepted: with --read"
			       : NULL;
	}
	*option = "interface";
	if (c->n_interfaces)
		return args_wrong("names %s to capture on, but --read replays a file and captures nothing; "
				  "accepted: one of the two",
				  c->interfaces[0]);
	*option = "rate";
	if (c->rate && c->has_speed)
		return "says how fast, and so does --speed; accepted: one of the two";
	*option = "gap";
	if (c->gap != UINT64_MAX && (c->rate || !c->speed))
		return "cuts recorded pauses, and with --rate or --speed max there are none";
	*option = "workers";
	if (c->run.workers > 1)
		return "recorded traffic has one order, which one worker keeps; accepted with --read: 1";
	*option = "check";
	if (c->run.check)
		return "looks at live capture; accepted: without --read";
	*option = "read";
	for (unsigned i = 0; i < c->n_read; i++)
		if (!strcmp(c->read[i], "-") && c->loops > 1)
			return "standard input can be read only once; accepted: files, or no -T";
		else if (!strcmp(c->read[i], "-") && c->run.daemon)
			return "a daemon (-d) has no standard input; accepted: files, or no -d";
	return NULL;
}

void config_log_replay(const struct config *c)
{
	char pace[96] = "as recorded";

	if (c->rate)
		snprintf(pace, sizeof(pace), "%.6g requests a second", (double)c->rate / (double)MILLION);
	else if (!c->speed)
		snprintf(pace, sizeof(pace), "as fast as the target answers");
	else if (c->speed != MILLION)
		snprintf(pace, sizeof(pace), "%.6g times as fast as recorded",
			 (double)c->speed / (double)MILLION);
	if (c->gap != UINT64_MAX)
		snprintf(pace + strlen(pace), sizeof(pace) - strlen(pace), ", pauses cut to %.3f s",
			 (double)c->gap / (double)NS_PER_SEC);
	log_info(
		"replaying %s%s, %llu time%s, %s: requests to any address that was recorded, by the ports of -x",
		c->read[0], c->n_read > 1 ? " and others" : "", (unsigned long long)c->loops,
		c->loops > 1 ? "s" : "", pace);
}
