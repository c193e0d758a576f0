/*
 * What is taken of a netlink answer: messages and attributes whose lengths lie, answers to other questions,
 * errors. The kernel's part is played over a pair of sockets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/host/netlink.h"

#define SEQ 7u
#define TYPE 20u

static union {
	struct nlmsghdr h;
	char bytes[512];
} m;

/* An answer of type @type to question @seq, with a header of 4 bytes. */
static struct nlmsghdr *begin(uint16_t type, uint32_t seq)
{
	memset(&m, 0, sizeof(m));
	mnl_nlmsg_put_header(&m);
	m.h.nlmsg_type = type;
	m.h.nlmsg_seq = seq;
	*(uint32_t *)mnl_nlmsg_put_extra_header(&m.h, 4) = 42;
	return &m.h;
}

/* --- attributes --- */

static void attributes(void **state)
{
	const struct nlattr *a[4];

	(void)state;
	begin(TYPE, SEQ);
	mnl_attr_put_u32(&m.h, 1, 11);
	mnl_attr_put_u16(&m.h, 3, 33);
	mnl_attr_put_u32(&m.h, 4, 44); /* more than the table has */
	mnl_attr_put(&m.h, 2 | NLA_F_NESTED, 0, NULL);
	netlink_attributes(a, 3, &m.h, 4);
	assert_null(a[0]);
	assert_int_equal(netlink_u32(a[1]), 11);
	assert_non_null(a[2]);
	assert_int_equal(netlink_u32(a[3]), 0); /* too short */
	assert_int_equal(netlink_u32(NULL), 0);
}

static void nested(void **state)
{
	const struct nlattr *a[3], *in[3];
	struct nlattr *nest;

	(void)state;
	begin(TYPE, SEQ);
	nest = mnl_attr_nest_start(&m.h, 1);
	mnl_attr_put_u32(&m.h, 2, 22);
	mnl_attr_nest_end(&m.h, nest);
	mnl_attr_put_u32(&m.h, 2, 99);
	netlink_attributes(a, 2, &m.h, 4);
	netlink_nested(in, 2, a[1]);
	assert_null(in[1]);
	assert_int_equal(netlink_u32(in[2]), 22);
}

/* An attribute that says it is longer than the message, or shorter than its own head, ends the reading. */
static void attributes_that_lie(void **state)
{
	static const uint16_t lengths[] = { 0, 3, 9, 100, 0xffff };
	const struct nlattr *a[3];

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct nlattr *liar;

		begin(TYPE, SEQ);
		mnl_attr_put_u32(&m.h, 1, 11);
		liar = mnl_nlmsg_get_payload_tail(&m.h);
		mnl_attr_put_u32(&m.h, 2, 22);
		liar->nla_len = lengths[i];
		netlink_attributes(a, 2, &m.h, 4);
		assert_int_equal(netlink_u32(a[1]), 11);
		assert_null(a[2]);
	}
	begin(TYPE, SEQ)->nlmsg_len = NLMSG_HDRLEN + 2; /* not even the header */
	netlink_attributes(a, 2, &m.h, 4);
	assert_null(a[1]);
}

/* --- an exchange --- */

static int ours, kernels;
static unsigned taken;

static int set_up(void **state)
{
	int pair[2];

	(void)state;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return -1;
	ours = pair[0];
	kernels = pair[1];
	taken = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close(ours);
	close(kernels);
	return 0;
}

static void answer(void)
{
	assert_int_equal(send(kernels, &m, m.h.nlmsg_len, 0), m.h.nlmsg_len);
}

static void answer_error(uint32_t seq, int error)
{
	struct nlmsgerr *e;

	memset(&m, 0, sizeof(m));
	mnl_nlmsg_put_header(&m);
	m.h.nlmsg_type = NLMSG_ERROR;
	m.h.nlmsg_seq = seq;
	e = mnl_nlmsg_put_extra_header(&m.h, sizeof(*e));
	e->error = error;
	answer();
}

static int take(const struct nlmsghdr *h, void *arg)
{
	assert_int_equal(h->nlmsg_seq, SEQ);
	assert_int_equal(*(const uint32_t *)mnl_nlmsg_get_payload(h), 42);
	taken++;
	return *(int *)arg;
}

static int ask(int fn_says)
{
	struct nlmsghdr q = {
		.nlmsg_len = sizeof(q), .nlmsg_type = TYPE, .nlmsg_flags = NLM_F_REQUEST, .nlmsg_seq = SEQ
	};

	errno = 0;
	return netlink_exchange(ours, &q, take, &fn_says);
}

static void answers_of_earlier_questions(void **state)
{
	(void)state;
	begin(TYPE, SEQ - 1);
	answer();
	answer_error(SEQ - 2, -EPERM);
	begin(TYPE, SEQ);
	answer();
	assert_int_equal(ask(0), 0);
	assert_int_equal(taken, 1);
}

static void errors(void **state)
{
	(void)state;
	answer_error(SEQ, -ENOENT);
	assert_int_equal(ask(0), -1);
	assert_int_equal(errno, ENOENT);
	answer_error(SEQ, 0);
	assert_int_equal(ask(0), 0);
	begin(NLMSG_ERROR, SEQ); /* too short for an error number */
	answer();
	assert_int_equal(ask(0), -1);
	assert_int_equal(errno, EBADMSG);
	assert_int_equal(taken, 0);
}

static void what_the_callback_says(void **state)
{
	(void)state;
	begin(TYPE, SEQ);
	answer();
	assert_int_equal(ask(5), 5);
}

static void no_answer(void **state)
{
	(void)state;
	assert_int_equal(ask(0), -1);
	assert_int_equal(errno, EAGAIN);
}

static void messages_that_lie(void **state)
{
	static const uint32_t lengths[] = { 0, 15, 4000, 0xffffffff };

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		begin(TYPE, SEQ)->nlmsg_len = lengths[i];
		assert_int_equal(send(kernels, &m, 64, 0), 64);
		assert_int_equal(ask(0), -1);
		assert_int_equal(errno, EBADMSG);
	}
	assert_int_equal(taken, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(attributes),
		cmocka_unit_test(nested),
		cmocka_unit_test(attributes_that_lie),
		cmocka_unit_test_setup_teardown(answers_of_earlier_questions, set_up, tear_down),
		cmocka_unit_test_setup_teardown(errors, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_the_callback_says, set_up, tear_down),
		cmocka_unit_test_setup_teardown(no_answer, set_up, tear_down),
		cmocka_unit_test_setup_teardown(messages_that_lie, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
