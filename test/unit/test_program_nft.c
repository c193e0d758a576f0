/*
 * The writer of nf_tables: what it sends, and what it makes of answers that a kernel at hand does not give:
 * one without owners of tables, errors in the midst of a batch, lists that change while they are read. The
 * kernel's part is played over a pair of sockets; its answers are queued before the question.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "program/helper/nft.h"

#define MESSAGE(type) ((uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | (type)))

static struct nft n;
static const struct nft_ports no_ports[NFT_PORTS_MAX];
static const char *table_name = NFT_GUARD_NAME;
static int kernel;
static union {
	struct nlmsghdr h;
	char bytes[8192];
} m;

static int set_up(void **state)
{
	int pair[2];

	(void)state;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return -1;
	kernel = pair[1];
	return nft_use(&n, pair[0], NULL);
}

static int tear_down(void **state)
{
	(void)state;
	nft_close(&n);
	close(kernel);
	return 0;
}

static int own_down(void **state)
{
	table_name = NFT_GUARD_NAME;
	return tear_down(state);
}

/* --- the kernel's answers --- */

static void send_it(void)
{
	assert_int_equal(send(kernel, &m, m.h.nlmsg_len, 0), m.h.nlmsg_len);
}

/* The acknowledgement of message @seq, whose type was @type, or an error. */
static void answer(uint32_t seq, uint16_t type, int error)
{
	struct nlmsgerr *e;

	memset(&m, 0, sizeof(m));
	mnl_nlmsg_put_header(&m);
	m.h.nlmsg_type = NLMSG_ERROR;
	m.h.nlmsg_seq = seq;
	e = mnl_nlmsg_put_extra_header(&m.h, sizeof(*e));
	e->error = error;
	e->msg.nlmsg_type = type;
	send_it();
}

/* A rule of a list, with some expressions before the counter; @short_ones: numbers of four bytes. */
static void answer_rule(uint32_t seq, uint16_t flags, uint64_t packets, uint64_t bytes, bool short_ones)
{
	static const char *const names[] = { "meta", "counter", "immediate" };
	struct nlattr *all, *one, *own;

	memset(&m, 0, sizeof(m));
	mnl_nlmsg_put_header(&m);
	m.h.nlmsg_type = MESSAGE(NFT_MSG_NEWRULE);
	m.h.nlmsg_flags = NLM_F_MULTI | flags;
	m.h.nlmsg_seq = seq;
	mnl_nlmsg_put_extra_header(&m.h, sizeof(struct nfgenmsg));
	mnl_attr_put_strz(&m.h, NFTA_RULE_TABLE, NFT_GUARD_NAME);
	all = mnl_attr_nest_start(&m.h, NFTA_RULE_EXPRESSIONS);
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		one = mnl_attr_nest_start(&m.h, NFTA_LIST_ELEM);
		mnl_attr_put_strz(&m.h, NFTA_EXPR_NAME, names[i]);
		own = mnl_attr_nest_start(&m.h, NFTA_EXPR_DATA);
		if (short_ones) {
			mnl_attr_put_u32(&m.h, NFTA_COUNTER_PACKETS, 7);
		} else {
			mnl_attr_put_u64(&m.h, NFTA_COUNTER_BYTES, htobe64(bytes));
			mnl_attr_put_u64(&m.h, NFTA_COUNTER_PACKETS, htobe64(packets));
		}
		mnl_attr_nest_end(&m.h, own);
		mnl_attr_nest_end(&m.h, one);
	}
	mnl_attr_nest_end(&m.h, all);
	send_it();
}

static void answer_done(uint32_t seq)
{
	memset(&m, 0, sizeof(m));
	mnl_nlmsg_put_header(&m);
	m.h.nlmsg_type = NLMSG_DONE;
	m.h.nlmsg_flags = NLM_F_MULTI;
	m.h.nlmsg_seq = seq;
	*(int *)mnl_nlmsg_put_extra_header(&m.h, sizeof(int)) = 0;
	send_it();
}

/* --- what was sent --- */

static int left; /* of the batch in m */

/* The next datagram that the kernel got: a batch or a question. */
static const struct nlmsghdr *received(void)
{
	left = (int)recv(kernel, &m, sizeof(m), 0);
	assert_true(left > 0);
	assert_true(mnl_nlmsg_ok(&m.h, left));
	return &m.h;
}

static const struct nlmsghdr *next(const struct nlmsghdr *h)
{
	h = mnl_nlmsg_next(h, &left);
	assert_true(mnl_nlmsg_ok(h, left));
	return h;
}

static const struct nlattr *attribute(const struct nlmsghdr *h, uint16_t type)
{
	const struct nlattr *a;

	mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
		if (mnl_attr_get_type(a) == type)
			return a;
	return NULL;
}

static void no_more(void)
{
	assert_int_equal(recv(kernel, &m, sizeof(m), 0), -1);
	assert_int_equal(errno, EAGAIN);
}

/* The batch is of these messages, and the last of them alone asks for an answer. */
static void assert_batch(const uint16_t *types, unsigned count, uint32_t first_seq)
{
	const struct nlmsghdr *h = received();

	assert_int_equal(h->nlmsg_type, NFNL_MSG_BATCH_BEGIN);
	assert_int_equal(h->nlmsg_seq, first_seq);
	for (unsigned i = 0; i < count; i++) {
		h = next(h);
		assert_int_equal(h->nlmsg_type, MESSAGE(types[i]));
		assert_int_equal(h->nlmsg_seq, first_seq + 1 + i);
		assert_int_equal(!!(h->nlmsg_flags & NLM_F_ACK), i + 1 == count);
		/* A table of somebody else that was made meanwhile is not added to. */
		assert_int_equal(!!(h->nlmsg_flags & NLM_F_EXCL), types[i] == NFT_MSG_NEWTABLE);
		assert_string_equal(mnl_attr_get_str(attribute(h, 1)), table_name); /* everywhere 1 */
		assert_int_equal(((const struct nfgenmsg *)mnl_nlmsg_get_payload(h))->nfgen_family,
				 NFPROTO_INET);
	}
	h = next(h);
	assert_int_equal(h->nlmsg_type, NFNL_MSG_BATCH_END);
	mnl_nlmsg_next(h, &left);
	assert_int_equal(left, 0);
}

static uint32_t table_flags(void)
{
	const struct nlmsghdr *h = &m.h;

	left = sizeof(m);
	while (h->nlmsg_type != MESSAGE(NFT_MSG_NEWTABLE))
		h = mnl_nlmsg_next(h, &left);
	return ntohl(mnl_attr_get_u32(attribute(h, NFTA_TABLE_FLAGS)));
}

/* --- tables --- */

static const uint16_t whole_table[] = { NFT_MSG_NEWTABLE, NFT_MSG_NEWSET,  NFT_MSG_NEWSET,
					NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, NFT_MSG_NEWRULE };

static void a_table_has_an_owner(void **state)
{
	bool replaced = true;

	(void)state;
	answer(1, MESSAGE(NFT_MSG_GETTABLE), -ENOENT);
	answer(8, MESSAGE(NFT_MSG_NEWRULE), 0);
	assert_int_equal(nft_create(&n, NFT_GUARD, 42, no_ports, &replaced), 0);
	assert_false(replaced);
	assert_true(n.owning);
	assert_int_equal(received()->nlmsg_type, MESSAGE(NFT_MSG_GETTABLE));
	assert_batch(whole_table, ARRAY_SIZE(whole_table), 2);
	assert_int_equal(table_flags(), NFT_TABLE_F_OWNER);
	no_more();
}

/* Before Linux 5.12. Also there is the acknowledgement of a batch that did nothing. */
static void a_kernel_without_owners(void **state)
{
	static const int errors[] = { -EINVAL, -EOPNOTSUPP };
	bool replaced;

	for (unsigned i = 0; i < ARRAY_SIZE(errors); i++) {
		answer(1, MESSAGE(NFT_MSG_GETTABLE), -ENOENT);
		answer(3, MESSAGE(NFT_MSG_NEWTABLE), errors[i]);
		answer(4, MESSAGE(NFT_MSG_NEWSET), -ENOENT);
		answer(8, MESSAGE(NFT_MSG_NEWRULE), 0);
		answer(16, MESSAGE(NFT_MSG_NEWRULE), 0);
		assert_int_equal(nft_create(&n, NFT_GUARD, 42, no_ports, &replaced), 0);
		assert_false(n.owning);
		received();
		assert_batch(whole_table, ARRAY_SIZE(whole_table), 2);
		assert_int_equal(table_flags(), NFT_TABLE_F_OWNER);
		assert_batch(whole_table, ARRAY_SIZE(whole_table), 10);
		assert_int_equal(table_flags(), 0);
		no_more();
		tear_down(state);
		assert_int_equal(set_up(state), 0);
	}
}

/* Another reason is not taken for that one. */
static void other_errors_are_told(void **state)
{
	bool replaced;

	answer(1, MESSAGE(NFT_MSG_GETTABLE), -ENOENT);
	answer(7, MESSAGE(NFT_MSG_NEWRULE), -EINVAL);
	answer(8, MESSAGE(NFT_MSG_NEWRULE), 0);
	assert_int_equal(nft_create(&n, NFT_GUARD, 42, no_ports, &replaced), -EINVAL);
	assert_int_equal(n.refused, NFT_MSG_NEWRULE);
	received();
	received();
	no_more();
	tear_down(state);
	assert_int_equal(set_up(state), 0);
	answer(1, MESSAGE(NFT_MSG_GETTABLE), -EPERM);
	assert_int_equal(nft_create(&n, NFT_GUARD, 42, no_ports, &replaced), -EPERM);
	assert_int_equal(n.refused, NFT_MSG_GETTABLE);
	received();
	no_more();
}

/* A tcpcopy's own table: a rule for each family, range and hook, and two that drop what has no socket. */
static void an_own_table(void **state)
{
	static const struct nft_ports ports[NFT_PORTS_MAX] = { { 1024, 32767 }, { 61000, 65535 } };
	static const uint16_t whole[] = { NFT_MSG_NEWTABLE, NFT_MSG_NEWSET,  NFT_MSG_NEWSET,
					  NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, NFT_MSG_NEWRULE,
					  NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, NFT_MSG_NEWRULE,
					  NFT_MSG_NEWRULE,  NFT_MSG_NEWRULE, NFT_MSG_NEWCHAIN,
					  NFT_MSG_NEWRULE,  NFT_MSG_NEWRULE, NFT_MSG_NEWRULE,
					  NFT_MSG_NEWRULE };
	static const uint16_t tracked[] = { NFT_MSG_NEWTABLE, NFT_MSG_NEWSET,  NFT_MSG_NEWSET,
					    NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, NFT_MSG_NEWRULE,
					    NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, NFT_MSG_NEWRULE,
					    NFT_MSG_NEWRULE,  NFT_MSG_NEWRULE };
	bool replaced = true;

	(void)state;
	table_name = "tcpcopy_own_42";
	answer(1, MESSAGE(NFT_MSG_GETTABLE), -ENOENT);
	answer(18, MESSAGE(NFT_MSG_NEWRULE), -ENOENT); /* there is no connection tracking */
	answer(20 + ARRAY_SIZE(tracked), MESSAGE(NFT_MSG_NEWRULE), 0);
	assert_int_equal(nft_create(&n, NFT_OWN, 42, ports, &replaced), 0);
	assert_false(replaced);
	assert_true(n.owning);
	received();
	assert_batch(whole, ARRAY_SIZE(whole), 2);
	assert_int_equal(table_flags(), NFT_TABLE_F_OWNER);
	assert_batch(tracked, ARRAY_SIZE(tracked), 20);
	assert_int_equal(table_flags(), NFT_TABLE_F_OWNER);
	no_more();
}

/* A table of ours that outlives us would drop what is somebody else's by then. */
static void an_own_table_has_an_owner_or_is_none(void **state)
{
	bool replaced;

	(void)state;
	answer(1, MESSAGE(NFT_MSG_GETTABLE), -ENOENT);
	answer(3, MESSAGE(NFT_MSG_NEWTABLE), -EINVAL);
	answer(18, MESSAGE(NFT_MSG_NEWRULE), 0);
	assert_int_equal(
		nft_create(&n, NFT_OWN, 42, (struct nft_ports[NFT_PORTS_MAX]){ { 2000, 3000 } }, &replaced),
		-EINVAL);
	assert_int_equal(n.refused, NFT_MSG_NEWTABLE);
	received();
	received();
	no_more();
}

static void what_was_left_is_replaced_in_one_go(void **state)
{
	static const uint16_t types[] = { NFT_MSG_DELTABLE, NFT_MSG_NEWTABLE, NFT_MSG_NEWSET, NFT_MSG_NEWSET,
					  NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE,  NFT_MSG_NEWRULE };
	bool replaced = false;

	(void)state;
	answer(1, MESSAGE(NFT_MSG_GETTABLE), 0);
	answer(9, MESSAGE(NFT_MSG_NEWRULE), 0);
	assert_int_equal(nft_create(&n, NFT_GUARD, 42, no_ports, &replaced), 0);
	assert_true(replaced);
	received();
	assert_batch(types, ARRAY_SIZE(types), 2);
}

static void append_names(char *names, const struct nlattr *list)
{
	const struct nlattr *a;

	mnl_attr_for_each_nested(a, list)
		if (mnl_attr_get_type(a) == NFTA_DEVICE_NAME)
			strcat(strcat(names, mnl_attr_get_str(a)), " ");
}

/* With interfaces there are two of the kernel's tables, made and removed as one. */
static void with_interfaces_there_are_two_tables(void **state)
{
	static const uint8_t families[] = { NFPROTO_NETDEV, NFPROTO_INET };
	static const struct nft_devices devices = { .count = 2, .name = { "eth0", "br0" } };
	const struct nlattr *hook, *list;
	const struct nlmsghdr *h;
	bool replaced = false;
	char names[64] = "";

	(void)state;
	n.devices = &devices;
	answer(1, MESSAGE(NFT_MSG_GETTABLE), -ENOENT);
	answer(2, MESSAGE(NFT_MSG_GETTABLE), 0);
	answer(16, MESSAGE(NFT_MSG_NEWRULE), 0);
	assert_int_equal(nft_create(&n, NFT_GUARD, 42, no_ports, &replaced), 0);
	assert_true(replaced);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(((const struct nfgenmsg *)mnl_nlmsg_get_payload(received()))->nfgen_family,
				 families[i]);
	h = next(next(received())); /* the beginning, the deletion of the one that there was */
	for (unsigned i = 0; i < 2; i++)
		for (unsigned k = 0; k < ARRAY_SIZE(whole_table); k++) {
			assert_int_equal(h->nlmsg_type, MESSAGE(whole_table[k]));
			assert_int_equal(((const struct nfgenmsg *)mnl_nlmsg_get_payload(h))->nfgen_family,
					 families[i]);
			hook = attribute(h, NFTA_CHAIN_HOOK);
			if (whole_table[k] == NFT_MSG_NEWCHAIN && !i) {
				mnl_attr_for_each_nested(list, hook)
					if (mnl_attr_get_type(list) == NFTA_HOOK_DEVS)
						append_names(names, list);
			}
			h = next(h);
		}
	assert_string_equal(names, "eth0 br0 ");
	assert_int_equal(h->nlmsg_type, NFNL_MSG_BATCH_END);
}

static void a_table_of_somebody_else(void **state)
{
	bool replaced = true;

	(void)state;
	answer(1, MESSAGE(NFT_MSG_GETTABLE), 0);
	answer(3, MESSAGE(NFT_MSG_DELTABLE), -EPERM);
	answer(9, MESSAGE(NFT_MSG_NEWRULE), 0);
	assert_int_equal(nft_create(&n, NFT_GUARD, 42, no_ports, &replaced), -EPERM);
	assert_int_equal(n.refused, NFT_MSG_DELTABLE);
	assert_false(replaced);
}

/*
 * The commit itself: the kernel names the batch's first message, and acknowledges the last one all the same.
 */
static void a_batch_that_cannot_be_carried_out(void **state)
{
	(void)state;
	answer(1, NFNL_MSG_BATCH_BEGIN, -ENOMEM);
	answer(2, MESSAGE(NFT_MSG_DELTABLE), 0);
	assert_int_equal(nft_delete(&n, NFT_GUARD), -ENOMEM);
}

static void no_answer(void **state)
{
	(void)state;
	assert_int_equal(nft_delete(&n, NFT_GUARD), -EAGAIN);
}

/* --- elements --- */

static void elements_of_both_families(void **state)
{
	static const uint16_t types[] = { NFT_MSG_NEWSETELEM, NFT_MSG_NEWSETELEM };
	const struct nft_element e[] = {
		{ .family = 6, .port = 0x1234, .address = { 0xfd, [15] = 1 } },
		{ .family = 4, .port = 0x5678, .address = { 10, 1, 2, 3 } },
		{ .family = 6, .port = 1, .address = { 0xfd, [15] = 2 } },
	};
	static const uint8_t key4[] = { 10, 1, 2, 3, 0x56, 0x78, 0, 0 };
	static const uint8_t key6[] = { 0xfd, [15] = 1, 0x12, 0x34, 0, 0 };

	(void)state;
	answer(3, MESSAGE(NFT_MSG_NEWSETELEM), 0);
	assert_int_equal(nft_add(&n, NFT_GUARD, e, ARRAY_SIZE(e)), 0);
	assert_batch(types, ARRAY_SIZE(types), 1);
	assert_non_null(memmem(&m, sizeof(m), key4, sizeof(key4)));
	assert_non_null(memmem(&m, sizeof(m), key6, sizeof(key6)));
}

/* The most that can be asked for fits, and is one message. */
static void most_elements(void **state)
{
	static const uint16_t types[] = { NFT_MSG_DELSETELEM };
	struct nft_element e[NFT_ELEMENTS_MAX];

	(void)state;
	for (unsigned i = 0; i < NFT_ELEMENTS_MAX; i++)
		e[i] = (struct nft_element){ .family = 6, .port = 1, .address = { 0xfd, [15] = (uint8_t)i } };
	answer(2, MESSAGE(NFT_MSG_DELSETELEM), -ENOENT);
	assert_int_equal(nft_remove(&n, NFT_GUARD, e, NFT_ELEMENTS_MAX), -ENOENT);
	assert_int_equal(n.refused, NFT_MSG_DELSETELEM);
	assert_batch(types, ARRAY_SIZE(types), 1);
}

/* --- counters --- */

static void counters_of_all_rules(void **state)
{
	struct nft_count count;

	(void)state;
	answer_rule(1, 0, 3, 180, false);
	answer_rule(1, 0, 1ull << 40, 1ull << 50, false);
	answer_rule(1, 0, 0, 0, true);
	answer_done(1);
	assert_int_equal(nft_count(&n, NFT_GUARD, &count), 0);
	assert_int_equal(count.packets, 3 + (1ull << 40));
	assert_int_equal(count.bytes, 180 + (1ull << 50));
	assert_int_equal(received()->nlmsg_flags & NLM_F_DUMP, NLM_F_DUMP);
}

/* What was read of a list that changed meanwhile is not counted; and it is not asked for without end. */
static void a_list_that_changes(void **state)
{
	struct nft_count count;

	(void)state;
	answer_rule(1, 0, 3, 180, false);
	answer_rule(1, NLM_F_DUMP_INTR, 5, 300, false);
	answer_done(1);
	answer_rule(2, 0, 4, 240, false);
	answer_done(2);
	assert_int_equal(nft_count(&n, NFT_GUARD, &count), 0);
	assert_int_equal(count.packets, 4);
	assert_int_equal(count.bytes, 240);
	for (uint32_t seq = 3; seq < 100; seq++) {
		answer_rule(seq, NLM_F_DUMP_INTR, 5, 300, false);
		answer_done(seq);
	}
	assert_int_equal(nft_count(&n, NFT_GUARD, &count), -EAGAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_table_has_an_owner, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_kernel_without_owners, set_up, tear_down),
		cmocka_unit_test_setup_teardown(other_errors_are_told, set_up, tear_down),
		cmocka_unit_test_setup_teardown(with_interfaces_there_are_two_tables, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_own_table, set_up, own_down),
		cmocka_unit_test_setup_teardown(an_own_table_has_an_owner_or_is_none, set_up, own_down),
		cmocka_unit_test_setup_teardown(what_was_left_is_replaced_in_one_go, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_table_of_somebody_else, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_batch_that_cannot_be_carried_out, set_up, tear_down),
		cmocka_unit_test_setup_teardown(no_answer, set_up, tear_down),
		cmocka_unit_test_setup_teardown(elements_of_both_families, set_up, tear_down),
		cmocka_unit_test_setup_teardown(most_elements, set_up, tear_down),
		cmocka_unit_test_setup_teardown(counters_of_all_rules, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_list_that_changes, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
