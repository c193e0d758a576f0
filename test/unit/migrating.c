/* doc/MIGRATING.md: its rows, for the tests of both programs. */
#include "migrating.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* The @n-th cell of a line of a table, without blanks and backticks around it. */
static void cell(const char *line, unsigned n, char *out, size_t size)
{
	const char *end;

	for (unsigned i = 0; i <= n; i++) {
		line = strchr(line, '|');
		assert_non_null(line);
		line++;
	}
	end = strchr(line, '|');
	assert_non_null(end);
	while (line < end && strchr(" `", *line))
		line++;
	while (end > line && strchr(" `", end[-1]))
		end--;
	assert_true((size_t)(end - line) < size);
	memcpy(out, line, (size_t)(end - line));
	out[end - line] = '\0';
}

static void split(struct migrating_row *row)
{
	char *save, *word = strtok_r(row->typed, " ", &save);

	for (row->argc = 0; word; word = strtok_r(NULL, " ", &save)) {
		assert_true(row->argc < 39);
		row->argv[row->argc++] = word;
	}
	row->argv[row->argc] = NULL;
}

size_t migrating_rows(const char *program, struct migrating_row rows[MIGRATING_MAX])
{
	FILE *f = fopen(TEST_DIR "/../doc/MIGRATING.md", "r");
	char line[2000], head[40];
	int here = 0;
	size_t n = 0;

	assert_non_null(f);
	snprintf(head, sizeof(head), "## %s\n", program);
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "## ", 3))
			here = !strcmp(line, head);
		if (!here || strncmp(line, "| `-", 4) != 0)
			continue;
		assert_true(n < MIGRATING_MAX);
		cell(line, 0, rows[n].option, sizeof(rows[n].option));
		cell(line, 2, rows[n].here, sizeof(rows[n].here));
		cell(line, 3, rows[n].typed, sizeof(rows[n].typed));
		split(&rows[n]);
		assert_string_equal(rows[n].argv[0], program);
		n++;
	}
	fclose(f);
	assert_true(n > 0);
	return n;
}

void migrating_complete(const struct migrating_row *rows, size_t n, const char *const *options)
{
	for (size_t i = 0; i < n && options[i]; i++)
		assert_string_equal(rows[i].option, options[i]);
	if (options[n])
		fail_msg("doc/MIGRATING.md has no row of %s", options[n]);
}

void migrating_judge(const struct migrating_row *row, int status, const char *said, unsigned ignored)
{
	const int shows = !strcmp(row->option, "-h") || !strcmp(row->option, "-v");
	const unsigned expected = !strncmp(row->here, "ignored: ", 9);

	if (!strncmp(row->here, "not yet", 7)) {
		if (status != 2)
			fail_msg("%s is there by now, and doc/MIGRATING.md says it is not", row->option);
		return;
	}
	if (status != (shows ? 0 : -1) || *said)
		fail_msg("%s: status %d: %s", row->option, status, said);
	if (ignored != expected)
		fail_msg("%s: %u lines say that it is ignored", row->option, ignored);
}
