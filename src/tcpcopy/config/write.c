/*
 * The options of --write: when a file is full, how many are kept, what is in them.
 *
 * In: the text as typed. Out: members of *c. Nothing is opened here.
 */
#include <string.h>

#include "base/number.h"
#include "io/file/output.h"
#include "io/file/packer.h"
#include "program/args.h"
#include "tcpcopy/config/parts.h"

#define ROTATE_LEAST (64ull << 10)
#define ROTATE_MOST (1ull << 40)
#define ROTATE_TIME_LEAST NS_PER_SEC
#define ROTATE_TIME_MOST (10000 * 3600 * NS_PER_SEC)

/* A size, or a time, which the last letter tells: of a number "10M" is one and "10m" the other. */
static const char *set_one(struct config *c, const char *value)
{
	const size_t len = strlen(value);

	if (len && strchr("smh", value[len - 1]))
		return number_parse_duration(value, ROTATE_TIME_LEAST, ROTATE_TIME_MOST,
					     &c->write_rotate_time);
	return number_parse_size(value, ROTATE_LEAST, ROTATE_MOST, &c->write_rotate_bytes);
}

const char *config_set_rotate(struct config *c, const char *value)
{
	char one[32];

	for (;; value++) {
		const size_t len = strcspn(value, ",");
		const uint64_t bytes = c->write_rotate_bytes, time = c->write_rotate_time;
		const char *wrong;

		if (len >= sizeof(one))
			return "neither a size nor a time";
		memcpy(one, value, len);
		one[len] = '\0';
		c->write_rotate_bytes = c->write_rotate_time = 0;
		wrong = set_one(c, one);
		if (wrong)
			return wrong;
		if ((bytes && c->write_rotate_bytes) || (time && c->write_rotate_time))
			return "says twice how large a file becomes, or how old";
		c->write_rotate_bytes += bytes;
		c->write_rotate_time += time;
		value += len;
		if (!*value)
			return NULL;
	}
}

const char *config_set_answers(struct config *c, const char *value)
{
	static const char *const names[ANSWERS_COUNT] = {
#define X(id, name) [ANSWERS_##id] = name,
		CONFIG_ANSWERS(X)
#undef X
	};
	unsigned i = 0;

	while (i < ANSWERS_COUNT && strcmp(value, names[i]) != 0)
		i++;
	c->write_answers = (enum config_answers)i;
	c->has_write_answers = true;
	return i == ANSWERS_COUNT ? "no such part" : NULL;
}

const char *config_check_write(const struct config *c, const char **option)
{
	const bool series = c->write_rotate_bytes || c->write_rotate_time;

	*option = "dry-run";
	if (c->dry_run && c->run.check)
		return "sends nothing, and --check does; accepted: one of the two";
	*option = series ? "write-rotate" : c->write_max ? "write-max" : "write-answers";
	if (!c->write[0])
		return series || c->write_max || c->has_write_answers
			       ? "is for files that are written; accepted: with --write"
			       : NULL;
	*option = "write";
	if (c->n_read && !c->dry_run)
		return "writes what is captured, and with --read nothing is; accepted: without --read, or with "
		       "--dry-run";
	if (packer_missing(packer_by_name(c->write)))
		return packer_missing(packer_by_name(c->write));
	*option = "write-answers";
	if (c->dry_run && c->has_write_answers)
		return "is for what is captured, and with --dry-run what would be sent is written; accepted: "
		       "without it";
	*option = "write-max";
	if (c->write_max && !series)
		return "removes the oldest file, and there is only one; accepted: with --write-rotate";
	if (c->write_max && c->write_rotate_bytes > c->write_max / 2)
		return "is less than two files of --write-rotate; accepted: twice as much, or more";
	return NULL;
}
