/* Workers: whose thread runs what, on which object, before the start, meanwhile and after the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "program/workers.h"

#define COUNT 3

static struct run_config run;
static struct workers *w;
static struct object {
	pthread_t thread; /* that was here last */
	unsigned number, calls, idle, letters[100], n_letters;
} object[COUNT];

static void on_idle(void *worker)
{
	struct object *o = worker;

	o->thread = pthread_self();
	__atomic_add_fetch(&o->idle, 1, __ATOMIC_RELEASE);
}

static void begin(bool busy)
{
	char err[200] = "";

	run = (struct run_config){ .workers = COUNT, .busy_poll = busy };
	memset(object, 0, sizeof(object));
	w = workers_new(&run, on_idle, err, sizeof(err));
	assert_non_null(w);
	assert_int_equal(workers_count(w), COUNT);
	for (unsigned i = 0; i < COUNT; i++) {
		assert_non_null(workers_base(w, i));
		object[i].number = i;
		workers_give(w, i, &object[i]);
	}
}

static void start(void)
{
	char err[200] = "";

	assert_int_equal(workers_start(w, err, sizeof(err)), 0);
}

static void count(void *worker, void *sum)
{
	struct object *o = worker;

	o->thread = pthread_self();
	o->calls++;
	*(unsigned *)sum = *(unsigned *)sum * 10 + o->number + 1;
}

/* Each object once, in order. */
static void collect(void)
{
	unsigned order = 0;

	workers_collect(w, count, &order);
	assert_int_equal(order, 123);
}

static void before_meanwhile_and_after(void **state)
{
	pthread_t threads[COUNT];

	(void)state;
	begin(false);
	collect();
	for (unsigned i = 0; i < COUNT; i++)
		assert_true(pthread_equal(object[i].thread, pthread_self()));
	start();
	collect();
	for (unsigned i = 0; i < COUNT; i++) {
		threads[i] = object[i].thread;
		assert_false(pthread_equal(threads[i], pthread_self()));
		for (unsigned k = 0; k < i; k++)
			assert_false(pthread_equal(threads[i], threads[k]));
	}
	collect();
	for (unsigned i = 0; i < COUNT; i++)
		assert_true(pthread_equal(object[i].thread, threads[i]));
	workers_stop(w);
	collect();
	for (unsigned i = 0; i < COUNT; i++) {
		assert_true(pthread_equal(object[i].thread, pthread_self()));
		assert_int_equal(object[i].calls, 4);
	}
	workers_free(w);
}

static void on_letter(void *worker, const void *data)
{
	struct object *o = worker;

	o->thread = pthread_self();
	memcpy(&o->letters[o->n_letters++], data, sizeof(unsigned));
}

static void letters(void **state)
{
	(void)state;
	begin(false);
	for (unsigned n = 0; n < 50; n++) /* before the start they wait */
		assert_true(workers_post(w, n % COUNT, on_letter, &n, sizeof(n)));
	assert_int_equal(object[0].n_letters, 0);
	start();
	for (unsigned n = 50; n < 100; n++)
		assert_true(workers_post(w, n % COUNT, on_letter, &n, sizeof(n)));
	collect(); /* behind all of them */
	for (unsigned i = 0; i < COUNT; i++) {
		assert_int_equal(object[i].n_letters, (100 - i + COUNT - 1) / COUNT);
		for (unsigned k = 0; k < object[i].n_letters; k++)
			assert_int_equal(object[i].letters[k], i + k * COUNT);
		assert_false(pthread_equal(object[i].thread, pthread_self()));
	}
	workers_free(w); /* which stops them */
}

static void busy_workers_never_sleep(void **state)
{
	(void)state;
	begin(true);
	start();
	for (unsigned i = 0; i < COUNT; i++)
		while (__atomic_load_n(&object[i].idle, __ATOMIC_ACQUIRE) < 3)
			sched_yield();
	collect();
	workers_stop(w);
	for (unsigned i = 0; i < COUNT; i++)
		assert_false(pthread_equal(object[i].thread, pthread_self()));
	workers_free(w);
}

static void never_started(void **state)
{
	(void)state;
	begin(false);
	workers_stop(w);
	workers_free(w);
	workers_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(before_meanwhile_and_after),
		cmocka_unit_test(letters),
		cmocka_unit_test(busy_workers_never_sleep),
		cmocka_unit_test(never_started),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
