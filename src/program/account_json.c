/*
 * Accounts as JSON - theory of operation
 *
 * In: a table and counters. Out: jansson values, owned by the caller. Every row is there, zero or not, so
 * that a reader need not know which might be missing; and every equation with its two sides, for those who
 * do not want to add up by themselves. jansson remembers a failed allocation as a NULL that every further
 * call passes on, so one check at the end suffices.
 */
#include "program/account.h"

#include <jansson.h>

static json_t *rows(const struct account_table *t, const uint64_t *value)
{
	json_t *all = json_object();

	for (size_t i = 0; all && i < t->n_rows; i++) {
		const struct account_row *r = &t->rows[i];
		json_t *section = json_object_get(all, r->section);

		if (!section) {
			section = json_object();
			json_object_set_new(all, r->section, section);
		}
		json_object_set_new(section, r->key, json_integer((json_int_t)value[i]));
	}
	return all;
}

static json_t *equations(const struct account_table *t, const uint64_t *value)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < t->n_equations; i++) {
		const struct account_equation *q = &t->equations[i];
		uint64_t left, right;
		bool balanced = account_balanced(t, value, q, &left, &right);

		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:b}", "what", q->what,
						      "left", q->left, "right", q->right, "left_sum",
						      (json_int_t)left, "right_sum", (json_int_t)right,
						      "difference", (json_int_t)(left - right), "balanced",
						      (int)balanced));
	}
	return list;
}

struct json_t *account_json(const struct account_table *t, const uint64_t *value)
{
	return json_pack("{s:o, s:o}", "account", rows(t, value), "equations", equations(t, value));
}
