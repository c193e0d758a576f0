/* Tests of tables of accounts, for both programs. */
#include "account_test.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const struct account_section *section_of(const struct account_table *t, const char *name)
{
	for (size_t i = 0; i < t->n_sections; i++)
		if (!strcmp(t->sections[i].name, name))
			return &t->sections[i];
	return NULL;
}

void account_test_table(const struct account_table *t)
{
	uint64_t *none = calloc(t->n_rows, sizeof(*none));
	const struct account_section *last = t->sections;

	assert_non_null(none);
	for (size_t i = 0; i < t->n_rows; i++) {
		const struct account_row *r = &t->rows[i];
		const struct account_section *s;

		assert_true(r->section && r->key && r->text && *r->key && *r->text);
		s = section_of(t, r->section);
		assert_non_null(s);
		assert_true(s >= last); /* sections lie together, in their order */
		last = s;
		for (size_t j = 0; j < i; j++)
			if (!strcmp(r->section, t->rows[j].section) && !strcmp(r->key, t->rows[j].key))
				fail_msg("%s.%s stands there twice", r->section, r->key);
	}
	assert_ptr_equal(last, &t->sections[t->n_sections - 1]);
	for (size_t i = 0; i < t->n_equations; i++) {
		bool unknown;

		account_sum(t, none, t->equations[i].left, &unknown);
		if (unknown)
			fail_msg("a name in \"%s\" is not in the table", t->equations[i].left);
		account_sum(t, none, t->equations[i].right, &unknown);
		if (unknown)
			fail_msg("a name in \"%s\" is not in the table", t->equations[i].right);
	}
	free(none);
}

void account_test_document(const struct account_table *t)
{
	static char page[1 << 16];
	FILE *f = fopen(TEST_DIR "/../doc/ACCOUNT.md", "r");
	char *tables = NULL;
	size_t size;
	FILE *to = open_memstream(&tables, &size);

	assert_non_null(f);
	assert_non_null(to);
	page[fread(page, 1, sizeof(page) - 1, f)] = '\0';
	fclose(f);
	account_document(t, to);
	fclose(to);
	if (!strstr(page, tables))
		fail_msg("doc/ACCOUNT.md does not have these tables; the argument \"document\" prints them");
	free(tables);
}

static uint64_t of_json(json_t *account, const struct account_row *r)
{
	json_t *n = json_object_get(json_object_get(account, r->section), r->key);

	assert_true(json_is_integer(n));
	return (uint64_t)json_integer_value(n);
}

void account_test_json(const struct account_table *t, const uint64_t *value)
{
	json_t *made = account_json(t, value), *read, *account, *equations;
	char *text = json_dumps(made, 0);
	size_t rows = 0;

	assert_non_null(text);
	read = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(read);
	account = json_object_get(read, "account");
	for (void *i = json_object_iter(account); i; i = json_object_iter_next(account, i))
		rows += json_object_size(json_object_iter_value(i));
	assert_int_equal(rows, t->n_rows);
	for (size_t i = 0; i < t->n_rows; i++)
		assert_int_equal(of_json(account, &t->rows[i]), value[i]);
	equations = json_object_get(read, "equations");
	assert_int_equal(json_array_size(equations), t->n_equations);
	for (size_t i = 0; i < t->n_equations; i++) {
		json_t *q = json_array_get(equations, i);
		uint64_t left, right;
		bool balanced = account_balanced(t, value, &t->equations[i], &left, &right);

		assert_int_equal(json_integer_value(json_object_get(q, "left_sum")), left);
		assert_int_equal(json_integer_value(json_object_get(q, "right_sum")), right);
		assert_int_equal(json_is_true(json_object_get(q, "balanced")), balanced);
	}
	json_decref(made);
	json_decref(read);
	free(text);
}
