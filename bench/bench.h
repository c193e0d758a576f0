#ifndef BENCH_H
#define BENCH_H

/*
 * What the micro benchmarks share. One line a figure on the standard output: name, value and unit,
 * with tabs between them; the value is the median of several runs. `bench_X WORD...` measures only
 * what has one of the words in its name. They print figures and judge nothing.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"

#define BENCH_RUNS 7

static int bench_words;
static char **bench_word;
static volatile uint64_t bench_sink; /* keeps the compiler from dropping the work */

static inline bool bench_wanted(const char *name)
{
	for (int i = 0; i < bench_words; i++)
		if (strstr(name, bench_word[i]))
			return true;
	return !bench_words;
}

/* The same for a group of figures whose names begin with @name. */
static inline bool bench_wanted_of(const char *name)
{
	for (int i = 0; i < bench_words; i++)
		if (!strncmp(name, bench_word[i], MIN(strlen(name), strlen(bench_word[i]))))
			return true;
	return !bench_words;
}

static inline uint64_t bench_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* others may use the processor, too */
	return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

static inline void bench_print(const char *name, double value, const char *unit)
{
	printf("%s\t%.1f\t%s\n", name, value, unit);
	fflush(stdout);
}

static int bench_order(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static inline double bench_median(double *x, size_t n)
{
	qsort(x, n, sizeof(*x), bench_order);
	return x[n / 2];
}

/* ns for each of @n operations that one fn(arg, n) does. */
static inline void bench_run(const char *name, void (*fn)(void *arg, unsigned n), void *arg, unsigned n)
{
	double ns[BENCH_RUNS];

	if (!bench_wanted(name))
		return;
	fn(arg, n / 4); /* warm */
	for (int i = 0; i < BENCH_RUNS; i++) {
		uint64_t start = bench_now();

		fn(arg, n);
		ns[i] = (double)(bench_now() - start) / n;
	}
	bench_print(name, bench_median(ns, BENCH_RUNS), "ns");
}

/* Bytes of memory that the process has. */
static inline size_t bench_resident(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;

	if (!f || fscanf(f, "%*u %lu", &pages) != 1)
		abort();
	fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static inline uint32_t bench_random(void)
{
	static uint64_t x = 88172645463325252ull;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)(x >> 32);
}

#endif
