#ifndef TEST_CONFIG_WORDS_H
#define TEST_CONFIG_WORDS_H

#include "tcpcopy/config/config.h"

#define RULE "6379-10.90.109.143:6379"
#define ASSISTANT "10.90.110.143"

/* What the last config_words() wrote to standard error. */
extern char said[16384];

/*
 * config_parse() of @words, a NULL-terminated argv without the program's name. Standard error goes to said[].
 * Returns what config_parse() does.
 */
int config_words(struct config *c, const char *const *words);
#define PARSE(...) config_words(&c, (const char *const[]){ __VA_ARGS__, NULL })

void assert_said(const char *text);

/* It was refused in one line, with option, value (NULL: without one) and what is accepted. */
void assert_refused(int status, const char *option, const char *value, const char *why);

/* @port: host byte order. */
struct endpoint endpoint(const char *address, uint16_t port);
void assert_endpoint(const struct endpoint *e, const char *address, uint16_t port);

#endif
