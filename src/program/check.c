/*
 * The frame of --check.
 *
 * In: a table of functions. Out: a line on stdout for each finding, and an exit status. A line that is not
 * ok ends with its cure: a command to type and the host to type it on, because whoever reads it wants to get
 * on and not to read a manual. Each line is flushed at once, because the next check may wait for the network.
 */
#include "program/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void check_text(struct check_result *r, enum check_state state, const char *fmt, ...)
{
	va_list ap;

	r->state = state;
	va_start(ap, fmt);
	vsnprintf(r->text, sizeof(r->text), fmt, ap);
	va_end(ap);
}

void check_cure(struct check_result *r, const char *where, const char *fmt, ...)
{
	va_list ap;

	r->where = where;
	r->then[0] = '\0';
	va_start(ap, fmt);
	vsnprintf(r->cure, sizeof(r->cure), fmt, ap);
	va_end(ap);
}

void check_then(struct check_result *r, const char *fmt, ...)
{
	size_t n = strlen(r->then);
	va_list ap;

	n += (size_t)snprintf(r->then + n, sizeof(r->then) - n, "; if that does not help, type there: ");
	va_start(ap, fmt);
	if (n < sizeof(r->then))
		vsnprintf(r->then + n, sizeof(r->then) - n, fmt, ap);
	va_end(ap);
}

char *check_format(char *buf, size_t size, const struct check_result *r)
{
	if (r->where)
		snprintf(buf, size, "%s: on %s type: %s%s", r->text, r->where, r->cure, r->then);
	else
		snprintf(buf, size, "%s", r->text);
	return buf;
}

void check_say(struct check_report *report, const struct check_result *r)
{
	static const char *const word[] = { "ok", "warning", "broken" };
	char line[sizeof(*r)];

	report->warnings += r->state == CHECK_WARNING;
	report->broken += r->state == CHECK_BROKEN;
	if (report->quiet)
		return;
	printf("%-8s %-12s %s\n", word[r->state], report->topic, check_format(line, sizeof(line), r));
	fflush(stdout);
}

void check_note(struct check_report *report, enum check_state state, const char *fmt, ...)
{
	struct check_result r = { .state = state };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r.text, sizeof(r.text), fmt, ap);
	va_end(ap);
	check_say(report, &r);
}

int check_run(struct check_report *report, const struct check *checks, size_t n, void *arg)
{
	for (size_t i = 0; i < n; i++) {
		report->topic = checks[i].topic;
		checks[i].run(report, arg);
	}
	if (report->broken)
		printf("%u broken, %u warning%s\n", report->broken, report->warnings,
		       report->warnings == 1 ? "" : "s");
	else if (report->warnings)
		printf("nothing broken, %u warning%s\n", report->warnings, report->warnings == 1 ? "" : "s");
	else
		printf("all ok\n");
	return report->broken ? 1 : 0;
}

static bool listed(const char *const *list, const char *word)
{
	for (; list && *list; list++)
		if (!strcmp(*list, word))
			return true;
	return false;
}

/* Text that is cut where it does not fit. */
struct text {
	char *buf;
	size_t size, n;
};

static void add(struct text *t, const char *more)
{
	for (; *more && t->n + 1 < t->size; more++)
		t->buf[t->n++] = *more;
	t->buf[t->n] = '\0';
}

/* @word as the shell takes it for one word (POSIX, Shell Command Language 2.2.2). */
static void add_word(struct text *t, const char *word)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%";

	if (*word && !word[strspn(word, plain)]) {
		add(t, word);
		return;
	}
	add(t, "'");
	for (; *word; word++)
		add(t, *word == '\'' ? "'\\''" : (const char[]){ *word, '\0' });
	add(t, "'");
}

char *check_command(char *buf, size_t size, char *const *argv, const char *const *leave_out, const char *more)
{
	struct text t = { buf, size, 0 };

	buf[0] = '\0';
	for (char *const *word = argv; *word; word++) {
		if (listed(leave_out, *word))
			continue;
		if (t.n)
			add(&t, " ");
		add_word(&t, *word);
		if (word == argv && more) {
			add(&t, " ");
			add(&t, more);
		}
	}
	return buf;
}
