#ifndef PROGRAM_CONTROL_H
#define PROGRAM_CONTROL_H

#include <stdbool.h>
#include <stddef.h>

struct event_base;

/*
 * The local socket at which a running program says how it does, for --status. Its mode is 0600: whom it
 * answers is its owner and root.
 */
struct control;

/* The answer, to be freed; NULL: out of memory. */
typedef char *(*control_fn)(bool json, void *arg);

/*
 * Listen at @path, or for "" at one of our own below the directory of running programs, named after
 * @program and the process. Sockets there that a killed @program left are removed. NULL with words in @err.
 */
struct control *control_open(struct event_base *base, const char *program, const char *path, control_fn fn,
			     void *arg, char *err, size_t err_size);
const char *control_path(const struct control *c);
void control_close(struct control *c);

/*
 * Ask the running @program at @path, or for "" the only one of this machine, and print its answer. Returns
 * the exit status: 0; 1 after a line on stderr that says who was not reached and why, or which ones there
 * are to choose from.
 */
int control_ask(const char *program, const char *path, bool json);

#endif
