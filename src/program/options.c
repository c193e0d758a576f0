/*
 * The options that both programs have: their setters.
 *
 * In: a value as typed. Out: a member of struct run_config, or words that say what is wrong. Paths are made
 * absolute here, because a daemon works in "/". Nothing is opened.
 */
#include "program/options.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "program/cpus.h"
#include "base/number.h"

const char *options_set_path(void *into, const char *value)
{
	size_t len = 0;
	char *path = into;

	if (*value == '\0' || value[strlen(value) - 1] == '/')
		return "this is not a file name";
	if (*value != '/') {
		if (!getcwd(path, RUN_PATH_SIZE))
			return "the name of the current directory cannot be determined";
		len = strlen(path);
		if (len + 1 < RUN_PATH_SIZE)
			path[len++] = '/';
	}
	if (len + strlen(value) >= RUN_PATH_SIZE)
		return "longer than a path may be";
	strcpy(path + len, value);
	return NULL;
}

const char *options_set_log(void *into, const char *value)
{
	struct run_config *run = into;

	run->log_journal = !strcmp(value, "journal");
	return run->log_journal ? NULL : options_set_path(run->log_path, value);
}

const char *options_set_json(void *into, const char *value)
{
	struct run_config *run = into;

	(void)value;
	run->status = run->status_json = true;
	return NULL;
}

const char *options_set_workers(void *n, const char *value)
{
	return cpus_parse_workers(value, RUN_MAX_WORKERS, n);
}

const char *options_set_cpus(void *into, const char *value)
{
	struct run_config *run = into;

	return cpus_parse_list(value, run->cpus, RUN_MAX_CPUS, &run->n_cpus);
}

const char *options_set_interval(void *into, const char *value)
{
	uint64_t *interval = into;
	const char *wrong = number_parse_duration(value, 0, 24 * 3600 * NS_PER_SEC, interval);

	return wrong || *interval == 0 || *interval >= 100 * NS_PER_MS ? wrong
								       : "out of range (100ms to 24h)";
}

const char *options_set_user(void *user, const char *value)
{
	return sandbox_user_parse(user, value);
}

const char *options_set_port(void *into, const char *value)
{
	uint64_t port = 0;
	const char *wrong = number_parse(value, 1, 65535, &port);

	*(uint16_t *)into = (uint16_t)port;
	return wrong;
}

const char *options_unused_number(void *none, const char *value)
{
	uint64_t n;

	(void)none;
	return number_parse(value, 0, UINT32_MAX, &n);
}

const char *options_unused(void *none, const char *value)
{
	(void)none;
	(void)value;
	return NULL;
}

void options_ignore(struct run_config *run, const char *what, const char *instead)
{
	char line[RUN_IGNORED_LEN];

	snprintf(line, sizeof(line), "option %s ignored: %s", what, instead);
	for (unsigned i = 0; i < run->n_ignored; i++)
		if (!strcmp(run->ignored[i], line))
			return;
	if (run->n_ignored < RUN_MAX_IGNORED)
		strcpy(run->ignored[run->n_ignored++], line);
}

void options_ignored(void *config, char letter, const char *instead)
{
	const char what[] = { '-', letter, ' ', 'i', 's', '\0' };

	options_ignore(config, what, instead);
}

int options_check(const struct args_program *program, const struct run_config *run)
{
	if (run->log_path[0] && !strcmp(run->log_path, run->pid_path))
		return args_error(program, 'P', run->pid_path, "is also the log file");
	if (run->report_path[0] && !strcmp(run->report_path, run->log_path))
		return args_error(program, 'l', run->log_path, "is also the file of --report");
	if (run->report_path[0] && !strcmp(run->report_path, run->pid_path))
		return args_error(program, 'P', run->pid_path, "is also the file of --report");
	if (run->busy_poll && cpus_usable() < 2)
		return args_error_named(program, "busy-poll", NULL,
					"would leave nothing of the only CPU that this process may use; "
					"accepted: where it may use two or more");
	return -1;
}
