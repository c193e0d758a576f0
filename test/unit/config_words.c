/* Command lines given to the parser of tcpcopy, and what it says of them. */
#include "config_words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/mman.h>
#include <unistd.h>

#define MAX_WORDS 40

char said[16384];

/* @words: a NULL-terminated argv without the program's name. Standard error goes to said[]. */
int config_words(struct config *c, const char *const *words)
{
	char *argv[MAX_WORDS + 1] = { NULL };
	int argc = 0, status, i, saved = dup(STDERR_FILENO), memory = memfd_create("stderr", 0);
	ssize_t n;

	assert_true(saved >= 0 && memory >= 0);
	argv[argc++] = strdup("tcpcopy");
	while (*words && argc < MAX_WORDS)
		argv[argc++] = strdup(*words++);
	fflush(stderr);
	dup2(memory, STDERR_FILENO);
	status = config_parse(c, argc, argv);
	fflush(stderr);
	dup2(saved, STDERR_FILENO);
	n = pread(memory, said, sizeof(said) - 1, 0);
	said[n > 0 ? n : 0] = '\0';
	close(memory);
	close(saved);
	memset(c->pool_text, 0, sizeof(c->pool_text)); /* they point into argv */
	for (i = 0; i < argc; i++)
		free(argv[i]);
	return status;
}

void assert_said(const char *text)
{
	if (!strstr(said, text))
		fail_msg("\"%s\" is not in: %s", text, said);
}

/* One line, with option, value and what is accepted. */
void assert_refused(int status, const char *option, const char *value, const char *why)
{
	char head[512];

	if (status != 2)
		fail_msg("%s %s: status %d: %s", option, value ? value : "", status, said);
	if (value)
		snprintf(head, sizeof(head), "tcpcopy: option %s \"%s\": ", option, value);
	else
		snprintf(head, sizeof(head), "tcpcopy: option %s: ", option);
	assert_said(head);
	assert_said(why);
	assert_said("; accepted: ");
	assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
}

struct endpoint endpoint(const char *address, uint16_t port)
{
	struct endpoint e = { .port = port };

	assert_true(addr_parse(&e.addr, address));
	return e;
}

void assert_endpoint(const struct endpoint *e, const char *address, uint16_t port)
{
	struct endpoint want = endpoint(address, port);

	assert_true(endpoint_eq(e, &want));
}
