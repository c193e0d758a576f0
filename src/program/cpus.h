#ifndef PROGRAM_CPUS_H
#define PROGRAM_CPUS_H

/* Option values about CPUs. Each returns NULL, or what is wrong in words, which may be args_wrong()'s. */

/*
 * A number of workers from 1 to @max, or "auto": as many as there are processors that this process may use,
 * at most 8.
 */
const char *cpus_parse_workers(const char *value, unsigned max, unsigned *workers);

/* "0,2-3": processors that this process may use, in the order given. Fills *n and at most @max. */
const char *cpus_parse_list(const char *value, unsigned list[], unsigned max, unsigned *n);

#endif
