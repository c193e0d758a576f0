/*
 * The account of tcpcopy: its table is whole, its page and its JSON say the same, sums add up and
 * differences are seen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "account_test.h"
#include "tcpcopy/report/account.h"

static struct account one, sum;

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

/*
 * A worker that captured five packets: one fragment, one for no rule, three of a session that was lost with
 * 10 of its 30 bytes.
 */
static void fill(struct account *a)
{
	account_init(a);
	a->row[ROW_CAPTURE_let_in] = 7;
	a->row[ROW_CAPTURE_packets] = 5;
	a->row[ROW_CAPTURE_kernel_drops] = 2;
	a->row[ROW_PARSE_FRAGMENT] = 1;
	a->row[ROW_PARSE_OK] = 4;
	a->row[ROW_CLASSIFY_no_rule] = 1;
	a->row[ROW_CLASSIFY_given] = 3;
	a->row[ROW_ENGINE_captured_segments] = 3;
	a->row[ROW_ENGINE_captured_data] = 3;
	a->row[ROW_ENGINE_captured_bytes] = 30;
	a->row[ROW_ENGINE_acked_bytes] = 20;
	a->row[ROW_LOST_CAPTURE_HOLE] = 10;
	a->row[ROW_ENDED_CAPTURE_HOLE] = 1;
	a->row[ROW_ENGINE_sessions_opened] = 1;
	a->row[ROW_SPOKEN_HTTP1] = 1;
	a->spoken[0].sessions[PROTOCOL_HTTP1] = 1;
	a->row[ROW_EXCHANGE_all] = 4;
	a->row[ROW_EXCHANGE_same] = a->row[ROW_DIFFERENT_ABSENT] = a->row[ROW_NOT_COMPARABLE_HOLE] = 1;
	a->row[ROW_EXCHANGE_open] = 1;
	a->row[ROW_ANSWER_ENDED_REQUEST] = 2;
	a->row[ROW_ANSWER_ENDED_OVER] = 1;
	a->exchanges[0].different[EXCHANGE_ABSENT] = 1;
	a->row[ROW_ENGINE_missing_bytes] = 35;
	a->row[ROW_ENGINE_holes] = a->row[ROW_ENGINE_holes_given_up] = 1;
	hist_add(&a->lag, 1000);
	a->workers = 1;
	a->assistants_up = 2;
}

static unsigned balanced(const struct account *a)
{
	unsigned n = 0;
	uint64_t left, right;

	for (size_t i = 0; i < account_table.n_equations; i++)
		n += account_balanced(&account_table, a->row, &account_table.equations[i], &left, &right);
	return n;
}

static void equations(void **state)
{
	(void)state;
	fill(&one);
	assert_int_equal(balanced(&one), account_table.n_equations);
	one.row[ROW_PARSE_FRAGMENT]--;
	assert_int_equal(balanced(&one), account_table.n_equations - 1);
	one.row[ROW_LIVE_bytes]++;
	assert_int_equal(balanced(&one), account_table.n_equations - 2);
	one.row[ROW_NOT_COMPARABLE_HOLE]--;
	assert_int_equal(balanced(&one), account_table.n_equations - 3);
	one.row[ROW_ANSWER_ENDED_OVER]++;
	assert_int_equal(balanced(&one), account_table.n_equations - 4);
}

static void sums(void **state)
{
	(void)state;
	fill(&one);
	one.examples.ended[OUTCOME_CAPTURE_HOLE].time = 5;
	one.examples.differs[EXCHANGE_ABSENT].time = 7;
	one.examples.answer[EXCHANGE_ABSENT].online = 90;
	account_init(&sum);
	account_add(&sum, &one);
	one.examples.ended[OUTCOME_CAPTURE_HOLE].time = 4;
	one.examples.differs[EXCHANGE_ABSENT].time = 6;
	one.examples.answer[EXCHANGE_ABSENT].online = 80;
	one.assistants_up = 1;
	account_add(&sum, &one);
	assert_int_equal(sum.row[ROW_ENGINE_captured_bytes], 60);
	assert_int_equal(sum.lag.count, 2);
	assert_int_equal(sum.workers, 2);
	assert_int_equal(sum.spoken[0].sessions[PROTOCOL_HTTP1], 2);
	assert_int_equal(sum.assistants_up, 1);
	assert_int_equal(sum.examples.ended[OUTCOME_CAPTURE_HOLE].time, 5);
	assert_int_equal(sum.exchanges[0].different[EXCHANGE_ABSENT], 2);
	assert_int_equal(sum.examples.answer[EXCHANGE_ABSENT].online, 90);
	assert_int_equal(balanced(&sum), account_table.n_equations);
}

static void json(void **state)
{
	(void)state;
	fill(&one);
	account_test_json(&account_table, one.row);
	one.row[ROW_LIVE_bytes]++;
	account_test_json(&account_table, one.row);
}

static void print(void **state)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	(void)state;
	assert_non_null(to);
	fill(&one);
	one.row[ROW_PARSE_FRAGMENT]--;
	account_print(&account_table, one.row, to);
	fclose(to);
	assert_non_null(strstr(
		text,
		"packets captured + taken from the recording = all parse results: 5 = 4, DIFFERENCE 1\n"));
	assert_non_null(strstr(text, "sessions = ended + live: 1 = 1, balanced\n"));
	assert_non_null(strstr(
		text,
		"               1  capture-hole: part of the client's stream, or its end, was never captured\n"));
	assert_null(strstr(text, "IPv4 fragment"));
	free(text);
}

/* 35 bytes at 10 a segment: 4 packets, of which the kernel dropped 2. */
static void loss(void **state)
{
	struct account_loss l;

	(void)state;
	fill(&one);
	l = account_loss(&one);
	assert_int_equal(l.bytes, 35);
	assert_int_equal(l.packets, 4);
	assert_int_equal(l.upstream, 2);
	assert_int_equal(l.per_million, 4 * 1000000 / 7);
	one.row[ROW_ENGINE_missing_bytes] = 0;
	assert_int_equal(account_loss(&one).packets, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table), cmocka_unit_test(document), cmocka_unit_test(equations),
		cmocka_unit_test(sums),  cmocka_unit_test(json),     cmocka_unit_test(print),
		cmocka_unit_test(loss),
	};

	if (argc > 1 && !strcmp(argv[1], "document")) {
		account_document(&account_table, stdout);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
