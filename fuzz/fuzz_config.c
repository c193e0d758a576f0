/*
 * The parsers of what an operator types: rules, assistants, address pools, numbers, sizes, times,
 * conditions. In: a byte that says which, then the text. What is accepted must be usable; what is refused
 * must be refused in words. No name is looked up: every name resolves to one address, or to none.
 */
#include <netdb.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "tcpcopy/choice/strain.h"
#include "tcpcopy/config/parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x)                                                                                             \
	do {                                                                                                 \
		if (!(x))                                                                                    \
			abort();                                                                             \
	} while (0)

/* Instead of the C library's. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
	static struct sockaddr_in in = { .sin_family = AF_INET };
	static struct addrinfo one = { .ai_family = AF_INET,
				       .ai_socktype = SOCK_STREAM,
				       .ai_addrlen = sizeof(in),
				       .ai_addr = (struct sockaddr *)&in };

	(void)service;
	(void)hints;
	in.sin_addr.s_addr = htonl(0xc0000207);
	*result = &one;
	return name && strlen(name) % 2 ? 0 : EAI_NONAME;
}

void freeaddrinfo(struct addrinfo *result)
{
	(void)result;
}

static void rules(struct config *c, const char *text)
{
	const char *wrong = config_add_rules(c, text);

	CHECK(!wrong || *wrong);
	CHECK(c->n_rules <= CONFIG_MAX_RULES && (wrong || c->n_rules));
	for (unsigned i = 0; i < c->n_rules; i++) {
		const struct rule *r = &c->rules[i];

		CHECK(r->online_port && r->target.port);
		CHECK(memchr(r->text, 0, sizeof(r->text)));
	}
}

static void assistants(struct config *c, const char *text)
{
	const char *wrong = config_add_assistants(c, text);

	CHECK(!wrong || *wrong);
	CHECK(c->n_assistants <= CONFIG_MAX_ASSISTANTS && (wrong || c->n_assistants));
}

static void pool(struct config *c, const char *text)
{
	const char *wrong = config_add_pool(c, text);
	char buf[PREFIX_TEXT_LEN];

	CHECK(!wrong || *wrong);
	CHECK(c->n_pool <= CONFIG_MAX_POOL && (wrong || c->n_pool));
	for (unsigned i = 0; i < c->n_pool; i++) {
		CHECK(c->pool[i].len <= 128);
		CHECK(config_prefix_format(buf, sizeof(buf), &c->pool[i]) == buf);
	}
}

static void numbers(const char *text)
{
	uint64_t n = 7;

	if (!number_parse(text, 3, 1000, &n))
		CHECK(n >= 3 && n <= 1000);
	n = 7;
	if (!number_parse_size(text, 64, 1ull << 40, &n))
		CHECK(n >= 64 && n <= 1ull << 40);
	n = 7;
	if (!number_parse_duration(text, 0, 3600000000000ull, &n))
		CHECK(n <= 3600000000000ull);
}

static void conditions(struct config *c, const char *text)
{
	const char *wrong = config_set_breaker(c, text);

	CHECK(wrong ? *wrong != 0 : c->n_breaker >= 1 && c->n_breaker <= CONFIG_MAX_CONDITIONS);
	for (unsigned i = 0; i < c->n_breaker && !wrong; i++)
		CHECK(c->breaker[i].metric < STRAIN_CPU && c->breaker[i].limit >= 0);
	wrong = config_set_yield(c, text);
	CHECK(wrong ? *wrong != 0 : c->n_yield >= 1 && c->n_yield <= CONFIG_MAX_CONDITIONS);
	for (unsigned i = 0; i < c->n_yield && !wrong; i++)
		CHECK(c->yield[i].metric >= STRAIN_CPU && c->yield[i].metric < STRAIN_COUNT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config c;
	char *text;

	if (!size)
		return 0;
	text = malloc(size);
	CHECK(text);
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	c.n_rules = c.n_assistants = c.n_pool = 0;
	switch (data[0] % 5) {
	case 0:
		rules(&c, text);
		break;
	case 1:
		assistants(&c, text);
		break;
	case 2:
		pool(&c, text);
		break;
	case 3:
		numbers(text);
		break;
	case 4:
		conditions(&c, text);
		break;
	}
	free(text);
	return 0;
}
