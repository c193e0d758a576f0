/*
 * One tcpcopy per rule. Two would send every request twice, and the target would see two clients with the
 * same address and port.
 *
 * A rule is claimed by listening at a name in the abstract socket namespace. That fits better than a file: it
 * belongs to a network namespace, as captured packets do, so two containers or lab hosts that share /run do
 * not disturb each other; it ends with the process, however that ends; and it needs neither a directory nor
 * permission. Nobody ever accepts a connection: one is made only to ask the kernel whose socket it is
 * (SO_PEERCRED).
 *
 * Binding a name settles a conflict over the same rule without a race. A rule for one online address and a
 * rule for all of them also overlap, but have different names; so after binding its own names, tcpcopy reads
 * those of the others from /proc/net/unix. If two start at the same moment, each sees the other: both may be
 * refused, but never are both accepted.
 *
 * Only the rule counts: one online port may have several tcpcopys with different targets. With own addresses
 * each pair of such an address and a target is claimed as well, since two that choose ports of it would
 * choose the same ones.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tcpcopy/config/lock.h"

/* The name is HEAD, the online address or ANY, ":port->target:port": at most 105 characters; 107 fit. */
#define HEAD "tcpcopy:"
#define ANY "any"
#define OWN_HEAD "tcpcopy-own:"

static int claims[CONFIG_MAX_RULES + PLAN_PLACES_MAX];
static unsigned n_claims;

void lock_release(void)
{
	while (n_claims > 0)
		close(claims[--n_claims]);
}

/* The part of a rule's name that follows the online address. */
static void name_tail(char *buf, size_t size, const struct rule *rule)
{
	char target[ENDPOINT_TEXT_LEN];

	snprintf(buf, size, ":%u->%s", rule->online_port,
		 endpoint_format(target, sizeof(target), &rule->target));
}

/* An abstract address: a zero byte, then the name without a trailing zero (unix(7)). Returns its length. */
static socklen_t abstract_address(struct sockaddr_un *sun, const char *name)
{
	size_t len = strnlen(name, sizeof(sun->sun_path) - 1);

	memset(sun, 0, sizeof(*sun));
	sun->sun_family = AF_UNIX;
	memcpy(sun->sun_path + 1, name, len);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len);
}

static socklen_t rule_address(struct sockaddr_un *sun, const struct rule *rule)
{
	char address[ADDR_TEXT_LEN] = ANY, tail[ENDPOINT_TEXT_LEN + 16], name[160];

	if (rule->has_online_addr)
		addr_format(address, sizeof(address), &rule->online_addr);
	name_tail(tail, sizeof(tail), rule);
	snprintf(name, sizeof(name), "%s%s%s", HEAD, address, tail);
	return abstract_address(sun, name);
}

/* Who listens there? "process 123", or words that say that it is unknown. Must not block. */
static const char *holder(char *buf, size_t size, const struct sockaddr_un *sun, socklen_t sun_len)
{
	struct ucred cred = { .pid = 0 };
	socklen_t len = sizeof(cred);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(buf, size, "a process that cannot be seen from here");
	if (fd < 0)
		return buf;
	if (connect(fd, (const struct sockaddr *)sun, sun_len) == 0 &&
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 && cred.pid > 0)
		snprintf(buf, size, "process %d", (int)cred.pid);
	close(fd);
	return buf;
}

static int refuse_held(const struct rule *rule, const struct sockaddr_un *sun, socklen_t len, char *err,
		       size_t err_size)
{
	char who[64];

	snprintf(
		err, err_size,
		"option -x \"%s\": another tcpcopy on this host has this rule (%s); accepted: a rule that no "
		"other tcpcopy has; or end that one first",
		rule->text, holder(who, sizeof(who), sun, len));
	return -1;
}

/* Returns 0, or an errno; EADDRINUSE: somebody has this name. */
static int claim_name(const struct sockaddr_un *sun, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), error;

	if (fd < 0)
		return errno;
	if (bind(fd, (const struct sockaddr *)sun, len) < 0 || listen(fd, SOMAXCONN) < 0) {
		error = errno;
		close(fd);
		return error;
	}
	claims[n_claims++] = fd;
	return 0;
}

static int claim(const struct rule *rule, char *err, size_t err_size)
{
	struct sockaddr_un sun;
	socklen_t len = rule_address(&sun, rule);
	int error = claim_name(&sun, len);

	if (error == EADDRINUSE)
		return refuse_held(rule, &sun, len, err, err_size);
	if (error)
		snprintf(err, err_size, "cannot claim the rule \"%s\": %s", rule->text, strerror(error));
	return error ? -1 : 0;
}

/*
 * Does the rule called @name, which must end in @tail, overlap @rule without being equal to it? That is so if
 * one of the two has an online address and the other has none.
 */
static bool overlaps(const char *name, const char *tail, const struct rule *rule)
{
	size_t head_len = strlen(HEAD), name_len = strlen(name), tail_len = strlen(tail);
	bool any;

	if (name_len < head_len + tail_len || strncmp(name, HEAD, head_len) != 0 ||
	    strcmp(name + name_len - tail_len, tail) != 0)
		return false;
	any = name_len - head_len - tail_len == strlen(ANY) &&
	      strncmp(name + head_len, ANY, strlen(ANY)) == 0;
	return any == rule->has_online_addr;
}

/* Look for an overlapping rule of another process among the names of this network namespace. */
static int look_for_overlap(const struct rule *rule, char *err, size_t err_size)
{
	char line[256], tail[ENDPOINT_TEXT_LEN + 16];
	FILE *f = fopen("/proc/net/unix", "re");
	int rc = 0;

	if (!f) {
		snprintf(err, err_size, "cannot read /proc/net/unix: %s%s", strerror(errno),
			 errno == ENOENT ? "; /proc is not mounted" : "");
		return -1;
	}
	name_tail(tail, sizeof(tail), rule);
	while (rc == 0 && fgets(line, sizeof(line), f)) {
		char *name = strchr(line, '@'); /* how the kernel shows the zero byte */
		struct sockaddr_un sun;
		socklen_t len;

		if (!name)
			continue;
		name++;
		name[strcspn(name, "\n")] = '\0';
		if (overlaps(name, tail, rule)) {
			len = abstract_address(&sun, name);
			rc = refuse_held(rule, &sun, len, err, err_size);
		}
	}
	fclose(f);
	return rc;
}

int lock_rules(const struct config *c, char *err, size_t err_size)
{
	unsigned i;
	int rc = 0;

	for (i = 0; i < c->n_rules && rc == 0; i++)
		rc = claim(&c->rules[i], err, err_size);
	for (i = 0; i < c->n_rules && rc == 0; i++)
		rc = look_for_overlap(&c->rules[i], err, err_size);
	if (rc < 0)
		lock_release();
	return rc;
}

int lock_plan(const struct plan *p, char *err, size_t err_size)
{
	for (unsigned i = 0; i < p->n_places; i++) {
		char own[ADDR_TEXT_LEN], target[ENDPOINT_TEXT_LEN], name[160], who[64];
		const struct plan_place *at = &p->place[i];
		struct sockaddr_un sun;
		socklen_t len;
		int error;

		addr_format(own, sizeof(own), &at->own);
		endpoint_format(target, sizeof(target), &at->target);
		snprintf(name, sizeof(name), OWN_HEAD "%s->%s", own, target);
		len = abstract_address(&sun, name);
		error = claim_name(&sun, len);
		if (!error)
			continue;
		if (error == EADDRINUSE)
			snprintf(err, err_size,
				 "another tcpcopy on this host copies from %s to %s (%s): give all rules to "
				 "one, or another address of this host with -c",
				 own, target, holder(who, sizeof(who), &sun, len));
		else
			snprintf(err, err_size, "cannot claim %s: %s", name, strerror(error));
		lock_release();
		return -1;
	}
	return 0;
}
