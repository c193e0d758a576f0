/*
 * The lists of the command line: rules (-x), assistants (-s) and client addresses (-c).
 *
 * In comes the text as typed, out go addresses in *c, appended; nothing is kept here. Each element is cut at commas and read
 * from the left. A rule is cut at the '-' that follows its online port and not at just any '-', because host names
 * contain them (6379-my-host.example:80). IPv6 addresses stand in brackets, for without them fd90::1:80 has two meanings.
 * A name is resolved here, once, at the start: later there is no resolver in the sandbox, and a session must not
 * change its target because a name server changed its mind.
 *
 * Only the single element is judged here; config_check.c judges elements against each other and against this host.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tcpcopy/config_parts.h"

#define ACCEPTED_RULE                                                                              \
	"accepted: [online-address:]online-port-target-address:target-port, such as "             \
	"6379-192.0.2.7:6379 or [2001:db8::1]:80-[2001:db8::2]:8080"
#define ACCEPTED_PEER                                                                              \
	"accepted: address, address:port or [IPv6-address]:port, such as 192.0.2.8 or "            \
	"[2001:db8::8]:36524"
#define ACCEPTED_POOL                                                                              \
	"accepted: an address, a prefix, wildcards at the end of an IPv4 address or an IPv4 range, such " \
	"as 192.0.2.9, 198.51.100.0/24, 198.51.100.x, 198.51.100.10-20 or 2001:db8:1::/64"

#define DIGITS "0123456789"
#define ELEMENT_SIZE sizeof(((struct rule *)NULL)->text)

typedef int element_fn(struct config *c, const char *element, const struct refusal *r);

/* Call @fn for each element of a comma list; blanks around an element are not part of it. */
static int each_element(struct config *c, const char *option, const char *list,
			const char *accepted, element_fn *fn, const struct refusal *r)
{
	const char *p = list;

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
			return refuse(r, "option %s \"%s\": %s; %s", option, list,
				      *list ? "an element of the list is empty" : "the value is empty",
				      accepted);
		if (len >= sizeof(element))
			return refuse(r, "option %s \"%.*s\": longer than %zu characters; %s", option,
				      (int)len, p, sizeof(element) - 1, accepted);
		memcpy(element, p, len);
		element[len] = '\0';
		if (fn(c, element, r) < 0)
			return -1;
		if (!next)
			return 0;
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
			return "an IPv6 address must stand in brackets, as [2001:db8::1]:80";
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
 * An address or a name. Of several addresses the first one of the family that @like has is taken, if given and there is
 * one, else the first one (the resolver's order, RFC 6724).
 */
static int resolve(const char *option, const char *element, const struct host_port *h,
		   const struct addr *like, struct addr *to, const struct refusal *r)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct addrinfo *list, *ai;
	struct endpoint found;
	bool any = false;
	int rc;

	if (addr_parse(to, h->host) && h->bracketed == (strchr(h->host, ':') != NULL))
		return 0;
	if (h->bracketed)
		return refuse(r, "option %s \"%s\": \"%s\" is no IPv6 address", option, element, h->host);
	if (looks_like_ipv4(h->host))
		return refuse(r, "option %s \"%s\": \"%s\" is no IPv4 address", option, element, h->host);

	rc = getaddrinfo(h->host, NULL, &hints, &list);
	if (rc != 0)
		return refuse(r, "option %s \"%s\": the name \"%s\" does not resolve (%s); accepted: an "
			      "address, or a name that the resolver of this host knows",
			      option, element, h->host,
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
	if (!any)
		return refuse(r, "option %s \"%s\": the name \"%s\" has neither an IPv4 nor an IPv6 address",
			      option, element, h->host);
	return 0;
}

static int refuse_rule(const struct refusal *r, const char *element, const char *why)
{
	return refuse(r, "option -x \"%s\": %s; %s", element, why, ACCEPTED_RULE);
}

static int refuse_rule_port(const struct refusal *r, const char *element, const char *which,
			    const char *port, size_t len)
{
	return refuse(r, "option -x \"%s\": %s port \"%.*s\" is not one of 1 to 65535; %s", element, which,
		      (int)len, port, ACCEPTED_RULE);
}

/*
 * The part of a rule before its '-'. Sets *online (host "": none was given) and *target to what follows the '-'. The
 * online address ends at its colon, so a '-' in its name does no harm either.
 */
static int parse_online(struct rule *rule, const char *element, struct host_port *online,
			const char **target, const struct refusal *r)
{
	char left[ELEMENT_SIZE];
	const char *dash, *port = element, *why;

	online->host[0] = '\0';
	if (*element == '[') {
		port = strchr(element, ']');
		if (!port || port[1] != ':')
			return refuse_rule(r, element, "\":port\" is missing after the online address");
		port += 2;
	} else if (element[strspn(element, DIGITS)] != '-') {
		const char *colon = strchr(element, ':');

		/* A colon that ends an online address lies before any '-', or is followed by digits and '-'. */
		dash = strchr(element, '-');
		if (colon && dash && (colon < dash || colon[1 + strspn(colon + 1, DIGITS)] == '-'))
			port = colon + 1;
	}
	dash = strchr(port, '-');
	if (!dash)
		return refuse_rule(r, element, "there is no \"-target-address:target-port\"");

	memcpy(left, element, (size_t)(dash - element));
	left[dash - element] = '\0';
	if (port != element) {
		why = split_host_port(left, online);
		if (why)
			return refuse_rule(r, element, why);
	}
	if (parse_port(left + (port - element), &rule->online_port) < 0)
		return refuse_rule_port(r, element, "online", port, (size_t)(dash - port));
	*target = dash + 1;
	return 0;
}

static int add_rule(struct config *c, const char *element, const struct refusal *r)
{
	struct rule *rule = &c->rules[c->n_rules];
	struct host_port online, at;
	struct addr literal;
	const char *target = element, *why;

	if (c->n_rules == CONFIG_MAX_RULES)
		return refuse(r, "option -x \"%s\": more than %d rules; accepted: at most %d", element,
			      CONFIG_MAX_RULES, CONFIG_MAX_RULES);
	memset(rule, 0, sizeof(*rule));
	snprintf(rule->text, sizeof(rule->text), "%s", element);
	if (parse_online(rule, element, &online, &target, r) < 0)
		return -1;

	if (*target == ':' || target[strspn(target, DIGITS)] == '\0')
		return refuse_rule(r, element, "the target has no address");
	why = split_host_port(target, &at);
	if (why)
		return refuse_rule(r, element, why);
	if (!at.port)
		return refuse_rule(r, element, "the target has no port");
	if (parse_port(at.port, &rule->target.port) < 0)
		return refuse_rule_port(r, element, "target", at.port, strlen(at.port));

	/* Of a name's addresses those of the other side's family fit. */
	if (resolve("-x", element, &at, addr_parse(&literal, online.host) ? &literal : NULL,
		    &rule->target.addr, r) < 0)
		return -1;
	if (online.host[0] != '\0') {
		if (resolve("-x", element, &online, &rule->target.addr, &rule->online_addr, r) < 0)
			return -1;
		rule->has_online_addr = true;
	}
	c->n_rules++;
	return 0;
}

int config_add_rules(struct config *c, const char *list, const struct refusal *r)
{
	return each_element(c, "-x", list, ACCEPTED_RULE, add_rule, r);
}

static int add_peer(struct config *c, const char *element, const struct refusal *r)
{
	struct peer_address *peer = &c->peers[c->n_peers];
	struct host_port h;
	const char *why;

	if (c->n_peers == CONFIG_MAX_PEERS)
		return refuse(r, "option -s \"%s\": more than %d assistants; accepted: at most %d", element,
			      CONFIG_MAX_PEERS, CONFIG_MAX_PEERS);
	memset(peer, 0, sizeof(*peer));
	snprintf(peer->text, sizeof(peer->text), "%s", element);
	why = split_host_port(element, &h);
	if (why)
		return refuse(r, "option -s \"%s\": %s; %s", element, why, ACCEPTED_PEER);
	if (h.port && parse_port(h.port, &peer->at.port) < 0)
		return refuse(r, "option -s \"%s\": port \"%s\" is not one of 1 to 65535; %s", element, h.port,
			      ACCEPTED_PEER);
	if (resolve("-s", element, &h, NULL, &peer->at.addr, r) < 0)
		return -1;
	c->n_peers++;
	return 0;
}

int config_add_peers(struct config *c, const char *list, const struct refusal *r)
{
	return each_element(c, "-s", list, ACCEPTED_PEER, add_peer, r);
}

static int refuse_pool(const struct refusal *r, const char *element, const char *why)
{
	return refuse(r, "option -c \"%s\": %s; %s", element, why, ACCEPTED_POOL);
}

static int pool_push(struct config *c, const char *element, const struct prefix *p,
		     const struct refusal *r)
{
	if (c->n_pool == CONFIG_MAX_POOL)
		return refuse(r, "option -c \"%s\": more than %d prefixes (a range counts as those that it "
			      "is made of); accepted: at most %d",
			      element, CONFIG_MAX_POOL, CONFIG_MAX_POOL);
	c->pool[c->n_pool++] = *p;
	return 0;
}

/* A range as the fewest prefixes: as long as something is left, the largest aligned block that fits. */
static int pool_push_range(struct config *c, const char *element, uint32_t from, uint32_t to,
			   const struct refusal *r)
{
	while (from <= to) {
		struct prefix p;
		unsigned bits = 0;
		uint32_t be = htonl(from);

		while (bits < 32 && (from & ((UINT64_C(1) << (bits + 1)) - 1)) == 0 &&
		       from + ((UINT64_C(1) << (bits + 1)) - 1) <= to)
			bits++;
		p.addr = addr_from_v4(&be);
		p.len = (uint8_t)(128 - bits);
		if (pool_push(c, element, &p, r) < 0)
			return -1;
		if (from + ((UINT64_C(1) << bits) - 1) >= UINT32_MAX)
			break;
		from += UINT32_C(1) << bits;
	}
	return 0;
}

static uint32_t v4_number(const struct addr *a)
{
	uint32_t be;

	memcpy(&be, addr_v4_bytes(a), 4);
	return ntohl(be);
}

/* a.b.c.d-e or a.b.c.d-a.b.c.e */
static int add_pool_range(struct config *c, const char *element, const char *dash,
			  const struct refusal *r)
{
	char text[ELEMENT_SIZE];
	struct addr first, last;
	const char *why = "the range is no pair of IPv4 addresses";

	snprintf(text, sizeof(text), "%.*s", (int)(dash - element), element);
	if (!addr_parse(&first, text) || !addr_is_v4(&first))
		return refuse_pool(r, element, why);
	if (dash[1] != '\0' && dash[1 + strspn(dash + 1, DIGITS)] == '\0') {
		char *dot = strrchr(text, '.');

		if (!dot || strlen(dash + 1) > 3)
			return refuse_pool(r, element, why);
		snprintf(dot + 1, sizeof(text) - (size_t)(dot + 1 - text), "%s", dash + 1);
	} else {
		snprintf(text, sizeof(text), "%s", dash + 1);
	}
	if (!addr_parse(&last, text) || !addr_is_v4(&last))
		return refuse_pool(r, element, why);
	if (v4_number(&last) < v4_number(&first))
		return refuse_pool(r, element, "the range ends before it begins");
	return pool_push_range(c, element, v4_number(&first), v4_number(&last), r);
}

/* a.b.c.x, a.b.c.*, a.b.x.x: the wildcards become zeros and shorten the prefix. */
static int add_pool_wildcard(struct config *c, const char *element, const struct refusal *r)
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
			return refuse_pool(r, element, "a number follows a wildcard");
		}
	}
	if (wild > 3 || !addr_parse(&p.addr, text) || !addr_is_v4(&p.addr))
		return refuse_pool(r, element, "this is no IPv4 address with wildcards at its end");
	p.len = (uint8_t)(128 - 8 * wild);
	return pool_push(c, element, &p, r);
}

static int add_pool(struct config *c, const char *element, const struct refusal *r)
{
	const char *dash = strchr(element, '-');
	struct prefix p;

	if (dash)
		return add_pool_range(c, element, dash, r);
	if (strpbrk(element, "xX*"))
		return add_pool_wildcard(c, element, r);
	if (!prefix_parse(&p, element))
		return refuse_pool(r, element, "this is no address and no prefix");
	return pool_push(c, element, &p, r);
}

int config_add_pool(struct config *c, const char *list, const struct refusal *r)
{
	return each_element(c, "-c", list, ACCEPTED_POOL, add_pool, r);
}
