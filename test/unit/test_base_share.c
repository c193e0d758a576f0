/* Shares: the largest is found, whatever has grown, shrunk, come and gone, and at each level. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/share.h"
#include "base/util.h"

static uint64_t state = 88172645463325252ull;

static uint32_t next_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 16);
}

static void small_ones_in_turn(void **unused)
{
	struct share_whole whole;
	struct share s[3] = { { .amount = 0 } };

	(void)unused;
	share_whole_init(&whole, 1);
	assert_null(share_largest(&whole));
	for (int i = 0; i < 3; i++)
		share_enter(&s[i], &whole, SHARE_SMALL - 1);
	assert_ptr_equal(share_largest(&whole), &s[0]);
	share_set(&s[1], SHARE_SMALL);
	assert_ptr_equal(share_largest(&whole), &s[1]);
	share_set(&s[1], 1); /* behind the others now */
	assert_ptr_equal(share_largest(&whole), &s[0]);
	share_leave(&s[0]);
	assert_ptr_equal(share_largest(&whole), &s[2]);
	share_leave(&s[2]);
	assert_ptr_equal(share_largest(&whole), &s[1]);
	share_leave(&s[1]);
	share_leave(&s[1]);
	assert_null(share_largest(&whole));
	assert_int_equal(whole.share.amount, 0);
}

static void found_among_many(void **unused)
{
	static struct share_whole all, part[7];
	static struct share s[7][200];

	(void)unused;
	share_whole_init(&all, 1);
	for (size_t p = 0; p < ARRAY_SIZE(part); p++) {
		share_whole_init(&part[p], 2);
		share_enter(&part[p].share, &all, 0);
	}
	for (int step = 0; step < 100000; step++) {
		struct share_whole *w = &part[next_random() % ARRAY_SIZE(part)];
		struct share *one = &s[w - part][next_random() % ARRAY_SIZE(s[0])], *largest;
		uint32_t most = 0, sum = 0, amount = next_random() % (1u << next_random() % 16);

		if (!one->of)
			share_enter(one, w, amount);
		else if (next_random() % 4)
			share_set(one, amount);
		else
			share_leave(one);
		if (step % 16)
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(s[0]); i++) {
			most = MAX(most, s[w - part][i].amount);
			sum += s[w - part][i].amount;
		}
		assert_int_equal(w->share.amount, sum);
		largest = share_largest(w);
		if (largest)
			assert_true(largest->amount + MAX(largest->amount / 8, SHARE_SMALL) >= most);
		most = sum = 0;
		for (size_t p = 0; p < ARRAY_SIZE(part); p++) {
			most = MAX(most, part[p].share.amount);
			sum += part[p].share.amount;
		}
		assert_int_equal(all.share.amount, sum);
		largest = share_largest(&all);
		assert_true(largest->amount + MAX(largest->amount / 8, SHARE_SMALL) >= most);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_ones_in_turn),
		cmocka_unit_test(found_among_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
