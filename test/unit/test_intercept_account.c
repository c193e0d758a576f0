/* The account of intercept: its table is whole, its page and its JSON say the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "account_test.h"
#include "intercept/report/account.h"

static void table(void **state)
{
	(void)state;
	account_test_table(&account_table);
	assert_int_equal(account_table.n_rows, ACCOUNT_ROWS);
}

static void document(void **state)
{
	(void)state;
	account_test_document(&account_table);
}

static void json(void **state)
{
	static uint64_t row[ACCOUNT_ROWS];

	(void)state;
	row[ROW_CAPTURE_packets] = 3;
	row[ROW_PARSE_OK] = 3;
	row[ROW_SEGMENTS_forwarded] = 2;
	row[ROW_WAITING_early] = 1;
	account_test_json(&account_table, row);
	row[ROW_WAITING_early] = 0; /* a difference is said, too */
	account_test_json(&account_table, row);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table),
		cmocka_unit_test(document),
		cmocka_unit_test(json),
	};

	if (argc > 1 && !strcmp(argv[1], "document")) {
		account_document(&account_table, stdout);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
