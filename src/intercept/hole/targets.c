/*
 * Which endpoints are targets?
 *
 * In: the sources of WATCH and TARGET messages. Out: whether a segment's source is a target, so that a
 * segment without an owner is worth holding or counting as lost; and, without -F, the capture filter. An
 * endpoint counts its users and stays for a minute without any: the filter has to be compiled, and should not
 * change with every short connection.
 */
#include "intercept/hole/targets.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

/* The index of the first target that is not before @e. */
static unsigned lower_bound(const struct targets *t, const struct endpoint *e)
{
	unsigned lo = 0, hi = t->count;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;

		if (memcmp(&t->list[mid].endpoint, e, sizeof(*e)) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct target *find(struct targets *t, const struct endpoint *e)
{
	unsigned i = lower_bound(t, e);

	return i < t->count && endpoint_eq(&t->list[i].endpoint, e) ? &t->list[i] : NULL;
}

bool targets_has(const struct targets *t, const struct endpoint *e)
{
	unsigned i = lower_bound(t, e);

	return i < t->count && endpoint_eq(&t->list[i].endpoint, e);
}

bool targets_use(struct targets *t, const struct endpoint *e)
{
	unsigned i = lower_bound(t, e);

	if (i < t->count && endpoint_eq(&t->list[i].endpoint, e)) {
		t->list[i].users++;
		return false;
	}
	if (t->count == TARGETS_MAX) {
		t->refused++;
		return false;
	}
	memmove(&t->list[i + 1], &t->list[i], (t->count - i) * sizeof(t->list[0]));
	t->list[i] = (struct target){ .endpoint = *e, .users = 1 };
	t->count++;
	return true;
}

void targets_release(struct targets *t, const struct endpoint *e, uint64_t now)
{
	struct target *target = find(t, e);

	if (target && target->users && !--target->users)
		target->idle_at = now;
}

bool targets_expire(struct targets *t, uint64_t now, void (*gone)(const struct target *t, void *arg),
		    void *arg)
{
	unsigned kept = 0;
	bool any;

	for (unsigned i = 0; i < t->count; i++)
		if (t->list[i].users || now - t->list[i].idle_at < TARGETS_LINGER_NS)
			t->list[kept++] = t->list[i];
		else if (gone)
			gone(&t->list[i], arg);
	any = kept < t->count;
	t->count = kept;
	return any;
}

static size_t append(char *buf, size_t n, const char *fmt, ...) PRINTF_LIKE(3, 4);

static size_t append(char *buf, size_t n, const char *fmt, ...)
{
	va_list ap;
	int more;

	va_start(ap, fmt);
	more = vsnprintf(buf + n, TARGETS_FILTER_SIZE - n, fmt, ap);
	va_end(ap);
	return more < 0 ? n : n + (size_t)more;
}

/* A filter by port alone; if there are too many ports, too, one that matches all TCP. */
static char *ports_filter(const struct targets *t, char *buf)
{
	uint16_t ports[TARGETS_FILTER_PAIRS];
	unsigned n_ports = 0;
	size_t n = append(buf, 0, "tcp and (");

	for (unsigned i = 0; i < t->count; i++) {
		const uint16_t port = t->list[i].endpoint.port;
		unsigned j = 0;

		while (j < n_ports && ports[j] != port)
			j++;
		if (j < n_ports)
			continue;
		if (n_ports == TARGETS_FILTER_PAIRS)
			return strcpy(buf, "tcp");
		n = append(buf, n, "%ssrc port %u", n_ports ? " or " : "", port);
		ports[n_ports++] = port;
	}
	append(buf, n, ")");
	return buf;
}

char *targets_filter(const struct targets *t, char buf[TARGETS_FILTER_SIZE])
{
	char addr[ADDR_TEXT_LEN];
	size_t n;

	if (!t->count)
		return strcpy(buf, "less 0"); /* no packet is that short */
	if (t->count > TARGETS_FILTER_PAIRS)
		return ports_filter(t, buf);
	n = append(buf, 0, "tcp and (");
	for (unsigned i = 0; i < t->count; i++)
		n = append(buf, n, "%s(src host %s and src port %u)", i ? " or " : "",
			   addr_format(addr, sizeof(addr), &t->list[i].endpoint.addr),
			   t->list[i].endpoint.port);
	append(buf, n, ")");
	return buf;
}
