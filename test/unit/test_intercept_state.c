/*
 * The file of --state: an intercept that is started anew knows what the one before knew, however
 * many workers either has; and what is not ours is neither read nor written.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "intercept/watch/state.h"

static const struct siphash_key key = { 3, 4 };
static char directory[64], path[128], err[512];

static int make_directory(void **state)
{
	(void)state;
	strcpy(directory, "/tmp/test_intercept_state.XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/state", directory);
	return 0;
}

static int remove_directory(void **state)
{
	char name[160];

	(void)state;
	for (int i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), i ? "%s.%d" : "%s", path, i);
		unlink(name);
	}
	return rmdir(directory); /* nothing else was left there */
}

static struct tuple tuple_of(unsigned n)
{
	struct tuple t = { .src.port = 6379, .dst.port = (uint16_t)n };

	t.src.addr = addr_from_v4("\x0a\x5a\x6d\x8f");
	t.dst.addr.b[0] = 0xfd;
	t.dst.addr.b[15] = (uint8_t)n;
	return t;
}

static struct orphans *orphans_of(unsigned from, unsigned to, uint64_t now)
{
	struct orphans *o = orphans_new(&key);
	struct addr host = addr_from_v4("\x0a\x5a\x6f\x8e");

	for (unsigned n = from; n < to; n++) {
		struct tuple t = tuple_of(n);

		orphans_add(o, &t, &host, 0, now);
	}
	return o;
}

static void save(unsigned worker, struct orphans *o, uint64_t now)
{
	struct state *s = state_open(path, worker, err, sizeof(err));

	assert_non_null(s);
	state_save(s, o, now);
	state_close(s);
	orphans_free(o);
}

static void take(const struct orphan *x, void *arg)
{
	orphans_add(arg, &x->tuple, &x->owner, 0, x->since);
}

static struct orphans *loaded(uint64_t now)
{
	struct orphans *o = orphans_new(&key);

	state_load(path, now, take, o);
	return o;
}

static bool has(struct orphans *o, unsigned n, uint64_t now)
{
	struct tuple t = tuple_of(n);
	struct addr owner;

	return orphans_due(o, &t, now, &owner) && owner.b[15] == 0x8e && owner.b[12] == 0x0a;
}

static void who_is_started_anew_knows(void **state)
{
	const uint64_t now = 100 * NS_PER_SEC, after_boot = 2 * NS_PER_SEC;
	struct orphans *o;

	(void)state;
	save(0, orphans_of(1, 4, now), now + 10 * NS_PER_SEC); /* lost ten seconds ago */
	save(2, orphans_of(10, 12, now), now);
	o = loaded(now);
	for (unsigned n = 1; n < 4; n++)
		assert_true(has(o, n, now)); /* its grace has passed already */
	assert_false(has(o, 4, now));
	assert_false(has(o, 10, now)); /* has grace, from when it was lost */
	assert_true(has(o, 10, now + ORPHAN_GRACE_NS));
	assert_true(has(o, 11, now + ORPHAN_GRACE_NS));
	orphans_free(o);
	o = loaded(after_boot); /* clocks of the kernel begin anew */
	assert_true(has(o, 10, after_boot + ORPHAN_GRACE_NS));
	orphans_free(o);
	state_remove_others(path, 1);
	o = loaded(now);
	assert_true(has(o, 3, now));
	assert_false(has(o, 10, now + ORPHAN_GRACE_NS));
	orphans_free(o);
}

static void what_is_an_hour_old_is_left_out(void **state)
{
	const uint64_t now = 2 * ORPHAN_LIFE_NS;
	struct orphans *o;

	(void)state;
	save(0, orphans_of(1, 2, now), now + ORPHAN_LIFE_NS + NS_PER_SEC);
	o = loaded(now);
	assert_int_equal(orphans_count(o), 0);
	orphans_free(o);
}

static off_t size_of(const char *name)
{
	struct stat st;

	return stat(name, &st) ? -1 : st.st_size;
}

static void written_when_something_changed(void **state)
{
	struct orphans *o = orphans_of(1, 3, 1);
	struct state *s = state_open(path, 0, err, sizeof(err));
	struct tuple t = tuple_of(1);
	off_t two, one;

	(void)state;
	state_save(s, o, 1);
	two = size_of(path);
	unlink(path);
	state_save(s, o, 2);
	assert_int_equal(size_of(path), -1);
	orphans_forget(o, &t);
	state_save(s, o, 3);
	one = size_of(path);
	assert_in_range(two - one, 40, 100);
	state_close(s);
	orphans_free(o);
}

/* The thread that reads packets only takes; a disk may make the other one wait. */
static void taking_touches_no_file(void **state)
{
	struct orphans *o = orphans_of(1, 3, 1);
	struct state *s = state_open(path, 0, err, sizeof(err));
	struct tuple t = tuple_of(1);
	off_t two;

	(void)state;
	state_save(s, o, 1);
	two = size_of(path);
	unlink(path);
	state_take(s, o, 2);
	state_write(s); /* nothing has changed */
	assert_int_equal(size_of(path), -1);
	orphans_forget(o, &t);
	state_take(s, o, 3);
	orphans_add(o, &t, &(struct addr){ 0 }, 0, 3);
	state_take(s, o, 3); /* instead of what was not written yet */
	assert_int_equal(size_of(path), -1);
	state_write(s);
	assert_int_equal(size_of(path), two);
	unlink(path);
	state_write(s); /* once */
	assert_int_equal(size_of(path), -1);
	state_close(s);
	orphans_free(o);
}

static void put(const char *bytes, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_int_equal(fwrite(bytes, 1, len, f), len);
	fclose(f);
}

static void what_is_not_ours_is_left_alone(void **state)
{
	static const char *const precious[] = { "x", "precious data that are longer than the head" };
	struct orphans *o;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(precious); i++) {
		put(precious[i], strlen(precious[i]));
		assert_null(state_open(path, 0, err, sizeof(err)));
		assert_non_null(strstr(err, "it is not a state file of intercept"));
		assert_non_null(strstr(err, "accepted: "));
		o = loaded(1);
		assert_int_equal(orphans_count(o), 0);
		orphans_free(o);
		assert_int_equal(size_of(path), strlen(precious[i]));
	}
	put("", 0); /* touched by the administrator, for its owner and mode */
	save(0, orphans_of(1, 2, 1), 1);
	assert_in_range(size_of(path), 60, 200);
	assert_null(state_open("/nonexistent/x", 0, err, sizeof(err)));
	assert_non_null(strstr(err, "--state \"/nonexistent/x\": No such file or directory; accepted: "));
}

/* Half a record, as of a copy that was broken off: the whole ones are taken. */
static void cut_short(void **state)
{
	struct orphans *o;

	(void)state;
	save(0, orphans_of(1, 4, 1), 1);
	assert_int_equal(truncate(path, size_of(path) - 10), 0);
	o = loaded(1);
	assert_int_equal(orphans_count(o), 2);
	orphans_free(o);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make_directory, remove_directory)
	const struct CMUnitTest tests[] = {
		TEST(who_is_started_anew_knows),      TEST(what_is_an_hour_old_is_left_out),
		TEST(written_when_something_changed), TEST(taking_touches_no_file),
		TEST(what_is_not_ours_is_left_alone), TEST(cut_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
