#ifndef PROGRAM_CPUS_H
#define PROGRAM_CPUS_H

/*
 * Values of options about CPUs. Each function returns NULL, or words for what is wrong, perhaps
 * args_wrong()'s.
 */

/*
 * Parse a number of workers from 1 to @max, or "auto": the number of CPUs that this process may use, but at
 * most 8.
 */
const char *cpus_parse_workers(const char *value, unsigned max, unsigned *workers);

/*
 * Parse a list such as "0,2-3" of CPUs that this process may use. Fills @list in the order given, at most
 * @max entries, and sets *@n to their number.
 */
const char *cpus_parse_list(const char *value, unsigned list[], unsigned max, unsigned *n);

/* How many CPUs this process may use. */
unsigned cpus_usable(void);

#endif
