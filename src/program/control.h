#ifndef PROGRAM_CONTROL_H
#define PROGRAM_CONTROL_H

#include <stdbool.h>
#include <stddef.h>

struct event_base;

/*
 * The local socket at which a running program tells its status, for --status. Its mode is 0600, so only its
 * owner and root can ask.
 */
struct control;

/* Returns the answer, which is freed afterwards; NULL if out of memory. */
typedef char *(*control_fn)(bool json, void *arg);

/*
 * Listen at @path and answer with what @fn returns, in @base's loop. If @path is "", the socket is in the
 * directory of running programs, named after @program and the process; sockets there that a killed @program
 * has left are removed. Returns NULL with words in @err on failure.
 */
struct control *control_open(struct event_base *base, const char *program, const char *path, control_fn fn,
			     void *arg, char *err, size_t err_size);

/* The path of the socket, which lasts as long as @c. */
const char *control_path(const struct control *c);

/* Close the socket and remove it. @c may be NULL. */
void control_close(struct control *c);

/*
 * Ask the running @program at @path, or for "" the only one on this host, and print its answer to stdout.
 * Returns the status to exit with: 0, or 1 after a line on stderr that says which program was not reached
 * and why, or which ones there are to choose from.
 */
int control_ask(const char *program, const char *path, bool json);

#endif
