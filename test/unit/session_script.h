#ifndef SESSION_SCRIPT_H
#define SESSION_SCRIPT_H

#include <stdbool.h>
#include <stdio.h>

/*
 * Run the script @path (test/script/README.md describes the language). False when it failed; then
 * @out has file:line, what was expected, what was seen, and everything that happened up to there.
 */
bool session_script_run(const char *path, FILE *out);

#endif
