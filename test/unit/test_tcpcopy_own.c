/*
 * Own addresses: which ports the plan has, in which order they are used, and whose an answer is. Targets are
 * on loopback, so that any host has a route to them; nothing is sent.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <event2/event.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "io/host/online.h"
#include "packet/options.h"
#include "tcpcopy/pipeline.h"

static struct config c;
static struct plan plan;
static struct pipeline pipeline;
static char err[512];

static struct addr loopback(uint8_t last)
{
	const uint8_t a[4] = { 127, 0, 0, last };

	return addr_from_v4(a);
}

/* @n rules, to the port 7001 and following. */
static void rules(unsigned n)
{
	memset(&c, 0, sizeof(c));
	c.run.workers = 1;
	c.way_back = RETURN_OWN;
	c.n_rules = n;
	for (unsigned i = 0; i < n; i++)
		c.rules[i] = (struct rule){ .online_port = (uint16_t)(6001 + i),
					    .target = { loopback(1), (uint16_t)(7001 + i) } };
}

static void only_ports(uint16_t first, uint16_t last)
{
	c.own_range[0] = (struct port_range){ first, last };
	c.n_own_ranges = 1;
}

/* A socket that listens at 127.0.0.@last, on a port of the kernel's choice. */
static int listener(uint8_t last, uint16_t *port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000000u | last) };
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	*port = ntohs(in.sin_port);
	return fd;
}

static void answers_that_come_too_fast(void **state)
{
	struct inflow f = { .rate = 1000 };
	uint64_t now = 100 * NS_PER_SEC;

	(void)state;
	inflow_add(&f, 1000, now);
	assert_false(inflow_is_over(&f, now)); /* a second's worth */
	inflow_add(&f, 500, now);
	assert_true(inflow_is_over(&f, now));
	assert_true(inflow_is_over(&f, now + NS_PER_SEC / 4));
	assert_false(inflow_is_over(&f, now + NS_PER_SEC / 2));
	inflow_add(&f, 1000000, now + NS_PER_SEC); /* however much it was, */
	assert_true(inflow_is_over(&f, now + 2 * NS_PER_SEC - 1));
	assert_false(inflow_is_over(&f, now + 2 * NS_PER_SEC)); /* a second without any is enough */
	assert_true(f.avoided == 3 && f.bytes == 1001500);
	f = (struct inflow){ .rate = 0 };
	inflow_add(&f, 1u << 31, now);
	assert_false(inflow_is_over(&f, now));
}

static void make_plan(void)
{
	assert_int_equal(plan_make(&plan, &c, err, sizeof(err)), 0);
}

static void what_this_host_leaves(void **state)
{
	unsigned first, last, n = 0;
	FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
	char text[PLAN_PORTS_TEXT];

	(void)state;
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%u %u", &first, &last), 2);
	fclose(f);
	rules(1);
	make_plan();
	for (unsigned port = 0; port < 65536; port++) {
		const bool usable = plan_usable(&plan, (uint16_t)port);

		n += usable;
		if (port < 1024 || (port >= first && port <= last) || port == 6001)
			assert_false(usable);
	}
	assert_int_equal(n, plan.n_ports);
	assert_true(n > 1000);
	assert_int_equal(plan.n_places, 1);
	assert_true(addr_eq(&plan.place[0].own, &c.rules[0].target.addr)); /* this host's own to itself */
	assert_non_null(strstr(plan_ports_format(&plan, text), "1024-"));
}

static void what_listens_is_left_out(void **state)
{
	uint16_t port;
	int fd = listener(5, &port);

	(void)state;
	rules(1);
	only_ports(port, port);
	assert_int_equal(plan_make(&plan, &c, err, sizeof(err)), -1);
	assert_non_null(strstr(err, "--own-ports"));
	close(fd);
	make_plan();
	assert_int_equal(plan.n_ports, 1);
	assert_true(plan_usable(&plan, port));
}

static void so_many_of_them(void **state)
{
	(void)state;
	rules(1);
	c.own_ports = 10;
	make_plan();
	assert_int_equal(plan.n_ports, 10);
	for (unsigned port = 0; port < 65536; port++)
		if (plan_usable(&plan, (uint16_t)port))
			assert_true(port >= plan.range[0].first &&
				    port <= plan.range[plan.n_ranges - 1].last);
}

static void the_filter_compiles_whatever_the_plan(void **state)
{
	static char text[PLAN_FILTER_SIZE];

	(void)state;
	rules(20);
	for (uint8_t i = 0; i < 12; i++)
		c.pool[c.n_pool++] = (struct prefix){ .addr = loopback((uint8_t)(20 + i)), .len = 128 };
	make_plan();
	assert_int_equal(plan.n_places, 240);
	assert_int_equal(plan_filter(&plan, text, sizeof(text)), 0);
	assert_int_equal(capture_check_filter(text, err, sizeof(err)), 0);
	assert_int_equal(plan_filter(&plan, text, 5000), -1);
	c.n_rules = 22;
	c.rules[20].target = (struct endpoint){ loopback(1), 9001 };
	c.rules[21].target = (struct endpoint){ loopback(1), 9002 };
	assert_int_equal(plan_make(&plan, &c, err, sizeof(err)), -1);
	assert_non_null(strstr(err, "more than 256 pairs"));
}

static struct own *open_own(struct event_base *base, struct online *sockets)
{
	struct own *o;

	memset(&pipeline, 0, sizeof(pipeline));
	pipeline.spread.workers = 1;
	make_plan();
	o = own_open(base, &plan, sockets, &pipeline);
	assert_non_null(o);
	return o;
}

static uint16_t take(struct own *o, uint16_t rule)
{
	const struct flow_key k = { .target = rule };
	struct endpoint source = { .port = 0 };

	return own_take(o, &k, &source) ? source.port : 0;
}

static void give(struct own *o, uint16_t rule, uint16_t port)
{
	own_give(o, &(struct flow_key){ .target = rule }, &(struct endpoint){ loopback(1), port });
}

static void the_longest_free_port_is_taken(void **state)
{
	struct event_base *base = event_base_new();
	struct own *o;
	uint64_t used = 0, all = 0;

	(void)state;
	rules(2);
	c.rules[1].target = c.rules[0].target; /* both share the ports */
	only_ports(3000, 3003);
	o = open_own(base, NULL);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(take(o, i % 2), 3000 + i);
	assert_int_equal(take(o, 0), 0);
	own_ports(o, &used, &all);
	assert_int_equal(used, 4);
	assert_int_equal(all, 4);
	give(o, 0, 3002);
	give(o, 1, 3000);
	assert_int_equal(take(o, 0), 3002);
	give(o, 0, 3001);
	assert_int_equal(take(o, 1), 3000);
	assert_int_equal(take(o, 0), 3001);
	assert_int_equal(take(o, 0), 0);
	returns_close(own_returns(o));
	event_base_free(base);
}

static void addresses_and_targets_have_ports_of_their_own(void **state)
{
	struct event_base *base = event_base_new();
	struct own *o;

	(void)state;
	rules(2);
	c.pool[c.n_pool++] = (struct prefix){ .addr = loopback(30), .len = 128 };
	c.pool[c.n_pool++] = (struct prefix){ .addr = loopback(31), .len = 128 };
	only_ports(3000, 3000);
	o = open_own(base, NULL);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(take(o, 0), 3000);
		assert_int_equal(take(o, 1), 3000);
	}
	assert_int_equal(take(o, 0), 0);
	assert_int_equal(take(o, 1), 0);
	returns_close(own_returns(o));
	event_base_free(base);
}

static void a_port_that_a_socket_of_this_host_gets_meanwhile(void **state)
{
	struct event_base *base = event_base_new();
	struct online *sockets = online_open();
	struct tuple answer;
	struct own *o;
	uint64_t id;
	uint16_t port;
	int fd = listener(1, &port);

	(void)state;
	close(fd); /* so the plan has it */
	rules(1);
	only_ports((uint16_t)(port - 1), (uint16_t)(port + 1));
	o = open_own(base, sockets);
	assert_int_equal(plan.n_ports, 3);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd,
			      (struct sockaddr *)&(struct sockaddr_in){ .sin_family = AF_INET,
									.sin_port = htons(port) },
			      sizeof(struct sockaddr_in)),
			 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(take(o, 0), port - 1);
	assert_int_equal(take(o, 0), port + 1);
	assert_int_equal(take(o, 0), 0);
	assert_true(own_counters(o)->avoided >= 2);
	answer = (struct tuple){ .src = c.rules[0].target, .dst = { loopback(1), port } };
	assert_int_equal(own_answer(o, &answer, &id), OWN_HOST);
	close(fd);
	assert_int_equal(own_answer(o, &answer, &id), OWN_UNKNOWN);
	assert_int_equal(take(o, 0), port);
	returns_close(own_returns(o));
	online_close(sockets);
	event_base_free(base);
}

static void whose_an_answer_is(void **state)
{
	struct event_base *base = event_base_new();
	struct tuple answer;
	struct own *o;
	uint64_t id = 7;

	(void)state;
	rules(1);
	only_ports(3000, 3001);
	o = open_own(base, NULL);
	answer = (struct tuple){ .src = c.rules[0].target, .dst = { loopback(1), 3000 } };
	assert_int_equal(own_answer(o, &answer, &id), OWN_UNKNOWN);
	returns_watch(own_returns(o), 0, &answer, 0); /* a number like others */
	assert_int_equal(own_answer(o, &answer, &id), OWN_SESSION);
	assert_int_equal(id, 0);
	returns_unwatch(own_returns(o), 3, &answer); /* an earlier session of the port */
	assert_int_equal(own_answer(o, &answer, &id), OWN_SESSION);
	returns_unwatch(own_returns(o), 0, &answer);
	assert_int_equal(own_answer(o, &answer, &id), OWN_UNKNOWN);
	answer.dst.port = 3002;
	assert_int_equal(own_answer(o, &answer, &id), OWN_NO_ANSWER);
	answer.dst.port = 3001;
	answer.src.port++;
	assert_int_equal(own_answer(o, &answer, &id), OWN_NO_ANSWER);
	answer.src = c.rules[0].target;
	answer.dst.addr = loopback(10);
	assert_int_equal(own_answer(o, &answer, &id), OWN_NO_ANSWER);
	assert_int_equal(own_counters(o)->answers, 4);
	assert_int_equal(own_counters(o)->given + own_counters(o)->unknown, 4);
	returns_close(own_returns(o));
	event_base_free(base);
}

/* Ours are expected; one more is of this host's TCP, and ends the session and the use of its port. */
static void a_reset_that_we_have_not_sent(void **state)
{
	struct event_base *base = event_base_new();
	struct tx_segment reset = { .flags = TCPF_RST | TCPF_ACK };
	const struct flow_key k = { .target = 0 };
	uint64_t id, used = 0, all = 0;
	struct tuple answer;
	struct own *o;

	(void)state;
	rules(1);
	only_ports(3000, 3001);
	o = open_own(base, NULL);
	assert_int_equal(take(o, 0), 3000);
	answer = (struct tuple){ .src = c.rules[0].target, .dst = { loopback(1), 3000 } };
	reset.tuple = (struct tuple){ .src = answer.dst, .dst = answer.src };
	assert_false(own_was_reset(o, &answer, &id)); /* no session has it */
	own_sends(o, &reset);
	returns_watch(own_returns(o), 7, &answer, 0);
	own_sends(o, &reset);
	assert_false(own_was_reset(o, &answer, &id));
	assert_true(own_was_reset(o, &answer, &id));
	assert_int_equal(id, 7);
	assert_false(own_was_reset(o, &answer, &id)); /* known */
	assert_int_equal(own_counters(o)->withdrawn, 1);
	returns_unwatch(own_returns(o), 7, &answer);
	own_give(o, &k, &answer.dst);
	own_ports(o, &used, &all);
	assert_true(used == 0 && all == 1);
	assert_int_equal(take(o, 0), 3001);
	assert_int_equal(take(o, 0), 0);
	returns_close(own_returns(o));
	event_base_free(base);
}

static void a_target_that_listening_sockets_do_not_stop(void **state)
{
	struct event_base *base = event_base_new();
	struct own *o;

	(void)state;
	rules(2);
	only_ports(3000, 3001);
	o = open_own(base, NULL);
	own_heard(o, &c.rules[1].target);
	assert_int_equal(take(o, 1), 0);
	assert_int_equal(take(o, 0), 3000);
	assert_int_equal(own_counters(o)->heard, 1);
	returns_close(own_returns(o));
	event_base_free(base);
}

/* Of a prefix the first and the last address are not used. Each client stays with its own. */
static void addresses_of_clients_on_loopback(void **state)
{
	struct event_base *base = event_base_new();
	struct flow_key k = { .target = 0 };
	struct endpoint source, again;
	struct own *o;
	unsigned differ = 0;

	(void)state;
	rules(1);
	c.pool[c.n_pool++] = (struct prefix){ .addr = loopback(32), .len = 124 };
	only_ports(3000, 3063);
	o = open_own(base, NULL);
	assert_int_equal(plan.n_places, 14);
	for (uint8_t i = 0; i < 8; i++) {
		const uint8_t client[4] = { 10, 1, 2, i };

		k.client = (struct endpoint){ addr_from_v4(client), 1000 };
		assert_true(own_take(o, &k, &source));
		k.client.port++;
		assert_true(own_take(o, &k, &again));
		assert_true(addr_eq(&source.addr, &again.addr));
		assert_true(source.addr.b[15] > 32 && source.addr.b[15] < 47);
		differ += source.addr.b[15] != loopback(33).b[15];
	}
	assert_true(differ >= 7);
	returns_close(own_returns(o));
	event_base_free(base);
}

/* The timestamp of what leaves, when the client's is @value; a SYN also has other options before it. */
static uint32_t sent(struct own *o, const struct tuple *answer, uint8_t flags, uint32_t value)
{
	struct tx_segment t = { .tuple = { .src = answer->dst, .dst = answer->src }, .flags = flags };
	struct tcp_options opt = { 0 };

	t.options_len = flags & TCPF_SYN ? tcp_options_syn_build(t.options, 1460, 7, true, true, value)
					 : tcp_options_ts_build(t.options, value, 77);
	own_sends(o, &t);
	assert_true(tcp_options_parse(&opt, t.options, t.options_len));
	assert_true(opt.has_ts);
	assert_int_equal(opt.tsecr, flags & TCPF_SYN ? 0 : 77);
	return opt.tsval;
}

static void each_session_of_a_port_has_a_newer_timestamp(void **state)
{
	struct event_base *base = event_base_new();
	struct tx_segment plain = { .flags = TCPF_ACK };
	struct tuple answer;
	struct own *o;

	(void)state;
	rules(1);
	only_ports(3000, 3001);
	o = open_own(base, NULL);
	answer = (struct tuple){ .src = c.rules[0].target, .dst = { loopback(1), 3000 } };
	returns_watch(own_returns(o), 1, &answer, 0);
	assert_int_equal(sent(o, &answer, TCPF_SYN, 1000), 1000);
	assert_int_equal(sent(o, &answer, TCPF_ACK, 5000), 5000);
	assert_int_equal(sent(o, &answer, TCPF_ACK, 4990), 4990); /* older, such as a retransmission */
	returns_unwatch(own_returns(o), 1, &answer);
	returns_watch(own_returns(o), 2, &answer, 0); /* a client whose clock is behind */
	assert_int_equal(sent(o, &answer, TCPF_SYN, 100), 5001);
	assert_int_equal(sent(o, &answer, TCPF_SYN, 100), 5001); /* the same again */
	assert_int_equal(sent(o, &answer, TCPF_ACK, 150), 5051);
	returns_watch(own_returns(o), 3, &answer, 0); /* and one whose clock is ahead */
	assert_int_equal(sent(o, &answer, TCPF_SYN, 0x80001500u), 5052);
	returns_watch(own_returns(o), 4, &answer, 0);
	assert_int_equal(sent(o, &answer, TCPF_SYN, 9000), 9000);
	answer.dst.port = 3001;
	returns_watch(own_returns(o), 5, &answer, 0);
	assert_int_equal(sent(o, &answer, TCPF_SYN, 0xffffffffu), 0xffffffffu);
	returns_watch(own_returns(o), 6, &answer, 0); /* across its end */
	assert_int_equal(sent(o, &answer, TCPF_SYN, 0xfffffff0u), 0);
	plain.tuple = (struct tuple){ .src = answer.dst, .dst = answer.src };
	own_sends(o, &plain);
	assert_int_equal(plain.options_len, 0);
	returns_close(own_returns(o));
	event_base_free(base);
}

/* Each port is some worker's, and the one to which the kernel gives its answers. */
static void workers_share_the_ports(void **state)
{
	struct event_base *base = event_base_new();
	unsigned taken = 0;

	(void)state;
	for (unsigned worker = 0; worker < 3; worker++) {
		struct own *o;
		uint16_t port;

		rules(1);
		only_ports(3000, 3999);
		memset(&pipeline, 0, sizeof(pipeline));
		pipeline.spread = (struct fanout){ .workers = 3, .seed = 12345 };
		pipeline.worker = worker;
		make_plan();
		o = own_open(base, &plan, NULL, &pipeline);
		assert_non_null(o);
		while ((port = take(o, 0))) {
			const struct tuple answer = { .src = c.rules[0].target,
						      .dst = { loopback(1), port } };

			taken++;
			assert_int_equal(fanout_worker(&pipeline.spread, &answer), worker);
		}
		returns_close(own_returns(o));
	}
	assert_int_equal(taken, 1000);
	event_base_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_this_host_leaves),
		cmocka_unit_test(what_listens_is_left_out),
		cmocka_unit_test(so_many_of_them),
		cmocka_unit_test(the_filter_compiles_whatever_the_plan),
		cmocka_unit_test(the_longest_free_port_is_taken),
		cmocka_unit_test(addresses_and_targets_have_ports_of_their_own),
		cmocka_unit_test(a_port_that_a_socket_of_this_host_gets_meanwhile),
		cmocka_unit_test(whose_an_answer_is),
		cmocka_unit_test(a_reset_that_we_have_not_sent),
		cmocka_unit_test(a_target_that_listening_sockets_do_not_stop),
		cmocka_unit_test(addresses_of_clients_on_loopback),
		cmocka_unit_test(each_session_of_a_port_has_a_newer_timestamp),
		cmocka_unit_test(answers_that_come_too_fast),
		cmocka_unit_test(workers_share_the_ports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
