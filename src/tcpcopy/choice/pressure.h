#ifndef TCPCOPY_CHOICE_PRESSURE_H
#define TCPCOPY_CHOICE_PRESSURE_H

#include <stdbool.h>
#include <stdint.h>

/* How much of its CPUs and its memory a host has left, from the kernel's own words in /proc. */

/* Ticks since boot, of all CPUs together. */
struct pressure_cpu {
	uint64_t busy, all;
};

/* Take them from the text of /proc/stat. Returns false if it is not that. */
bool pressure_cpu(struct pressure_cpu *t, const char *text);

/*
 * What share of the time between *then and *now (later) the CPUs were busy, in millionths of a percent.
 * Returns false if no time has passed.
 */
bool pressure_cpu_share(const struct pressure_cpu *then, const struct pressure_cpu *now, uint64_t *share);

/*
 * From the text of /proc/pressure/memory: what share of the last 10 s some task waited for memory, in
 * millionths of a percent. Returns false if it is not that.
 */
bool pressure_memory(uint64_t *share, const char *text);

#endif
