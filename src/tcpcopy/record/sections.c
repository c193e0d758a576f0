/*
 * What is said in a file that is written - theory of operation
 *
 * In: the configuration. Out: the blocks that begin each file, and a comment for each connection. So a file
 * says by itself where it comes from: the program and its version, the host, the process and the rules with
 * which it ran; of each packet its interface and direction; and at the packet that opens a connection, whose
 * session that is and by which rule.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "build/config.h"
#include "io/file/pcapng.h"
#include "program/account.h"
#include "tcpcopy/record/impl.h"

#define HEAD_BYTES (3 * PCAPNG_TEXT_MOST + RECORD_INTERFACES * (PCAPNG_TEXT_MOST + 256))

unsigned record_interface(struct record_interfaces *list, const char *name)
{
	unsigned i = 0;

	while (i < list->n && strcmp(list->name[i], name) != 0)
		i++;
	if (i == list->n && list->n < RECORD_INTERFACES)
		snprintf(list->name[list->n++], sizeof(list->name[0]), "%s", name);
	return MIN(i, RECORD_INTERFACES - 1);
}

static void describe(const struct config *c, char *text, size_t size)
{
	char host[65] = "", when[ACCOUNT_TIME_LEN];
	size_t n;

	gethostname(host, sizeof(host) - 1);
	n = (size_t)snprintf(text, size, "what tcpcopy %s on %s, process %d, started at %s; rules:",
			     c->dry_run ? "would have sent" : "captured", host, (int)getpid(),
			     account_time(0, when));
	for (unsigned i = 0; i < c->n_rules && n < size; i++)
		n += (size_t)snprintf(text + n, size - n, " %s", c->rules[i].text);
	if (c->filter[0] && n < size)
		snprintf(text + n, size - n, "; filter: %s", c->filter);
}

uint8_t *record_head(const struct config *c, const struct record_interfaces *list, size_t *len)
{
	char comment[PCAPNG_TEXT_MOST], filter[CONFIG_FILTER_SIZE];
	uint8_t *head = malloc(HEAD_BYTES);

	if (!head || config_capture_filter(c, filter, sizeof(filter))) {
		free(head);
		return NULL;
	}
	describe(c, comment, sizeof(comment));
	*len = pcapng_section(head, HEAD_BYTES, "tcpcopy " VERSION, comment);
	for (unsigned i = 0; i < list->n; i++)
		*len += pcapng_interface(head + *len, HEAD_BYTES - *len, list->name[i], filter);
	return head;
}

char *record_comment(char text[RECORD_COMMENT], const struct config *c, const struct tuple *t, uint64_t rules)
{
	char client[ENDPOINT_TEXT_LEN], online[ENDPOINT_TEXT_LEN];
	size_t n = (size_t)snprintf(text, RECORD_COMMENT, "session %s -> %s",
				    endpoint_format(client, sizeof(client), &t->src),
				    endpoint_format(online, sizeof(online), &t->dst));

	for (unsigned i = 0; i < c->n_rules && n < RECORD_COMMENT; i++)
		if (rules >> i & 1)
			n += (size_t)snprintf(text + n, RECORD_COMMENT - n, ", rule %s", c->rules[i].text);
	return text;
}
