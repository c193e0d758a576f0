/*
 * The lists of the command line: rules (-x), assistants (-s) and client addresses (-c).
 *
 * In: the text as typed. Out: addresses, appended to *c. Nothing is kept here. A list is split at its commas
 * and each element read from the left. A rule is split at the '-' that follows its online port and not at
 * any '-', because host names contain them (6379-my-host.example:80). IPv6 addresses are in brackets, because
 * fd90::1:80 without them has two meanings. A name is resolved here, once: after the start the sandbox has no
 * resolver, and a session must not change its target because a name server changed its mind.
 *
 * Only single elements are judged here; config/check.c judges them against each other and against this host.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "program/args.h"
#include "program/options.h"
#include "tcpcopy/config/parts.h"

#define DIGITS "0123456789"
#define ELEMENT_SIZE sizeof(((struct rule *)NULL)->text)

typedef const char *element_fn(struct config *c, const char *element);

/* Call @fn for each element of a comma-separated list; blanks around an element are ignored. */
static const char *each_element(struct config *c, const char *list, element_fn *fn)
{
	const char *p = list, *wrong;

	for (;;) {
		size_t len = strcspn(p, ",");
		const char *next = p[len] ? p + len + 1 : NULL;
		char element[ELEMENT_SIZE];

		while (len && (*p == ' ' || *p == '\t')) {
			p++;
			len--;
		}
		while (len && (p[len - 1] == ' ' || p[len - 1] == '\t'))
			len--;
		if (len == 0)
			return *list ? "an element of the list is empty" : "the value is empty";
		if (len >= sizeof(element))
			return args_wrong("an element is longer than %zu characters", sizeof(element) - 1);
		memcpy(element, p, len);
		element[len] = '\0';
		wrong = fn(c, element);
		if (wrong)
			return strchr(list, ',') ? args_wrong("in \"%s\", %s", element, wrong) : wrong;
		if (!next)
			return NULL;
		p = next;
	}
}

/* A whole string of digits, 1 to 65535. */
static int parse_port(const char *text, uint16_t *port)
{
	unsigned long n;

	if (*text == '\0' || text[strspn(text, DIGITS)] != '\0' || strlen(text) > 5)
		return -1;
	n = strtoul(text, NULL, 10);
	if (n < 1 || n > 65535)
		return -1;
	*port = (uint16_t)n;
	return 0;
}

/* "host", "host:port", "[v6]", "[v6]:port" taken apart. */
struct host_port {
	char host[ELEMENT_SIZE];
	bool bracketed;
	const char *port; /* into the text; NULL: none given */
};

/* NULL, or what is wrong with @text. */
static const char *split_host_port(const char *text, struct host_port *h)
{
	const char *end, *host = text;

	h->bracketed = *text == '[';
	if (h->bracketed) {
		host = text + 1;
		end = strchr(host, ']');
		if (!end)
			return "the bracket is not closed";
		if (end[1] != '\0' && end[1] != ':')
			return "after the bracket only :port can follow";
		h->port = end[1] == ':' ? end + 2 : NULL;
	} else {
		end = strchr(text, ':');
		if (end && strchr(end + 1, ':'))
			return "an IPv6 address must be in brackets, as in [2001:db8::1]:80";
		h->port = end ? end + 1 : NULL;
		if (!end)
			end = text + strlen(text);
	}
	if (end == host)
		return "there is no address";
	memcpy(h->host, host, (size_t)(end - host));
	h->host[end - host] = '\0';
	return NULL;
}

static bool looks_like_ipv4(const char *host)
{
	return host[strspn(host, DIGITS ".")] == '\0';
}

/*
 * An address or a name. Of a name's addresses, take the first of @like's family if @like is given and there
 * is one, else the first (in the resolver's order, RFC 6724).
 */
static const char *resolve(const struct host_port *h, const struct addr *like, struct addr *to)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct addrinfo *list, *ai;
	struct endpoint found;
	bool any = false;
	int rc;

	if (addr_parse(to, h->host) && h->bracketed == (strchr(h->host, ':') != NULL))
		return NULL;
	if (h->bracketed)
		return args_wrong("\"%s\" is not an IPv6 address", h->host);
	if (looks_like_ipv4(h->host))
		return args_wrong("\"%s\" is not an IPv4 address", h->host);

	rc = getaddrinfo(h->host, NULL, &hints, &list);
	if (rc != 0)
		return args_wrong("the name \"%s\" does not resolve (%s)", h->host,
				  rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
	for (ai = list; ai; ai = ai->ai_next) {
		if (!addr_from_sockaddr(&found, ai->ai_addr))
			continue;
		if (!any)
			*to = found.addr;
		any = true;
		if (!like || addr_is_v4(&found.addr) == addr_is_v4(like)) {
			*to = found.addr;
			break;
		}
	}
	freeaddrinfo(list);
	return any ? NULL : args_wrong("the name \"%s\" has no address", h->host);
}

static const char *wrong_port(const char *which, const char *port, size_t len)
{
	return args_wrong("the %sport \"%.*s\" is not one of 1 to 65535", which, (int)len, port);
}

/*
 * The part of a rule before its '-'. Sets *online (host "": none was given) and *target to what
 * follows the '-'. The online address ends at its colon, so a '-' in its name does no harm either.
 */
static const char *parse_online(struct rule *rule, const char *element, struct host_port *online,
				const char **target)
{
	char left[ELEMENT_SIZE];
	const char *dash, *port = element, *why;

	online->host[0] = '\0';
	if (*element == '[') {
		port = strchr(element, ']');
		if (!port || port[1] != ':')
			return "\":port\" is missing after the online address";
		port += 2;
	} else if (element[strspn(element, DIGITS)] != '-') {
		const char *colon = strchr(element, ':');

		/* A colon that ends an online address lies before any '-', or is followed by digits
		 * and '-'. */
		dash = strchr(element, '-');
		if (colon && dash && (colon < dash || colon[1 + strspn(colon + 1, DIGITS)] == '-'))
			port = colon + 1;
	}
	dash = strchr(port, '-');
	if (!dash)
		return "there is no \"-target-address:target-port\"";

	memcpy(left, element, (size_t)(dash - element));
	left[dash - element] = '\0';
	if (port != element) {
		why = split_host_port(left, online);
		if (why)
			return why;
	}
	if (parse_port(left + (port - element), &rule->online_port) < 0)
		return wrong_port("online ", port, (size_t)(dash - port));
	*target = dash + 1;
	return NULL;
}

#define MAC_LEN 17 /* 00:16:3e:00:00:01 */

static bool is_mac(const char *text)
{
	for (unsigned i = 0; i < MAC_LEN; i++)
		if (i % 3 == 2 ? text[i] != ':' : !text[i] || !strchr("0123456789abcdefABCDEF", text[i]))
			return false;
	return true;
}

/* Take the MAC addresses out of a rule that was written for the original tool: 80@MAC-192.0.2.7:80@MAC. */
static const char *drop_macs(struct config *c, char *element)
{
	char *at;

	while ((at = strchr(element, '@'))) {
		if (!is_mac(at + 1))
			return args_wrong("\"%s\" is not a MAC address, such as @00:16:3e:00:00:01", at);
		memmove(at, at + 1 + MAC_LEN, strlen(at + 1 + MAC_LEN) + 1);
		options_ignore(&c->run, "-x: MAC addresses (@) are",
			       "the kernel's routes and neighbours say where copies go");
	}
	return NULL;
}

/* Take the weight off the end of a rule: 80-192.0.2.7:80/3. */
static const char *parse_weight(struct rule *rule, char *element)
{
	char *slash = strrchr(element, '/');
	uint64_t n;

	if (!slash)
		return NULL;
	if (number_parse(slash + 1, 1, TARGETS_WEIGHT_MOST, &n))
		return args_wrong("the weight \"%s\" is not one of 1 to %u", slash + 1, TARGETS_WEIGHT_MOST);
	rule->weight = (uint32_t)n;
	*slash = '\0';
	return NULL;
}

static const char *add_rule(struct config *c, const char *typed)
{
	char element[ELEMENT_SIZE];
	struct rule *rule = &c->rules[c->n_rules];
	struct host_port online, at;
	struct addr literal;
	const char *target = element, *why;

	if (c->n_rules == CONFIG_MAX_RULES)
		return args_wrong("more than %d rules", CONFIG_MAX_RULES);
	memset(rule, 0, sizeof(*rule));
	snprintf(rule->text, sizeof(rule->text), "%s", typed);
	snprintf(element, sizeof(element), "%s", typed);
	why = drop_macs(c, element);
	if (why)
		return why;
	why = parse_weight(rule, element);
	if (why)
		return why;
	why = parse_online(rule, element, &online, &target);
	if (why)
		return why;

	if (*target == ':' || target[strspn(target, DIGITS)] == '\0')
		return "the target has no address";
	why = split_host_port(target, &at);
	if (why)
		return why;
	if (!at.port)
		return "the target has no port";
	if (parse_port(at.port, &rule->target.port) < 0)
		return wrong_port("target ", at.port, strlen(at.port));

	/* Of a name's addresses, prefer those of the other side's family. */
	why = resolve(&at, addr_parse(&literal, online.host) ? &literal : NULL, &rule->target.addr);
	if (!why && online.host[0] != '\0') {
		rule->has_online_addr = true;
		why = resolve(&online, &rule->target.addr, &rule->online_addr);
	}
	if (!why)
		c->n_rules++;
	return why;
}

const char *config_add_rules(struct config *c, const char *list)
{
	return each_element(c, list, add_rule);
}

static const char *add_join(struct config *c, const char *element)
{
	static const char *const names[ENGINE_JOIN_COUNT] = {
#define X(id, name) [ENGINE_JOIN_##id] = name,
		ENGINE_JOINS(X)
#undef X
	};
	const char *mode = strchr(element, '=');
	char port[8] = "";
	unsigned join = 0;

	if (mode && mode - element < (int)sizeof(port))
		memcpy(port, element, (size_t)(mode - element));
	mode = mode ? mode + 1 : element;
	while (join < ENGINE_JOIN_COUNT && strcmp(mode, names[join]) != 0)
		join++;
	if (join == ENGINE_JOIN_COUNT)
		return args_wrong("\"%s\" is no such mode", mode);
	if (mode == element) {
		c->join = (enum engine_join)join;
		c->has_join = true;
		return NULL;
	}
	if (parse_port(port, &c->join_of[c->n_join_of].online_port) < 0)
		return wrong_port("", port, strlen(port));
	c->join_of[c->n_join_of].join = (enum engine_join)join;
	if (c->n_join_of + 1 == CONFIG_MAX_RULES)
		return args_wrong("more than %d ports", CONFIG_MAX_RULES - 1);
	c->n_join_of++;
	return NULL;
}

const char *config_add_joins(struct config *c, const char *list)
{
	return each_element(c, list, add_join);
}

const char *config_set_joins(struct config *c)
{
	for (unsigned r = 0; r < c->n_rules; r++)
		c->rules[r].join = c->no_join ? ENGINE_JOIN_NONE : c->join;
	for (unsigned i = 0; i < c->n_join_of; i++) {
		bool found = false;

		for (unsigned r = 0; r < c->n_rules; r++) {
			if (c->rules[r].online_port != c->join_of[i].online_port)
				continue;
			c->rules[r].join = c->join_of[i].join;
			found = true;
		}
		if (!found)
			return args_wrong("no rule of -x has the online port %u; accepted: that of a rule",
					  c->join_of[i].online_port);
	}
	return NULL;
}

const char *config_parse_endpoint(struct endpoint *e, const char *text)
{
	struct host_port h;
	const char *why;

	memset(e, 0, sizeof(*e));
	if (strlen(text) >= sizeof(h.host))
		return args_wrong("longer than %zu characters", sizeof(h.host) - 1);
	why = split_host_port(text, &h);
	if (why)
		return why;
	if (h.port && parse_port(h.port, &e->port) < 0)
		return wrong_port("", h.port, strlen(h.port));
	return resolve(&h, NULL, &e->addr);
}

static const char *add_assistant(struct config *c, const char *element)
{
	struct assistant_address *assistant = &c->assistants[c->n_assistants];
	const char *why;

	if (c->n_assistants == CONFIG_MAX_ASSISTANTS)
		return args_wrong("more than %d assistants", CONFIG_MAX_ASSISTANTS);
	memset(assistant, 0, sizeof(*assistant));
	snprintf(assistant->text, sizeof(assistant->text), "%s", element);
	why = config_parse_endpoint(&assistant->at, element);
	if (!why)
		c->n_assistants++;
	return why;
}

const char *config_add_assistants(struct config *c, const char *list)
{
	return each_element(c, list, add_assistant);
}

static const char *pool_push(struct config *c, const struct prefix *p)
{
	if (c->n_pool == CONFIG_MAX_POOL)
		return args_wrong("more than %d elements (a range counts as half of its addresses)",
				  CONFIG_MAX_POOL);
	c->pool[c->n_pool++] = *p;
	return NULL;
}

/*
 * A range as blocks of one or two addresses: of a longer IPv4 prefix the first and the last address
 * mean the network and its broadcast and are not used, of a range they are.
 */
static const char *pool_push_range(struct config *c, uint32_t from, uint32_t to)
{
	uint64_t at, block;

	for (at = from; at <= to; at += block) {
		uint32_t be = htonl((uint32_t)at);
		struct prefix p = { .addr = addr_from_v4(&be) };
		const char *why;

		block = at % 2 == 0 && at < to ? 2 : 1;
		p.len = block == 2 ? 127 : 128;
		why = pool_push(c, &p);
		if (why)
			return why;
	}
	return NULL;
}

static uint32_t v4_number(const struct addr *a)
{
	uint32_t be;

	memcpy(&be, addr_v4_bytes(a), 4);
	return ntohl(be);
}

/* a.b.c.d-e or a.b.c.d-a.b.c.e */
static const char *add_pool_range(struct config *c, const char *element, const char *dash)
{
	char text[ELEMENT_SIZE];
	struct addr first, last;
	const char *why = "this is not a range of IPv4 addresses";

	snprintf(text, sizeof(text), "%.*s", (int)(dash - element), element);
	if (!addr_parse(&first, text) || !addr_is_v4(&first))
		return why;
	if (dash[1] != '\0' && dash[1 + strspn(dash + 1, DIGITS)] == '\0') {
		char *dot = strrchr(text, '.');

		if (!dot || strlen(dash + 1) > 3)
			return why;
		snprintf(dot + 1, sizeof(text) - (size_t)(dot + 1 - text), "%s", dash + 1);
	} else {
		snprintf(text, sizeof(text), "%s", dash + 1);
	}
	if (!addr_parse(&last, text) || !addr_is_v4(&last))
		return why;
	if (v4_number(&last) < v4_number(&first))
		return "the range ends before it begins";
	return pool_push_range(c, v4_number(&first), v4_number(&last));
}

/* a.b.c.x, a.b.c.*, a.b.x.x: the wildcards become zeros and shorten the prefix. */
static const char *add_pool_wildcard(struct config *c, const char *element)
{
	char text[ELEMENT_SIZE];
	struct prefix p;
	unsigned wild = 0;
	char *t;

	snprintf(text, sizeof(text), "%s", element);
	for (t = text; t; t = strchr(t, '.')) {
		if (*t == '.')
			t++;
		if (*t && strchr("xX*", *t) && (t[1] == '.' || t[1] == '\0')) {
			*t = '0';
			wild++;
		} else if (wild) {
			return "a number follows a wildcard";
		}
	}
	if (wild > 3 || !addr_parse(&p.addr, text) || !addr_is_v4(&p.addr))
		return "this is not an IPv4 address with wildcards at its end";
	p.len = (uint8_t)(128 - 8 * wild);
	return pool_push(c, &p);
}

static const char *add_pool(struct config *c, const char *element)
{
	const char *dash = strchr(element, '-');
	struct prefix p;

	if (dash)
		return add_pool_range(c, element, dash);
	if (strpbrk(element, "xX*"))
		return add_pool_wildcard(c, element);
	if (!prefix_parse(&p, element))
		return "this is neither an address nor a prefix";
	return pool_push(c, &p);
}

/* A list in each line; what follows a # is for people. */
static const char *add_pool_file(struct config *c, const char *path)
{
	FILE *f = fopen(path, "re");
	const unsigned before = c->n_pool;
	const char *wrong = NULL;
	char line[4096];

	if (!f)
		return args_wrong("cannot open \"%s\": %s", path, strerror(errno));
	for (unsigned n = 1; !wrong && fgets(line, sizeof(line), f); n++) {
		if (!strchr(line, '\n') && !feof(f))
			wrong = args_wrong("line %u is longer than %zu characters", n, sizeof(line) - 2);
		line[strcspn(line, "#\r\n")] = '\0';
		if (!wrong && line[strspn(line, " \t")])
			wrong = each_element(c, line, add_pool);
		if (wrong && strncmp(wrong, "line ", 5) != 0)
			wrong = args_wrong("line %u: %s", n, wrong);
	}
	if (!wrong && ferror(f))
		wrong = args_wrong("cannot read \"%s\": %s", path, strerror(errno));
	fclose(f);
	return wrong || c->n_pool > before ? wrong : "there is no address in the file";
}

const char *config_add_pool(struct config *c, const char *list)
{
	return *list == '@' ? add_pool_file(c, list + 1) : each_element(c, list, add_pool);
}

static const char *add_own_range(struct config *c, const char *element)
{
	const char *dash = strchr(element, '-');
	char first[8] = "", last[8] = "";
	struct port_range r;

	if (!dash || dash - element >= (ptrdiff_t)sizeof(first) || strlen(dash + 1) >= sizeof(last))
		return "this is not a range of ports";
	memcpy(first, element, (size_t)(dash - element));
	memcpy(last, dash + 1, strlen(dash + 1));
	if (parse_port(first, &r.first) || parse_port(last, &r.last) || r.first < 1024)
		return "this is not a range of ports from 1024 to 65535";
	if (r.last < r.first)
		return "the range ends before it begins";
	if (c->n_own_ranges == CONFIG_OWN_RANGES)
		return args_wrong("more than %u ranges", CONFIG_OWN_RANGES);
	if (c->n_own_ranges && r.first <= c->own_range[c->n_own_ranges - 1].last)
		return "the ranges overlap, or are not in order";
	c->own_range[c->n_own_ranges++] = r;
	return NULL;
}

const char *config_add_own_ports(struct config *c, const char *list)
{
	uint64_t n;
	const char *why;

	if (strchr(list, '-'))
		return each_element(c, list, add_own_range);
	why = number_parse(list, 1, 64512, &n);
	c->own_ports = why ? 0 : (uint32_t)n;
	return why;
}
