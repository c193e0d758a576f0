/*
 * The writer of nf_tables - theory of operation
 *
 * In: a table and endpoints. Out: messages to the kernel's nf_tables (linux/netfilter/nf_tables.h) on an
 * nfnetlink socket. A change is one batch. The kernel carries out a batch as a whole or not at all, before
 * send() returns, and leaves its answers in the socket.
 *
 * This uses libmnl alone. libnftables would bring a parser for a whole language into the one process that
 * has a capability, where a wrong word becomes a rule; it also opens files and name databases. libnftnl
 * would replace nft_rule.c, at the price of one more library and an allocation per expression. The rules are
 * few and fixed, so messages go into one buffer of fixed size. Everything that can be asked for fits:
 * NFT_ELEMENTS_MAX elements take 52 bytes each, in each of two tables; a table takes 6 KiB.
 *
 * The socket owns its tables (NFT_TABLE_F_OWNER, Linux 5.12): nobody else can change or flush them, and they
 * end with the socket, however the process ends. Older kernels refuse the flag. Without it a table
 * survives a kill, until the next nft_create() replaces it.
 */
#include "program/helper/nft.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "program/helper/nft_impl.h"

#define BATCH_SIZE 16384u
#define ANSWER_SIZE 8192u
#define ANSWER_TIMEOUT_S 5
#define COUNT_TRIES 8 /* if the rules change while they are read */

/* --- the socket --- */

int nft_use(struct nft *n, int fd, const struct nft_devices *devices)
{
	*n = (struct nft){ .fd = fd, .refused = NFT_NO_MESSAGE, .owning = true, .devices = devices };
	n->batch = malloc(BATCH_SIZE);
	return n->batch ? 0 : -ENOMEM;
}

int nft_open(struct nft *n, const struct nft_devices *devices)
{
	const struct timeval patience = { .tv_sec = ANSWER_TIMEOUT_S };
	const int one = 1;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER), error;

	error = fd < 0 ? -errno : nft_use(n, fd, devices);
	if (fd < 0 || error) {
		*n = (struct nft){ .fd = fd, .refused = NFT_NO_MESSAGE };
		return error;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one,
		   sizeof(one)); /* errors do not repeat the message */
	return 0;
}

void nft_close(struct nft *n)
{
	if (n->fd >= 0)
		close(n->fd);
	free(n->batch);
}

/* --- batches --- */

static struct nlmsghdr *begin_message(struct nft *n, uint16_t type, uint16_t flags, uint8_t family,
				      uint16_t id)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(n->batch + n->len);
	struct nfgenmsg *g = mnl_nlmsg_put_extra_header(h, sizeof(*g));

	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | flags;
	h->nlmsg_seq = ++n->seq;
	*g = (struct nfgenmsg){ .nfgen_family = family, .version = NFNETLINK_V0, .res_id = htons(id) };
	return h;
}

void nft_end(struct nft *n, struct nlmsghdr *h)
{
	n->len += MNL_ALIGN(h->nlmsg_len);
	n->last = h;
}

struct nlmsghdr *nft_begin(struct nft *n, uint16_t message, uint16_t flags, uint8_t family,
			   uint16_t attribute, enum nft_table table)
{
	struct nlmsghdr *h =
		begin_message(n, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | message), flags, family, 0);

	mnl_attr_put_strz(h, attribute, nft_table_name(n, table));
	return h;
}

static void begin_batch(struct nft *n)
{
	n->len = 0;
	n->first = n->seq + 1;
	nft_end(n, begin_message(n, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
}

/* The answers to messages number @first to @last. */
struct answers {
	uint32_t first, last;
	bool done, interrupted;
	int error;
	/* Gets what is neither an error nor an end; NULL: nothing of that kind is expected. */
	void (*take)(const struct nlmsghdr *h, void *arg);
	void *arg;
};

static int error_of(struct nft *n, const struct nlmsghdr *h)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);

	if (mnl_nlmsg_get_payload_len(h) < sizeof(*e))
		return -EBADMSG;
	if (e->error)
		n->refused = e->msg.nlmsg_type & 0xff;
	return e->error;
}

/*
 * Read one datagram. The kernel answers a batch with the errors of its messages, in order, and then with the
 * acknowledgement that the last message asked for. It sends that even if it has undone the batch, so the
 * first answer decides.
 */
static void read_answers(struct nft *n, struct answers *a, const void *buf, int len)
{
	const struct nlmsghdr *h = buf;

	for (; mnl_nlmsg_ok(h, len) && !a->done; h = mnl_nlmsg_next(h, &len)) {
		if (h->nlmsg_seq - a->first > a->last - a->first)
			continue; /* of an earlier batch */
		a->interrupted |= h->nlmsg_flags & NLM_F_DUMP_INTR;
		a->done = h->nlmsg_type == NLMSG_ERROR || h->nlmsg_type == NLMSG_DONE;
		if (h->nlmsg_type == NLMSG_ERROR)
			a->error = error_of(n, h);
		else if (!a->done && a->take)
			a->take(h, a->arg);
	}
}

/* Send the buffer, which begins with message number @a->first, and read the answers. */
static int converse(struct nft *n, struct answers *a)
{
	_Alignas(struct nlmsghdr) char buf[ANSWER_SIZE];

	a->last = n->seq;
	n->refused = NFT_NO_MESSAGE;
	if (send(n->fd, n->batch, n->len, MSG_NOSIGNAL) < 0)
		return -errno;
	while (!a->done) {
		const ssize_t got = recv(n->fd, buf, sizeof(buf), 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got ? -errno : -EPIPE;
		read_answers(n, a, buf, (int)got);
	}
	return a->error;
}

static int commit(struct nft *n)
{
	struct answers a = { .first = n->first };

	n->last->nlmsg_flags |= NLM_F_ACK;
	nft_end(n, begin_message(n, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
	return converse(n, &a);
}

/* --- tables --- */

static void put_deletion(struct nft *n, enum nft_table table, uint8_t family)
{
	nft_end(n, nft_begin(n, NFT_MSG_DELTABLE, 0, family, NFTA_TABLE_NAME, table));
}

/* What has to be created. */
struct wanted {
	enum nft_table table;
	pid_t pid;
	const struct nft_ports *ports;
	uint8_t old[NFT_FAMILIES + 1]; /* the families of a table to be replaced, ended by 0 */
};

static int create(struct nft *n, const struct wanted *w)
{
	begin_batch(n);
	for (const uint8_t *old = w->old; *old; old++)
		put_deletion(n, w->table, *old);
	nft_put_table(n, w->table, w->pid, w->ports);
	return commit(n);
}

/* 0: the table exists; -ENOENT: it does not. */
static int look_for(struct nft *n, enum nft_table table, uint8_t family)
{
	struct answers a = { .first = n->seq + 1 };

	n->len = 0;
	nft_end(n, nft_begin(n, NFT_MSG_GETTABLE, NLM_F_ACK, family, NFTA_TABLE_NAME, table));
	return converse(n, &a); /* the table, then the acknowledgement */
}

int nft_create(struct nft *n, enum nft_table table, pid_t pid, const struct nft_ports ports[NFT_PORTS_MAX],
	       bool *replaced)
{
	struct wanted w = { .table = table, .pid = pid, .ports = ports };
	unsigned count = 0;
	int error;

	*replaced = false;
	if (table == NFT_OWN)
		snprintf(n->own_name, sizeof(n->own_name), NFT_OWN_NAME, (long)pid);
	for (const uint8_t *family = nft_table_families(n, table); *family; family++) {
		error = look_for(n, table, *family);
		if (error && error != -ENOENT)
			return error;
		if (!error)
			w.old[count++] = *family;
	}
	error = create(n, &w);
	if (table == NFT_GUARD && (error == -EINVAL || error == -EOPNOTSUPP) &&
	    n->refused == NFT_MSG_NEWTABLE && n->owning) {
		n->owning = false;
		error = create(n, &w);
	}
	if (table == NFT_OWN && error == -ENOENT && n->refused == NFT_MSG_NEWRULE) {
		n->tracked = true; /* a kernel without connection tracking has no "notrack" */
		error = create(n, &w);
	}
	*replaced = count && !error;
	return error;
}

int nft_possible(void)
{
	struct nft n;
	int error = nft_open(&n, NULL);

	if (!error)
		error = look_for(&n, NFT_GUARD, NFPROTO_INET);
	nft_close(&n);
	return error == -ENOENT ? 0 : error;
}

int nft_delete(struct nft *n, enum nft_table table)
{
	begin_batch(n);
	for (const uint8_t *family = nft_table_families(n, table); *family; family++)
		put_deletion(n, table, *family);
	return commit(n);
}

/* --- elements --- */

static int change(struct nft *n, uint16_t message, enum nft_table table, const struct nft_element *e,
		  unsigned count)
{
	begin_batch(n);
	nft_put_elements(n, message, table, e, count);
	return commit(n);
}

int nft_add(struct nft *n, enum nft_table table, const struct nft_element *e, unsigned count)
{
	return change(n, NFT_MSG_NEWSETELEM, table, e, count);
}

int nft_remove(struct nft *n, enum nft_table table, const struct nft_element *e, unsigned count)
{
	return change(n, NFT_MSG_DELSETELEM, table, e, count);
}

/* --- counters --- */

static const struct nlattr *find(const struct nlattr *nest, uint16_t type)
{
	const struct nlattr *a;

	if (nest)
		mnl_attr_for_each_nested(a, nest)
			if (mnl_attr_get_type(a) == type)
				return a;
	return NULL;
}

static uint64_t number(const struct nlattr *a)
{
	return a && mnl_attr_get_payload_len(a) == sizeof(uint64_t) ? be64toh(mnl_attr_get_u64(a)) : 0;
}

/* Add up the counters of a rule. */
static void take_rule(const struct nlmsghdr *h, void *arg)
{
	struct nft_count *count = arg;
	const struct nlattr *a, *e;

	mnl_attr_for_each(a, h, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(a) != NFTA_RULE_EXPRESSIONS)
			continue;
		mnl_attr_for_each_nested(e, a) {
			const struct nlattr *name = find(e, NFTA_EXPR_NAME), *own = find(e, NFTA_EXPR_DATA);

			if (!name || mnl_attr_validate(name, MNL_TYPE_NUL_STRING) < 0 ||
			    strcmp(mnl_attr_get_str(name), "counter"))
				continue;
			count->packets += number(find(own, NFTA_COUNTER_PACKETS));
			count->bytes += number(find(own, NFTA_COUNTER_BYTES));
		}
	}
}

int nft_count(struct nft *n, enum nft_table table, struct nft_count *count)
{
	for (unsigned i = 0; i < COUNT_TRIES; i++) {
		struct answers a = { .first = n->seq + 1, .take = take_rule, .arg = count };
		int error;

		*count = (struct nft_count){ 0 };
		n->len = 0;
		nft_end(n, nft_begin(n, NFT_MSG_GETRULE, NLM_F_DUMP, NFPROTO_UNSPEC, NFTA_RULE_TABLE, table));
		error = converse(n, &a);
		if (error || !a.interrupted)
			return error;
	}
	return -EAGAIN;
}

/* --- words --- */

const char *nft_words(int error, uint16_t refused, char *buf, size_t size)
{
	static const char *const what[] = {
		[NFT_MSG_NEWTABLE] = "the table",
		[NFT_MSG_DELTABLE] = "to delete the table",
		[NFT_MSG_NEWCHAIN] = "the chain",
		[NFT_MSG_NEWRULE] = "a rule",
		[NFT_MSG_NEWSET] = "a set",
		[NFT_MSG_NEWSETELEM] = "an element",
		[NFT_MSG_DELSETELEM] = "to delete an element",
	};
	const bool asked = refused == NFT_MSG_GETTABLE;

	if (error == -EPERM && refused == NFT_MSG_DELTABLE)
		snprintf(buf, size, "another process owns the nft table");
	else if (error == -EPERM)
		snprintf(buf, size, "nf_tables needs CAP_NET_ADMIN: run as root");
	else if (error == -EPROTONOSUPPORT || (asked && (error == -EINVAL || error == -EOPNOTSUPP)))
		snprintf(buf, size, "this kernel has no nf_tables");
	else if (error == -EPIPE)
		snprintf(buf, size, "the helper process has ended");
	else if (error == -ETIMEDOUT)
		snprintf(buf, size, "the helper process does not answer");
	else
		snprintf(buf, size, "nf_tables refused %s: %s",
			 refused < sizeof(what) / sizeof(what[0]) && what[refused] ? what[refused]
										   : "the request",
			 strerror(-error));
	return buf;
}
