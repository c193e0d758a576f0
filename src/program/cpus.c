/*
 * CPUs in the values of options.
 *
 * In: text. Out: CPU numbers that this process may use, as its affinity says, which taskset, a container's
 * cpuset or the service manager may have narrowed. So a number that would have no effect later is refused at
 * once, and "auto" does not count CPUs that are not ours.
 */
#include "program/cpus.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program/args.h"
#include "base/number.h"
#include "base/util.h"

#define AUTO_MOST 8u

static void allowed(cpu_set_t *set)
{
	CPU_ZERO(set);
	if (sched_getaffinity(0, sizeof(*set), set) < 0)
		CPU_SET(0, set);
}

unsigned cpus_usable(void)
{
	cpu_set_t set;

	allowed(&set);
	return (unsigned)CPU_COUNT(&set);
}

const char *cpus_parse_workers(const char *value, unsigned max, unsigned *workers)
{
	const char *wrong;
	uint64_t n = 0;

	if (!strcmp(value, "auto")) {
		*workers = MIN(cpus_usable(), AUTO_MOST);
		return NULL;
	}
	wrong = number_parse(value, 1, max, &n);
	*workers = (unsigned)n;
	return wrong;
}

/* What @set holds, as "0-3,8". */
static void format(char *out, size_t size, const cpu_set_t *set)
{
	size_t len = 0;

	out[0] = '\0';
	for (int i = 0; i < CPU_SETSIZE && len < size; i++) {
		int first = i;

		if (!CPU_ISSET(i, set))
			continue;
		while (i + 1 < CPU_SETSIZE && CPU_ISSET(i + 1, set))
			i++;
		len += (size_t)snprintf(out + len, size - len, i > first ? "%s%d-%d" : "%s%d", len ? "," : "",
					first, i);
	}
}

/* One number at *@text, which is moved behind it. */
static bool take_number(const char **text, unsigned *n)
{
	char *end;
	unsigned long value;

	if (**text < '0' || **text > '9')
		return false;
	value = strtoul(*text, &end, 10);
	*text = end;
	*n = value < CPU_SETSIZE ? (unsigned)value : CPU_SETSIZE;
	return true;
}

const char *cpus_parse_list(const char *value, unsigned list[], unsigned max, unsigned *n)
{
	const char *p = value;
	char usable[96];
	unsigned first, last;
	cpu_set_t set;

	allowed(&set);
	format(usable, sizeof(usable), &set);
	for (*n = 0;; p++) {
		if (!take_number(&p, &first))
			return "this is not a list of CPUs";
		last = first;
		if (*p == '-' && (p++, !take_number(&p, &last) || last < first))
			return "this is not a list of CPUs";
		for (; first <= last; first++) {
			if (first >= CPU_SETSIZE || !CPU_ISSET(first, &set))
				return args_wrong("CPU %u is not available; available: %s", first, usable);
			if (*n == max)
				return args_wrong("more than %u CPUs", max);
			list[(*n)++] = first;
		}
		if (*p == '\0')
			return NULL;
		if (*p != ',')
			return "this is not a list of CPUs";
	}
}
