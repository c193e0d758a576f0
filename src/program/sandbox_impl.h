#ifndef PROGRAM_SANDBOX_IMPL_H
#define PROGRAM_SANDBOX_IMPL_H

#include <stdint.h>

#include "program/sandbox.h"

/* Shared by the sandbox's own files; no other file includes it. */

/* --- sandbox.c: what the programs still need --- */

struct sandbox_path {
	char path[4096];
	uint64_t access; /* LANDLOCK_ACCESS_FS_* */
};

/* --- sandbox_landlock.c --- */

#define SANDBOX_MAX_PATHS 16

/*
 * Accesses of Landlock: what a file that is only read needs, one that is made anew and removed, and those of
 * a series beyond being written to.
 */
extern const uint64_t sandbox_access_read, sandbox_access_write, sandbox_access_series;

/* The version of this kernel's Landlock; less than 1: it has none. */
long sandbox_landlock_version(void);

/*
 * Confine this thread, and those that it starts, to @n paths, to connections to the TCP ports whose bits are
 * set in @ports (65536 bits; NULL: none), and to signals and abstract sockets of its own process; each as
 * far as Landlock of @version can, which the kernel must have. With @signals they may leave it. Returns false
 * where there is none.
 */
bool sandbox_restrict_landlock(long version, const struct sandbox_path *kept, unsigned n,
			       const uint8_t *ports, bool signals);

/* --- sandbox_calls.c --- */

/*
 * Confine the process to the calls @names (NULL at the end); or, if @names is NULL, to those of all modules
 * and the harmless forms of some others. Returns 0 or a negative errno.
 */
int sandbox_restrict_calls(const char *const *names);

/* Load the filter @ctx, a scmp_filter_ctx, for all threads. Returns 0 or a negative errno. */
int sandbox_load(void *ctx);

/* --- sandbox_sockets.c --- */

/*
 * Refuse to sockets that are open now what they are not for. Call it before sandbox_restrict_landlock() and
 * sandbox_restrict_calls(), when all that stays is open. Returns 0 or a negative errno.
 */
int sandbox_restrict_sockets(void);

/*
 * After sandbox_restrict_sockets(): let sendmmsg() through in the filter @ctx, for the sockets that inject
 * packets. Returns 0 or a negative errno.
 */
int sandbox_allow_sending(void *ctx);

#endif
