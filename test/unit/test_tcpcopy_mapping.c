/*
 * The sources of sessions: the client's own, or one of the pool, that nobody else has towards that target.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/util.h"
#include "tcpcopy/mapping.h"

static const struct siphash_key key = { 3, 5 };
static const struct fanout alone = { .workers = 1, .source_port_only = true };

static struct config config_with(const char *pool)
{
	struct config c = { 0 };

	if (pool) {
		assert_true(prefix_parse(&c.pool[0], pool));
		c.n_pool = 1;
	}
	return c;
}

static struct flow_key client(const char *addr, uint16_t port, uint16_t target)
{
	struct flow_key k = { .client.port = port, .target = target };

	assert_true(addr_parse(&k.client.addr, addr));
	return k;
}

static bool take(struct mapping *m, const char *addr, uint16_t port, uint16_t target, struct endpoint *source)
{
	const struct flow_key k = client(addr, port, target);

	return mapping_take(m, &k, source);
}

static struct flow_key to(struct flow_key k, const char *online, uint16_t port)
{
	k.online.port = port;
	assert_true(addr_parse(&k.online.addr, online));
	return k;
}

/* A minute later. */
static void rested(struct mapping *m)
{
	for (unsigned i = 0; i < 70; i++)
		mapping_trim(m);
}

/* As often as one connection wants it: who uses a port again has it before its predecessor is gone. */
static void the_clients_own(void **state)
{
	const struct config c = config_with(NULL);
	struct mapping *m = mapping_new(&c, &alone, 0, &key);
	const struct flow_key k = to(client("10.0.0.1", 40000, 0), "10.0.0.9", 80),
			      other = to(k, "10.0.0.10", 80);
	struct endpoint source;

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_true(mapping_take(m, &k, &source));
		assert_true(endpoint_eq(&source, &k.client));
	}
	for (int i = 0; i < 3; i++) {
		struct endpoint moved;

		assert_true(mapping_take(m, &other, &moved));
		assert_true(addr_eq(&moved.addr, &k.client.addr));
		assert_int_not_equal(moved.port, 40000);
		mapping_give(m, &other, &moved);
		mapping_give(m, &k, &source);
	}
	assert_true(mapping_take(m, &other, &source));
	assert_true(endpoint_eq(&source, &k.client));
	mapping_free(m);
}

/* One port of a client, to two addresses or ports of the online host or in two copies, for one target. */
static void two_connections_of_one_port(void **state)
{
	struct config c = config_with(NULL);
	const struct flow_key first = to(client("10.0.0.1", 40000, 0), "10.0.0.9", 80);
	struct flow_key k[4] = { to(first, "10.0.0.10", 80), to(first, "10.0.0.9", 81), first, first };
	struct mapping *m;
	struct endpoint source, moved[4];

	(void)state;
	c.n_rules = 3;
	for (unsigned i = 0; i < 3; i++) {
		assert_true(addr_parse(&c.rules[i].target.addr, "10.0.0.77"));
		c.rules[i].target.port = i == 1 ? 8080 : 80;
	}
	k[2].copy = 1;
	k[3].target = 2; /* the same target as of rule 0 */
	m = mapping_new(&c, &alone, 0, &key);
	assert_true(mapping_take(m, &first, &source));
	for (unsigned i = 0; i < 4; i++) {
		assert_true(mapping_take(m, &k[i], &moved[i]));
		assert_true(addr_eq(&moved[i].addr, &source.addr));
		assert_int_not_equal(moved[i].port, 40000);
		for (unsigned j = 0; j < i; j++)
			assert_int_not_equal(moved[i].port, moved[j].port);
	}
	k[0].target = 1; /* another one */
	assert_true(mapping_take(m, &k[0], &moved[0]));
	assert_int_equal(moved[0].port, 40000);
	/* whose port was given away goes elsewhere, too */
	assert_true(take(m, "10.0.0.1", moved[1].port, 0, &source));
	assert_int_not_equal(source.port, moved[1].port);
	mapping_free(m);
}

/* What was given back is the last to be used again, the oldest first; after a minute it is as new. */
static void the_oldest_first(void **state)
{
	const struct config c = config_with("192.0.2.9/32");
	struct mapping *m = mapping_new(&c, &alone, 0, &key);
	const struct flow_key k = client("10.0.0.1", 40000, 0);
	struct endpoint first, second, source;
	unsigned n = 0;

	(void)state;
	assert_true(mapping_take(m, &k, &first));
	assert_int_equal(first.port, 40000);
	mapping_give(m, &k, &first);
	assert_false(mapping_has(m, &k.online, &first));
	assert_true(mapping_take(m, &k, &second));
	assert_int_not_equal(second.port, 40000);
	mapping_give(m, &k, &second);

	/* all others, as far as they are found: then it is the one that rests for the longest */
	do {
		assert_true(mapping_take(m, &k, &source));
		n++;
	} while (source.port != 40000 && source.port != second.port);
	assert_int_equal(source.port, 40000);
	assert_true(n > 500);
	assert_true(mapping_take(m, &k, &source));
	assert_int_equal(source.port, second.port);
	assert_false(mapping_take(m, &k, &source)); /* used up */
	mapping_give(m, &k, &second);
	rested(m);
	assert_true(mapping_take(m, &k, &source));
	assert_int_equal(source.port, second.port);
	mapping_free(m);
}

static void sticky(void **state)
{
	struct config c = config_with("192.0.2.0/28");
	const struct flow_key k = client("10.0.0.1", 40000, 0);
	struct endpoint first, source;
	struct mapping *m;

	(void)state;
	c.sticky = true;
	m = mapping_new(&c, &alone, 0, &key);
	assert_int_equal(mapping_pool_addresses(&c, true), 14);
	assert_int_equal(mapping_pool_addresses(&c, false), 0);
	assert_true(mapping_take(m, &k, &first));
	for (unsigned i = 0; i < 500; i++) {
		assert_true(mapping_take(m, &k, &source));
		assert_true(addr_eq(&source.addr, &first.addr));
		assert_int_not_equal(source.port, first.port);
	}
	mapping_free(m);
}

/* Further copies have ports of the client's address, and the client has the right of way. */
static void further_copies(void **state)
{
	struct config c = config_with(NULL);
	const struct flow_key first = to(client("10.0.0.1", 40000, 0), "10.0.0.9", 80);
	struct flow_key k[3] = { first, first, first }, own, holder;
	struct endpoint source[3], taken;
	struct mapping *m;

	(void)state;
	c.copies.times = 3 * COPIES_ONE;
	m = mapping_new(&c, &alone, 0, &key);
	for (unsigned i = 0; i < 3; i++) {
		k[i].copy = (uint16_t)i;
		assert_false(mapping_holder(m, &k[i], &holder));
		assert_true(mapping_take(m, &k[i], &source[i]));
		assert_true(addr_eq(&source[i].addr, &first.client.addr));
		assert_true(i ? source[i].port >= 1024 && source[i].port < 32768 : source[i].port == 40000);
	}
	assert_int_not_equal(source[1].port, source[2].port);

	own = to(client("10.0.0.1", source[2].port, 0), "10.0.0.10", 80);
	own.copy = 1; /* a copy has no right of way, over nobody */
	assert_false(mapping_holder(m, &own, &holder));
	own.copy = 0;
	assert_true(mapping_holder(m, &own, &holder));
	assert_true(endpoint_eq(&holder.client, &first.client) && endpoint_eq(&holder.online, &first.online));
	assert_true(holder.target == 0 && holder.copy == 2);
	assert_true(mapping_take(m, &own, &taken));
	assert_true(endpoint_eq(&taken, &own.client));
	assert_false(mapping_holder(m, &own, &holder));
	mapping_give(m, &k[2], &source[2]);
	k[2].copy = 3; /* of another time: it is the client's still */
	k[2].client.port = own.client.port;
	assert_true(mapping_take(m, &k[2], &source[2]));
	assert_int_not_equal(source[2].port, own.client.port);
	mapping_give(m, &own, &taken);

	/* one that has ended before: nobody is in the way */
	own.client.port = source[1].port;
	assert_true(mapping_holder(m, &own, &holder));
	mapping_give(m, &k[1], &source[1]);
	assert_true(mapping_take(m, &own, &taken));
	assert_true(endpoint_eq(&taken, &own.client));
	mapping_free(m);
}

/* One address of the pool has room for all copies of one connection. */
static void many_copies_of_one(void **state)
{
	struct config c = config_with("10.99.0.1/32");
	struct flow_key k = to(client("10.0.0.1", 40000, 0), "10.0.0.9", 80);
	struct endpoint source;
	struct mapping *m;

	(void)state;
	c.copies.times = COPIES_MOST * COPIES_ONE;
	m = mapping_new(&c, &alone, 0, &key);
	for (unsigned i = 0; i < COPIES_MOST; i++) {
		k.copy = (uint16_t)i;
		assert_true(mapping_take(m, &k, &source));
		assert_true(i || source.port == 40000);
	}
	mapping_free(m);
}

static void a_client_stays_one_client(void **state)
{
	const struct config c = config_with("192.0.2.0/24");
	struct mapping *m = mapping_new(&c, &alone, 0, &key);
	struct endpoint first = { 0 }, source;
	unsigned addresses = 1;

	(void)state;
	for (unsigned host = 1; host <= 50; host++) {
		char text[ADDR_TEXT_LEN];
		struct addr before = first.addr;

		snprintf(text, sizeof(text), "10.0.0.%u", host);
		for (uint16_t port = 40000; port < 40020; port++) {
			const struct flow_key k = client(text, (uint16_t)(port + host * 100), 0);

			assert_true(mapping_take(m, &k, &source));
			assert_true(prefix_contains(&c.pool[0], &source.addr));
			assert_int_equal(source.port, k.client.port);
			if (port == 40000)
				first = source;
			assert_true(addr_eq(&source.addr, &first.addr));
		}
		addresses += host > 1 && !addr_eq(&before, &first.addr);
	}
	assert_true(addresses > 25); /* and they are spread */
	mapping_free(m);
}

/* One address: a port that is taken is avoided, but not where another target has it. */
static void taken_for_each_target(void **state)
{
	const struct config c = config_with("192.0.2.9/32");
	struct mapping *m = mapping_new(&c, &alone, 0, &key);
	const struct flow_key a = client("10.0.0.1", 40000, 0), b = client("10.0.0.2", 40000, 0),
			      other = client("10.0.0.2", 40000, 1);
	struct endpoint first, source;

	(void)state;
	assert_true(mapping_take(m, &a, &first));
	assert_int_equal(first.port, 40000);
	assert_true(mapping_take(m, &b, &source));
	assert_int_not_equal(source.port, 40000);
	mapping_give(m, &b, &source);
	assert_true(mapping_take(m, &other, &source));
	assert_true(endpoint_eq(&source, &first));
	/* given back for one target, it is still taken for the other one */
	mapping_give(m, &a, &first);
	rested(m);
	assert_true(mapping_take(m, &b, &source));
	assert_true(endpoint_eq(&source, &first));
	assert_true(take(m, "10.0.0.3", 40000, 1, &source));
	assert_int_not_equal(source.port, 40000);
	mapping_free(m);
}

static void network_and_broadcast_are_no_hosts(void **state)
{
	const struct config c = config_with("192.0.2.4/30");
	struct mapping *m = mapping_new(&c, &alone, 0, &key);
	struct endpoint source;
	unsigned seen[2] = { 0 };

	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		char text[ADDR_TEXT_LEN];
		unsigned last;

		snprintf(text, sizeof(text), "10.0.0.%u", i);
		assert_true(take(m, text, (uint16_t)(50000 + i), 0, &source));
		last = source.addr.b[15];
		assert_true(last == 5 || last == 6);
		seen[last - 5]++;
	}
	assert_true(seen[0] && seen[1]);
	mapping_free(m);
}

static void out_of_ports_and_back(void **state)
{
	const struct config c = config_with("192.0.2.9/32");
	struct mapping *m = mapping_new(&c, &alone, 0, &key);
	const struct flow_key k = client("10.0.0.1", 40000, 0);
	struct endpoint source, some = { 0 }, again;
	unsigned n = 0;

	(void)state;
	for (; n < 5000 && mapping_take(m, &k, &source); n++)
		if (n == 100)
			some = source;
	assert_in_range(n, 500, 4999);
	assert_false(mapping_take(m, &k, &source));
	mapping_give(m, &k, &some);
	assert_true(mapping_take(m, &k, &again));
	assert_true(endpoint_eq(&again, &some));
	assert_false(mapping_take(m, &k, &source));
	mapping_free(m);
}

static void only_of_the_clients_family(void **state)
{
	const struct config v6 = config_with("2001:db8::/64"), v4 = config_with("192.0.2.0/24");
	struct mapping *m = mapping_new(&v6, &alone, 0, &key);
	struct endpoint source;

	(void)state;
	assert_false(take(m, "10.0.0.1", 40000, 0, &source));
	assert_true(take(m, "fd00::1", 40000, 0, &source));
	assert_true(prefix_contains(&v6.pool[0], &source.addr));
	mapping_free(m);
	m = mapping_new(&v4, &alone, 0, &key);
	assert_false(take(m, "fd00::1", 40000, 0, &source));
	mapping_free(m);
}

/* Workers share the pool: none takes what another one may. */
static void a_worker_keeps_to_its_ports(void **state)
{
	static const struct fanout spread = { .workers = 3, .seed = 77, .source_port_only = true };
	const struct config c = config_with("192.0.2.9/32");

	(void)state;
	for (unsigned w = 0; w < spread.workers; w++) {
		struct mapping *m = mapping_new(&c, &spread, w, &key);
		struct endpoint source;

		for (unsigned i = 0; i < 200; i++) {
			assert_true(take(m, "10.0.0.1", 40000, 0, &source));
			assert_int_equal(fanout_port_worker(&spread, source.port), w);
		}
		mapping_free(m);
	}
}

/* Sessions come and go by chance; what is taken is known here as well. */
#define SESSIONS 20000u
static void many_come_and_go(void **state)
{
	static struct {
		struct flow_key k;
		struct endpoint source;
		bool lives;
	} session[SESSIONS];
	static uint8_t taken[2][2][65536]; /* address, target, port */
	const struct config c = config_with("192.0.2.4/30");
	struct mapping *m = mapping_new(&c, &alone, 0, &key);
	unsigned live = 0;
	uint32_t x = 1;

	(void)state;
	for (unsigned round = 0; round < 400000; round++) {
		unsigned i;
		uint8_t *t;

		x = x * 1664525u + 1013904223u;
		i = (x >> 8) % SESSIONS;
		if (!session[i].lives) {
			/* few ports for many clients: most of them are taken when they are wanted */
			session[i].k = client(i % 2 ? "10.0.0.1" : "10.0.0.2", (uint16_t)(40000 + i % 5000),
					      (uint16_t)(i / 5000 % 2));
			assert_true(mapping_take(m, &session[i].k, &session[i].source));
		}
		assert_in_range(session[i].source.addr.b[15], 5, 6);
		t = &taken[session[i].source.addr.b[15] - 5][session[i].k.target][session[i].source.port];
		assert_int_equal(*t, session[i].lives);
		if (session[i].lives)
			mapping_give(m, &session[i].k, &session[i].source);
		session[i].lives = !session[i].lives;
		*t = session[i].lives;
		live += session[i].lives ? 1u : -1u;
		if (round % 1000 == 0)
			mapping_trim(m);
	}
	assert_true(live > SESSIONS / 3);
	for (unsigned i = 0; i < SESSIONS; i++)
		if (session[i].lives)
			mapping_give(m, &session[i].k, &session[i].source);
	rested(m);
	/* all are free: everybody gets the port that is his */
	for (unsigned i = 0; i < 5000; i++) {
		assert_true(mapping_take(m, &session[i].k, &session[i].source));
		assert_int_equal(session[i].source.port, session[i].k.client.port);
	}
	mapping_free(m);
}

/* Bytes of memory that this process has. */
static size_t resident(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%*u %lu", &pages), 1);
	fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* Neither a session that ends nor one that is refused leaves anything behind. */
static void nothing_is_left_behind(void **state)
{
	const struct config c = config_with("192.0.2.9/32");
	struct mapping *m = mapping_new(&c, &alone, 0, &key);
	const struct flow_key k = client("10.0.0.1", 40000, 0);
	struct endpoint source, first;
	size_t before = 0;

	(void)state;
	for (unsigned i = 0; i < 100000; i++) {
		assert_true(mapping_take(m, &k, &source));
		mapping_give(m, &k, &source);
		if (i == 1000)
			before = resident();
	}
	mapping_give(m, &k, &source); /* once more than it was taken: not heeded */
	assert_true(mapping_take(m, &k, &first));
	while (mapping_take(m, &k, &source)) /* until there is no port left to try */
		;
	for (unsigned i = 0; i < 20000; i++)
		assert_false(mapping_take(m, &k, &source));
	assert_true(resident() < before + 512 * 1024); /* of 64 bytes each it would be megabytes */
	mapping_give(m, &k, &first);
	assert_true(mapping_take(m, &k, &source));
	assert_true(endpoint_eq(&source, &first));
	mapping_free(m);
}

static void is_known_while_a_session_has_it(void **state)
{
	struct config c = config_with(NULL);
	const struct flow_key k = to(client("10.0.0.1", 40000, 1), "10.0.0.9", 80);
	struct endpoint source, other, target = { .port = 80 };
	struct mapping *m;

	(void)state;
	assert_true(addr_parse(&target.addr, "10.0.0.77"));
	c.n_rules = 2;
	c.rules[0].target = c.rules[1].target = target;
	m = mapping_new(&c, &alone, 0, &key);
	assert_true(mapping_take(m, &k, &source));
	assert_true(mapping_has(m, &target, &source));
	other = source;
	other.port++;
	assert_false(mapping_has(m, &target, &other));
	assert_false(mapping_has(m, &source, &source));
	mapping_give(m, &k, &source);
	assert_false(mapping_has(m, &target, &source));
	mapping_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_clients_own),
		cmocka_unit_test(two_connections_of_one_port),
		cmocka_unit_test(the_oldest_first),
		cmocka_unit_test(sticky),
		cmocka_unit_test(further_copies),
		cmocka_unit_test(many_copies_of_one),
		cmocka_unit_test(a_client_stays_one_client),
		cmocka_unit_test(taken_for_each_target),
		cmocka_unit_test(network_and_broadcast_are_no_hosts),
		cmocka_unit_test(out_of_ports_and_back),
		cmocka_unit_test(only_of_the_clients_family),
		cmocka_unit_test(a_worker_keeps_to_its_ports),
		cmocka_unit_test(many_come_and_go),
		cmocka_unit_test(is_known_while_a_session_has_it),
		cmocka_unit_test(nothing_is_left_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
