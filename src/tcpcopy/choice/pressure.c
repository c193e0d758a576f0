/*
 * What a host has left - theory of operation
 *
 * In: the texts of /proc/stat and /proc/pressure/memory (proc_stat(5), Documentation/accounting/psi.rst).
 * Out: numbers. The kernel counts ticks of each CPU by what they went for; what is neither idle nor
 * waiting for a disk is busy, also what the hypervisor took for others (steal), for the service cannot
 * have that, either. A guest's ticks are in the user's already.
 */
#include "tcpcopy/choice/pressure.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

#define ALL 100000000ull /* 100 % */

bool pressure_cpu(struct pressure_cpu *t, const char *text)
{
	uint64_t user, nice, system, idle, iowait = 0, irq = 0, softirq = 0, steal = 0;

	if (strncmp(text, "cpu ", 4) != 0 ||
	    sscanf(text,
		   "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
		   " %" SCNu64,
		   &user, &nice, &system, &idle, &iowait, &irq, &softirq, &steal) < 4)
		return false;
	t->busy = user + nice + system + irq + softirq + steal;
	t->all = t->busy + idle + iowait;
	return true;
}

bool pressure_cpu_share(const struct pressure_cpu *then, const struct pressure_cpu *now, uint64_t *share)
{
	/* iowait may go back by a little (proc_stat(5)) */
	const uint64_t all = now->all > then->all ? now->all - then->all : 0;
	const uint64_t busy = now->busy > then->busy ? now->busy - then->busy : 0;

	if (!all)
		return false;
	*share = MIN(ALL, (uint64_t)((double)busy / (double)all * (double)ALL + 0.5));
	return true;
}

bool pressure_memory(uint64_t *share, const char *text)
{
	unsigned whole, hundredths;

	if (sscanf(text, "some avg10=%3u.%2u ", &whole, &hundredths) != 2)
		return false;
	*share = MIN(ALL, (uint64_t)whole * (ALL / 100) + (uint64_t)hundredths * (ALL / 10000));
	return true;
}
