/*
 * Accounts - theory of operation
 *
 * In: a table of rows and equations, and an array of counters in the order of the rows. Out: sums, text.
 * Nothing here knows what is counted; tcpcopy and intercept each have a table. Equations are written in the
 * words of the report, as names of rows, and are looked up when a report is made: so what is printed, what
 * stands in the manual and what is checked cannot differ.
 */
#include "program/account.h"

#include <string.h>
#include <time.h>

#include "base/util.h"

/* Does the term of @len bytes name @r? */
static bool names(const char *term, size_t len, const struct account_row *r)
{
	size_t section = strlen(r->section);

	if (len < section + 2 || memcmp(term, r->section, section) || term[section] != '.')
		return false;
	term += section + 1;
	len -= section + 1;
	return (len == 1 && *term == '*') || (len == strlen(r->key) && !memcmp(term, r->key, len));
}

uint64_t account_sum(const struct account_table *t, const uint64_t *value, const char *terms, bool *unknown)
{
	uint64_t sum = 0;

	if (unknown)
		*unknown = false;
	while (*terms) {
		size_t len = strcspn(terms, " +");
		bool found = false;

		for (size_t i = 0; i < t->n_rows; i++)
			if (names(terms, len, &t->rows[i])) {
				sum += value[i];
				found = true;
			}
		if (unknown && !found)
			*unknown = true;
		terms += len;
		terms += strspn(terms, " +");
	}
	return sum;
}

bool account_balanced(const struct account_table *t, const uint64_t *value, const struct account_equation *q,
		      uint64_t *left, uint64_t *right)
{
	*left = account_sum(t, value, q->left, NULL);
	*right = account_sum(t, value, q->right, NULL);
	return *left == *right;
}

static void print_section(const struct account_table *t, const uint64_t *value,
			  const struct account_section *s, FILE *to)
{
	bool any = false;

	for (size_t i = 0; i < t->n_rows; i++) {
		if (strcmp(t->rows[i].section, s->name) || !value[i])
			continue;
		if (!any)
			fprintf(to, "%s:\n", s->text);
		any = true;
		fprintf(to, "  %14llu  %s\n", (unsigned long long)value[i], t->rows[i].text);
	}
}

void account_print(const struct account_table *t, const uint64_t *value, FILE *to)
{
	for (size_t i = 0; i < t->n_sections; i++)
		print_section(t, value, &t->sections[i], to);
	for (size_t i = 0; i < t->n_equations; i++) {
		const struct account_equation *q = &t->equations[i];
		uint64_t left, right;

		if (account_balanced(t, value, q, &left, &right))
			fprintf(to, "%s: %llu = %llu, balanced\n", q->what, (unsigned long long)left,
				(unsigned long long)right);
		else
			fprintf(to, "%s: %llu = %llu, DIFFERENCE %lld\n", q->what, (unsigned long long)left,
				(unsigned long long)right, (long long)(left - right));
	}
}

void account_document(const struct account_table *t, FILE *to)
{
	for (size_t s = 0; s < t->n_sections; s++) {
		fprintf(to, "\n`%s`: %s.\n\n| %s | |\n|---|---|\n", t->sections[s].name, t->sections[s].text,
			t->sections[s].name);
		for (size_t i = 0; i < t->n_rows; i++)
			if (!strcmp(t->rows[i].section, t->sections[s].name))
				fprintf(to, "| `%s` | %s |\n", t->rows[i].key, t->rows[i].text);
	}
	fprintf(to, "\n| equation | |\n|---|---|\n");
	for (size_t i = 0; i < t->n_equations; i++)
		fprintf(to, "| %s | `%s = %s` |\n", t->equations[i].what, t->equations[i].left,
			t->equations[i].right);
}

char *account_time(uint64_t ago, char out[ACCOUNT_TIME_LEN])
{
	time_t t = time(NULL) - (time_t)(ago / NS_PER_SEC);
	struct tm tm;

	localtime_r(&t, &tm);
	strftime(out, ACCOUNT_TIME_LEN, "%Y-%m-%dT%H:%M:%S%z", &tm);
	return out;
}
