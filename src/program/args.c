/*
 * A table-driven command line. The table says which options exist, and the same table makes the
 * usage and the error messages, so that the three cannot disagree.
 *
 * In: argv. Out: calls of the options' setters, in the order typed, with the value as typed. The
 * first error ends it: it is printed in one line that names the option, the value and what is
 * accepted.
 *
 * getopt_long() is not used, for what it lets through: it takes "-d" as the value in "-F -d",
 * abbreviates long names (so that a new option breaks old scripts), and cannot take the unquoted
 * words of a filter.
 */
#include "program/args.h"

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HELP_COLUMN 30
#define HELP_MAX 1000
#define TOPICS_MAX 300
#define WIDTH 79 /* of 80: some terminals wrap at the last column */

struct parse {
	const struct args_program *program;
	char **word, **end;
	void *into;
	unsigned char seen[ARGS_MAX];
};

struct joined {
	struct joined *next;
	char text[];
};

static struct joined *all_joined;

/* What the parser adds to each table. */
static const struct args_option own_options[] = {
	{ .letter = 'h',
	  .name = "help",
	  .value = "TOPIC",
	  .flags = ARGS_OPTIONAL | ARGS_FIRST,
	  .help = "print the most needed options or those of TOPIC, and exit; TOPIC all: all of them" },
	{ .letter = 'v', .name = "version", .help = "print the version and exit" },
};
static const struct args_option *const help_option = &own_options[0];
static const struct args_option *const version_option = &own_options[1];

/* The @i-th row of the table and then our own options; NULL after the last. */
static const struct args_option *option_at(const struct args_program *program, size_t i)
{
	if (i < program->count)
		return &program->options[i];
	i -= program->count;
	return i < ARRAY_SIZE(own_options) ? &own_options[i] : NULL;
}

static bool is_topic(const struct args_option *o)
{
	return o->flags & ARGS_TOPIC;
}

const char *args_wrong(const char *fmt, ...)
{
	static char text[512];
	char composed[sizeof(text)]; /* for text may be among the arguments */
	va_list args;

	va_start(args, fmt);
	vsnprintf(composed, sizeof(composed), fmt, args);
	va_end(args);
	return strcpy(text, composed);
}

const char *args_set_true(void *flag, const char *value)
{
	(void)value;
	*(bool *)flag = true;
	return NULL;
}

void args_free(void)
{
	struct joined *j;

	while ((j = all_joined)) {
		all_joined = j->next;
		free(j);
	}
}

#define NAME_MAX_LEN 40

/* @typed: the option as typed, with its dashes; @value NULL: there is none. */
static int complain(const struct args_program *program, const char *typed, const char *value,
		    const struct args_option *o, const char *wrong)
{
	const char *accepted = o ? (o->accepted ? o->accepted : o->value) : NULL;

	fprintf(stderr, "%s: option %s", program->name, typed);
	if (value)
		fprintf(stderr, " \"%s\"", value);
	fprintf(stderr, ": %s", wrong);
	if (accepted)
		fprintf(stderr, "; accepted: %s", accepted);
	fputc('\n', stderr);
	return 2;
}

static const struct args_option *by_letter(const struct args_program *program, char letter)
{
	const struct args_option *o;

	for (size_t i = 0; (o = option_at(program, i)); i++) {
		if (o->letter && o->letter == letter)
			return o;
	}
	return NULL;
}

static const struct args_option *by_name(const struct args_program *program, const char *name, size_t len)
{
	const struct args_option *o;

	for (size_t i = 0; (o = option_at(program, i)); i++) {
		if (!is_topic(o) && o->name && strlen(o->name) == len && strncmp(o->name, name, len) == 0)
			return o;
	}
	return NULL;
}

int args_error(const struct args_program *program, char letter, const char *value, const char *wrong)
{
	char typed[] = { '-', letter, '\0' };

	return complain(program, typed, value, by_letter(program, letter), wrong);
}

int args_error_named(const struct args_program *program, const char *name, const char *value,
		     const char *wrong)
{
	char typed[2 + NAME_MAX_LEN + 1];

	snprintf(typed, sizeof(typed), "--%s", name);
	return complain(program, typed, value, NULL, wrong);
}

/* --- nearest name --- */

/* Optimal string alignment: insertions, deletions, changes and swaps of neighbours, each 1. */
static unsigned distance(const char *a, size_t a_len, const char *b)
{
	unsigned rows[3][NAME_MAX_LEN + 1], *before = rows[0], *last = rows[1], *row = rows[2], *spare;
	size_t b_len = strlen(b);

	if (a_len > NAME_MAX_LEN || b_len > NAME_MAX_LEN)
		return NAME_MAX_LEN;
	for (size_t j = 0; j <= b_len; j++)
		before[j] = last[j] = (unsigned)j;
	for (size_t i = 1; i <= a_len; i++) {
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b_len; j++) {
			unsigned best = last[j - 1] + (a[i - 1] != b[j - 1]);

			best = MIN(best, last[j] + 1);
			best = MIN(best, row[j - 1] + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				best = MIN(best, before[j - 2] + 1);
			row[j] = best;
		}
		spare = before;
		before = last;
		last = row;
		row = spare;
	}
	return last[b_len];
}

/* The long name nearest to what was typed, if it is near enough to be meant: a third of it wrong,
 * or cut short. */
static const char *nearest(const struct args_program *program, const char *typed, size_t len)
{
	unsigned best = (unsigned)len / 3 + 1, d;
	const struct args_option *o;
	const char *name = NULL;

	for (size_t i = 0; (o = option_at(program, i)); i++) {
		if (!o->name || is_topic(o))
			continue;
		d = distance(typed, len, o->name);
		if (len >= 3 && strncmp(o->name, typed, len) == 0)
			d = 1;
		if (d < best || (d == best && !name)) {
			best = d;
			name = o->name;
		}
	}
	return name;
}

static int unknown(const struct parse *p, const char *typed, const char *suggestion)
{
	char wrong[160];

	if (suggestion)
		snprintf(wrong, sizeof(wrong), "unknown; did you mean %s? (%s --help all lists them)",
			 suggestion, p->program->name);
	else
		snprintf(wrong, sizeof(wrong), "unknown; accepted: those that %s --help all lists",
			 p->program->name);
	return complain(p->program, typed, NULL, NULL, wrong);
}

/* --- usage --- */

/* Prints @text from column @column on (the cursor is there), wrapped, later lines indented to
 * @indent. */
static void wrap(FILE *f, const char *text, unsigned column, unsigned indent)
{
	while (*text) {
		size_t len = strcspn(text, " \n");

		if (column > indent && column + len > WIDTH) {
			fprintf(f, "\n%*s", (int)indent, "");
			column = indent;
		}
		fwrite(text, 1, len, f);
		column += (unsigned)len;
		text += len;
		if (*text == '\n') {
			fprintf(f, "\n%*s", (int)indent, "");
			column = indent;
			text++;
		} else if (*text == ' ') {
			text++;
			if (column + 1 + strcspn(text, " \n") <= WIDTH) {
				fputc(' ', f);
				column++;
			} else {
				fprintf(f, "\n%*s", (int)indent, "");
				column = indent;
			}
		}
	}
	fputc('\n', f);
}

/* What of a help text is enough for -h: its first thought. */
static size_t first_thought(const char *help)
{
	return strcspn(help, ",;:[\n");
}

static void print_option(FILE *f, const struct args_option *o, bool brief)
{
	const size_t len = brief ? first_thought(o->help) : strlen(o->help);
	char help[HELP_MAX];
	int column;

	if (o->letter)
		column = fprintf(f, "  -%c%s", o->letter, o->name ? ", " : "");
	else
		column = fprintf(f, "      ");
	if (o->name)
		column += fprintf(f, "--%s", o->name);
	if (o->value)
		column += fprintf(f, o->flags & ARGS_OPTIONAL ? "[%s%s]" : "%s%s", o->name ? "=" : " ",
				  o->value);
	if (column > HELP_COLUMN - 2)
		column = fprintf(f, "\n") - 1;
	fprintf(f, "%*s", HELP_COLUMN - column, "");
	snprintf(help, sizeof(help), "%s%.*s", o->flags & ARGS_IGNORED ? "ignored: " : "", (int)len, o->help);
	if (brief && help[strlen(help) - 1] == ' ')
		help[strlen(help) - 1] = '\0';
	wrap(f, help, HELP_COLUMN, HELP_COLUMN);
}

/* Print the options of @topic, or all under their topics if it is NULL. False: there is no such topic. */
static bool print_topic(const struct args_program *program, const char *topic)
{
	const struct args_option *o;
	bool on = !topic, found = on;

	for (size_t i = 0; (o = option_at(program, i)); i++) {
		if (!is_topic(o)) {
			if (on)
				print_option(stdout, o, false);
			continue;
		}
		on = !topic || !strcmp(o->name, topic);
		found |= on;
		if (on)
			printf("%s%s: %s\n", topic ? "" : "\n", o->name, o->help);
	}
	return found;
}

/* The names of the topics, and all, as a list. */
static const char *topics(const struct args_program *program)
{
	static char list[TOPICS_MAX];
	const struct args_option *o;
	size_t n = 0;

	for (size_t i = 0; (o = option_at(program, i)) && n < sizeof(list); i++)
		if (is_topic(o))
			n += (size_t)snprintf(list + n, sizeof(list) - n, "%s, ", o->name);
	if (n < sizeof(list))
		snprintf(list + n, sizeof(list) - n, "all");
	return list;
}

static void print_brief(const struct args_program *program)
{
	const struct args_option *o;
	char more[TOPICS_MAX + 100];

	for (size_t i = 0; (o = option_at(program, i)); i++)
		if (o->flags & ARGS_FIRST)
			print_option(stdout, o, true);
	snprintf(more, sizeof(more), "TOPIC is one of %s. See also: man 8 %s", topics(program),
		 program->name);
	putchar('\n');
	wrap(stdout, more, 0, 0);
}

/* @topic NULL: the few. */
static int print_help(const struct args_program *program, const char *topic)
{
	const bool all = topic && !strcmp(topic, "all");
	const char *summary = program->summary ? program->summary : "", *stop = strstr(summary, ". ");
	char first[HELP_MAX];

	if (topic && !all) {
		if (print_topic(program, topic))
			return fflush(stdout) == 0 ? 0 : 1;
		fprintf(stderr, "%s: option --help \"%s\": there is no such topic; accepted: %s\n",
			program->name, topic, topics(program));
		return 2;
	}
	printf("Usage: %s OPTIONS\n", program->name);
	snprintf(first, sizeof(first), "%.*s",
		 all || !stop ? (int)strlen(summary) : (int)(stop - summary + 1), summary);
	if (*first)
		wrap(stdout, first, 0, 0);
	if (all) {
		print_topic(program, NULL);
	} else {
		putchar('\n');
		print_brief(program);
	}
	if (program->closing)
		printf("\n%s", program->closing);
	return fflush(stdout) == 0 ? 0 : 1;
}

/* --- parsing --- */

static bool looks_like_option(const char *word)
{
	return word[0] == '-' && word[1];
}

/* @first and the words that follow, up to the next option, as one string. */
static const char *join(struct parse *p, const char *first)
{
	size_t len = strlen(first) + 1;
	struct joined *j;
	char **w, *to;

	for (w = p->word; w < p->end && !looks_like_option(*w); w++)
		len += strlen(*w) + 1;
	if (w == p->word)
		return first;
	j = malloc(sizeof(*j) + len);
	if (!j) {
		fprintf(stderr, "%s: out of memory\n", p->program->name);
		exit(1);
	}
	j->next = all_joined;
	all_joined = j;
	to = stpcpy(j->text, first);
	for (; p->word < w; p->word++) {
		*to++ = ' ';
		to = stpcpy(to, *p->word);
	}
	return j->text;
}

/* Applies @o. @attached: the value that came in the same word, or NULL. */
static int apply(struct parse *p, const struct args_option *o, const char *typed, const char *attached)
{
	const char *value = attached, *wrong;
	bool dash_allowed = o->flags & ARGS_DASH;
	unsigned char *seen;

	if (o == version_option) {
		printf("%s %s\n", p->program->name, p->program->version);
		return fflush(stdout) == 0 ? 0 : 1;
	}
	if (o->flags & ARGS_OPTIONAL && !value) {
		if (p->word < p->end && !looks_like_option(*p->word))
			value = *p->word++;
	} else if (o->value && !value) {
		if (p->word == p->end)
			return complain(p->program, typed, NULL, o, "its value is missing");
		if (looks_like_option(*p->word) && !dash_allowed)
			return complain(p->program, typed, NULL, o,
					args_wrong("its value is missing, \"%s\" follows", *p->word));
		value = *p->word++;
	} else if (value && looks_like_option(value) && !dash_allowed) {
		return complain(p->program, typed, value, o, "its value must not begin with \"-\"");
	}
	if (o == help_option)
		return print_help(p->program, value);
	if (value && o->flags & ARGS_GREEDY)
		value = join(p, value);

	seen = &p->seen[o - p->program->options];
	if (*seen && !(o->flags & ARGS_REPEAT)) {
		if (!o->value)
			return -1; /* a flag that is on already */
		return complain(p->program, typed, value, NULL, "given twice; accepted: once");
	}
	*seen = 1;
	wrong = o->set((char *)p->into + o->at, value);
	while (!wrong && o->flags & ARGS_EACH && p->word < p->end && !looks_like_option(*p->word)) {
		value = *p->word++;
		wrong = o->set((char *)p->into + o->at, value);
	}
	if (!wrong && o->flags & ARGS_IGNORED && p->program->ignored)
		p->program->ignored(p->into, o->letter, o->help);
	return wrong ? complain(p->program, typed, value, o, wrong) : -1;
}

static int parse_long(struct parse *p, const char *word)
{
	size_t len = strcspn(word + 2, "=");
	const char *value = word[2 + len] ? word + 2 + len + 1 : NULL;
	const struct args_option *o = by_name(p->program, word + 2, len);
	char typed[NAME_MAX_LEN + 8], suggestion[NAME_MAX_LEN + 8];
	const char *near;

	snprintf(typed, sizeof(typed), "--%.*s", (int)MIN(len, (size_t)NAME_MAX_LEN), word + 2);
	if (!o) {
		near = nearest(p->program, word + 2, len);
		if (near)
			snprintf(suggestion, sizeof(suggestion), "--%s", near);
		return unknown(p, typed, near ? suggestion : NULL);
	}
	if (value && !o->value)
		return complain(p->program, typed, value, NULL, "takes no value; accepted: the option alone");
	return apply(p, o, typed, value);
}

static int parse_letters(struct parse *p, const char *word)
{
	char typed[] = { '-', 0, 0 }, suggestion[NAME_MAX_LEN + 8] = "";
	const char *near;
	int status = -1;

	/* "-filter", with one dash: would be taken for -f "ilter" */
	if (strlen(word) > 3 && by_name(p->program, word + 1, strcspn(word + 1, "="))) {
		snprintf(suggestion, sizeof(suggestion), "-%s", word);
		return unknown(p, word, suggestion);
	}
	for (const char *c = word + 1; *c && status < 0; c++) {
		const struct args_option *o = by_letter(p->program, *c);

		typed[1] = *c;
		if (!o) {
			near = NULL;
			if (c == word + 1 && strlen(c) > 2) /* a long name with one dash? */
				near = nearest(p->program, c, strcspn(c, "="));
			if (near)
				snprintf(suggestion, sizeof(suggestion), "--%s", near);
			else if (((*c | 0x20) >= 'a' && (*c | 0x20) <= 'z') &&
				 by_letter(p->program, *c ^ 0x20))
				snprintf(suggestion, sizeof(suggestion), "-%c", *c ^ 0x20);
			return unknown(p, near ? word : typed, *suggestion ? suggestion : NULL);
		}
		if (o->value && o != help_option) /* "-hx" is no topic, but two letters */
			return apply(p, o, typed, c[1] ? c + 1 : NULL);
		status = apply(p, o, typed, NULL);
	}
	return status;
}

/* Dashes that blogs and word processors make of "-": U+2010 to U+2015, U+2212. */
static bool typographic_dash(const char *word)
{
	const unsigned char *c = (const unsigned char *)word;

	return c[0] == 0xe2 &&
	       ((c[1] == 0x80 && c[2] >= 0x90 && c[2] <= 0x95) || (c[1] == 0x88 && c[2] == 0x92));
}

static int stray(const struct parse *p, const char *word)
{
	const char *program = p->program->name;

	if (typographic_dash(word))
		fprintf(stderr,
			"%s: argument \"%s\": begins with a typographic dash; accepted: \"-\", typed again\n",
			program, word);
	else
		fprintf(stderr,
			"%s: argument \"%s\": belongs to no option; accepted: options, which %s --help all "
			"lists\n",
			program, word, program);
	return 2;
}

int args_parse(const struct args_program *program, int argc, char **argv, void *into)
{
	struct parse p = { .program = program, .word = argv + (argc > 0), .end = argv + argc, .into = into };
	int status = -1;

	assert(program->count <= ARGS_MAX);
	while (p.word < p.end && status < 0) {
		const char *word = *p.word++;

		if (!looks_like_option(word))
			status = stray(&p, word);
		else if (word[1] != '-')
			status = parse_letters(&p, word);
		else if (word[2])
			status = parse_long(&p, word);
		else if (p.word < p.end) /* after "--" there are no options, thus nothing */
			status = stray(&p, *p.word);
	}
	return status;
}
