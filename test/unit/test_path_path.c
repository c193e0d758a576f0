/* The size of packets on a way: what is proved, lost, searched for, tried again and told to others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/util.h"
#include "path/path.h"

#define NOW (100 * NS_PER_SEC)
#define AGAIN (PATH_AGAIN_S * NS_PER_SEC)

/* Sends a probe in place of a packet of @want bytes and loses it. Returns its size; 0: none may be sent. */
static uint32_t lose(struct path *p, uint32_t want, uint64_t now)
{
	uint32_t size = path_probe(p, want, now);

	if (!size)
		return 0;
	path_probe_sent(p);
	assert_int_equal(path_probe(p, want, now), 0); /* one at a time */
	path_probed(p, size, PATH_LOST, now);
	return size;
}

static void arrive(struct path *p, uint32_t size, uint64_t now)
{
	path_probe_sent(p);
	path_probed(p, size, PATH_ARRIVED, now);
}

static void the_ladder_ends_at_what_needs_no_proof(void **state)
{
	static const uint32_t v4[] = { 9000, 4400, 1500, 1400, 1300 },
			      v6[] = { 9000, 4400, 1500, 1400, 1300 };
	struct path p;

	(void)state;
	path_init(&p, false, 9000, false);
	assert_int_equal(p.limit, PATH_BASE_V4);
	for (unsigned i = 0; i < ARRAY_SIZE(v4); i++)
		assert_int_equal(lose(&p, 9000, NOW), v4[i]);
	assert_int_equal(lose(&p, 9000, NOW), 0);
	assert_int_equal(p.limit, PATH_BASE_V4);
	assert_int_equal(p.lost, 1300);
	path_init(&p, true, 9000, false);
	assert_int_equal(p.limit, PATH_BASE_V6);
	for (unsigned i = 0; i < ARRAY_SIZE(v6); i++)
		assert_int_equal(lose(&p, 9000, NOW), v6[i]);
	assert_int_equal(lose(&p, 9000, NOW), 0);
	assert_int_equal(p.limit, PATH_BASE_V6);
}

static void what_arrives_is_the_limit(void **state)
{
	struct path p;

	(void)state;
	path_init(&p, false, 1500, false);
	arrive(&p, 1350, NOW);
	assert_int_equal(p.limit, 1350);
	assert_int_equal(path_probe(&p, 1350, NOW), 0);
	assert_int_equal(path_probe(&p, 1600, NOW), 1500); /* never more than the route takes */
	assert_int_equal(lose(&p, 1500, NOW), 1500);
	assert_int_equal(path_probe(&p, 1500, NOW), 1400);
	assert_int_equal(path_probe(&p, 1380, NOW), 1380); /* never more than there is to send */
	arrive(&p, 1400, NOW);
	assert_int_equal(p.limit, 1400);
	assert_true(p.narrow);
}

static void what_was_lost_is_tried_again_once_in_ten_minutes(void **state)
{
	struct path p;

	(void)state;
	path_init(&p, false, 1500, false);
	assert_int_equal(lose(&p, 1500, NOW), 1500);
	arrive(&p, 1400, NOW);
	assert_int_equal(path_probe(&p, 1500, NOW + AGAIN - 1), 0);
	assert_int_equal(lose(&p, 1500, NOW + AGAIN), 1500);
	assert_int_equal(p.limit, 1400);
	assert_int_equal(lose(&p, 1500, NOW + 2 * AGAIN - 1), 0);
	assert_int_equal(path_probe(&p, 1500, NOW + 2 * AGAIN), 1500);
	arrive(&p, 1500, NOW + 2 * AGAIN);
	assert_int_equal(p.limit, 1500);
	assert_false(p.narrow);
}

static void small_and_trusted_routes_need_no_probe(void **state)
{
	struct path p;

	(void)state;
	path_init(&p, false, 1100, false);
	assert_int_equal(p.limit, 1100);
	assert_int_equal(path_probe(&p, 1500, NOW), 0);
	path_init(&p, false, 1500, true);
	assert_int_equal(p.limit, 1500);
	assert_true(path_doubt(&p, 1500)); /* until they time out */
	assert_int_equal(p.limit, PATH_BASE_V4);
	assert_false(path_doubt(&p, 1200));
	assert_int_equal(path_probe(&p, 1500, NOW), 1500);
}

static void a_trial_is_for_what_needs_no_proof(void **state)
{
	struct path p;

	(void)state;
	path_init(&p, false, 1500, false);
	assert_int_equal(path_trial(&p, 1500), 0);
	assert_int_equal(path_trial(&p, 1200), PATH_LEAST_V4);
	assert_int_equal(path_trial(&p, PATH_LEAST_V4), 0);
	path_too_large(&p, 1200, NOW);
	assert_int_equal(p.limit, PATH_LEAST_V4);
	assert_int_equal(path_probe(&p, 1500, NOW), 1000);
	path_init(&p, true, 1500, false);
	assert_int_equal(path_trial(&p, 1280), 0);
}

static void another_route_is_another_way(void **state)
{
	struct path p, other;

	(void)state;
	path_init(&p, false, 1500, false);
	path_init(&other, false, 1500, false);
	assert_int_equal(lose(&p, 1500, NOW), 1500);
	path_learn(&other, &p);
	assert_int_equal(path_probe(&other, 1500, NOW), 1400);
	path_probe_sent(&other);
	path_learn(&other, &p); /* its own probe is still on its way */
	assert_true(other.probing);
	path_set_route(&p, 1500, false);
	assert_true(p.narrow);
	path_set_route(&p, 1400, false);
	assert_false(p.narrow);
	path_learn(&other, &p); /* of another MTU: it has not heard of that yet */
	assert_true(other.narrow);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_ladder_ends_at_what_needs_no_proof),
		cmocka_unit_test(what_arrives_is_the_limit),
		cmocka_unit_test(what_was_lost_is_tried_again_once_in_ten_minutes),
		cmocka_unit_test(small_and_trusted_routes_need_no_probe),
		cmocka_unit_test(a_trial_is_for_what_needs_no_proof),
		cmocka_unit_test(another_route_is_another_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
