/*
 * The privileged helper: which requests it takes, how long it lives, and what its end looks like. What the
 * kernel does with the requests is for the system tests; here it may well refuse them, without privilege.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "program/helper/helper.h"

#define HEAD offsetof(struct helper_request, element)
#define ELEMENT sizeof(struct nft_element)

/* --- requests --- */

static struct nft_element v4(uint8_t first)
{
	return (struct nft_element){ .family = 4, .port = 80, .address = { first, 2, 3, 4 } };
}

static struct nft_element v6(uint8_t first)
{
	return (struct nft_element){ .family = 6, .port = 80, .address = { first, 0x90, [15] = 1 } };
}

static struct helper_request request(uint8_t kind, uint16_t count)
{
	struct helper_request r = { .kind = kind, .table = NFT_GUARD, .count = count };

	for (unsigned i = 0; i < NFT_ELEMENTS_MAX; i++)
		r.element[i] = i % 2 ? v6(0xfd) : v4(10);
	return r;
}

static bool valid(const struct helper_request *r)
{
	return helper_request_valid(r, HEAD + r->count * ELEMENT);
}

static void requests_that_we_make(void **state)
{
	static const uint8_t plain[] = { HELPER_CREATE, HELPER_DELETE, HELPER_COUNT };
	static const uint8_t with_elements[] = { HELPER_ADD, HELPER_REMOVE };
	struct helper_request r;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(plain); i++) {
		r = request(plain[i], 0);
		assert_true(valid(&r));
	}
	for (unsigned i = 0; i < ARRAY_SIZE(with_elements); i++)
		for (uint16_t n = 1; n <= NFT_ELEMENTS_MAX; n++) {
			r = request(with_elements[i], n);
			assert_true(valid(&r));
		}
}

static void lengths(void **state)
{
	struct helper_request r = request(HELPER_ADD, 2);

	(void)state;
	for (size_t len = 0; len <= sizeof(r); len++)
		assert_int_equal(helper_request_valid(&r, len), len == HEAD + 2 * ELEMENT);
	r = request(HELPER_COUNT, 0);
	for (size_t len = 0; len <= sizeof(r); len++)
		assert_int_equal(helper_request_valid(&r, len), len == HEAD);
	r = request(HELPER_ADD, NFT_ELEMENTS_MAX);
	assert_false(helper_request_valid(&r, sizeof(r) + 1));
	assert_false(helper_request_valid(&r, sizeof(r) + ELEMENT));
}

static void kinds_tables_and_counts(void **state)
{
	struct {
		struct helper_request r;
		struct nft_element element;
	} one_more;
	struct helper_request r;

	(void)state;
	for (unsigned kind = 0; kind < 256; kind++) {
		const bool has_elements = kind == HELPER_ADD || kind == HELPER_REMOVE;

		for (uint16_t count = 0; count < 3; count++) {
			r = request((uint8_t)kind, count);
			assert_int_equal(valid(&r), kind >= 1 && kind <= 5 && has_elements == (count > 0));
		}
	}
	for (unsigned table = 0; table < 256; table++) {
		r = request(HELPER_CREATE, 0);
		r.table = (uint8_t)table;
		assert_int_equal(valid(&r), table == NFT_GUARD); /* NFT_OWN needs ports */
	}
	one_more.r = request(HELPER_ADD, NFT_ELEMENTS_MAX + 1);
	one_more.element = v4(10);
	assert_false(helper_request_valid(&one_more, HEAD + one_more.r.count * ELEMENT));
	r = request(HELPER_ADD, 0);
	r.count = 0xffff; /* the length that it would have wraps in sixteen bits */
	for (size_t len = 0; len <= sizeof(r); len++)
		assert_false(helper_request_valid(&r, len));
}

static void elements(void **state)
{
	struct nft_element e;

	(void)state;
	for (unsigned family = 0; family < 256; family++) {
		e = v4(10);
		e.family = (uint8_t)family;
		assert_int_equal(nft_element_valid(&e, NFT_GUARD), family == 4 || family == 6);
	}
	e = v4(10);
	e.port = 0;
	assert_false(nft_element_valid(&e, NFT_GUARD));
	e = v4(10);
	e.zero = 1;
	assert_false(nft_element_valid(&e, NFT_GUARD));
	for (unsigned i = 4; i < 16; i++) { /* behind an IPv4 address */
		e = v4(10);
		e.address[i] = 1;
		assert_false(nft_element_valid(&e, NFT_GUARD));
	}
	/* Multicast and reserved ones, none, and an IPv4 address in the wrong family. */
	for (unsigned first = 0; first < 256; first++) {
		e = v4((uint8_t)first);
		assert_int_equal(nft_element_valid(&e, NFT_GUARD), first < 224);
		e = v6((uint8_t)first);
		assert_int_equal(nft_element_valid(&e, NFT_GUARD), first != 0xff);
	}
	e = (struct nft_element){ .family = 4, .port = 80 };
	assert_false(nft_element_valid(&e, NFT_GUARD));
	e.family = 6;
	assert_false(nft_element_valid(&e, NFT_GUARD));
	e.address[15] = 1;
	assert_true(nft_element_valid(&e, NFT_GUARD)); /* ::1 */
	e.address[10] = e.address[11] = 0xff;
	assert_false(nft_element_valid(&e, NFT_GUARD)); /* ::ffff:0.0.0.1 */
}

/* A tcpcopy's own table: from a target to an address of this host, and ranges of its ports. */
static void own_table(void **state)
{
	static const struct {
		struct nft_ports ports[NFT_PORTS_MAX];
		bool good;
	} cases[] = {
		{ { { 1024, 32767 } }, true },
		{ { { 1024, 32767 }, { 61000, 65535 } }, true },
		{ { { 2000, 2000 }, { 2001, 2001 } }, true },
		{ { { 0, 0 } }, false },
		{ { { 1023, 2000 } }, false },
		{ { { 2000, 1999 } }, false },
		{ { { 2000, 3000 }, { 3000, 4000 } }, false },
		{ { { 3000, 4000 }, { 2000, 2500 } }, false },
		{ { { 0, 0 }, { 2000, 3000 } }, false },
		{ { { 2000, 3000 }, { 0, 4000 } }, false },
	};
	struct helper_request r;
	struct nft_element e;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		r = request(HELPER_CREATE, 0);
		r.table = NFT_OWN;
		memcpy(r.ports, cases[i].ports, sizeof(r.ports));
		assert_int_equal(valid(&r), cases[i].good);
		r.kind = HELPER_COUNT; /* no other kind has ports, nor has the other table */
		assert_int_equal(valid(&r), i == 3);
		r.kind = HELPER_CREATE;
		r.table = NFT_GUARD;
		assert_int_equal(valid(&r), i == 3);
	}
	e = v4(10);
	assert_false(nft_element_valid(&e, NFT_OWN));
	e.to[0] = 10;
	assert_true(nft_element_valid(&e, NFT_OWN));
	assert_false(nft_element_valid(&e, NFT_GUARD));
	e.to[0] = 224;
	assert_false(nft_element_valid(&e, NFT_OWN));
	e.to[0] = 10;
	e.to[4] = 1;
	assert_false(nft_element_valid(&e, NFT_OWN));
	e = v6(0xfd);
	memcpy(e.to, e.address, sizeof(e.to));
	assert_true(nft_element_valid(&e, NFT_OWN));
	assert_false(nft_element_valid(&e, NFT_GUARD));
}

/* One bad element among good ones, wherever it is. */
static void each_element_is_looked_at(void **state)
{
	(void)state;
	for (unsigned i = 0; i < NFT_ELEMENTS_MAX; i++) {
		struct helper_request r = request(HELPER_ADD, NFT_ELEMENTS_MAX);

		r.element[i].port = 0;
		assert_false(valid(&r));
		r.count = (uint16_t)i; /* it is behind the last one */
		assert_int_equal(valid(&r), i > 0);
	}
}

/* --- the process --- */

static struct helper *h;

static int open_helper(void **state)
{
	(void)state;
	h = helper_open("test-helper", NULL, false);
	return !h;
}

static int close_helper(void **state)
{
	(void)state;
	helper_close(h);
	return 0;
}

/* The child that has no other. */
static pid_t pid_of_helper(void)
{
	char path[64];
	long pid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%ld/children", (long)getpid());
	f = fopen(path, "re");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%ld", &pid), 1);
	fclose(f);
	return (pid_t)pid;
}

static int ask(struct helper_request r, struct helper_answer *a)
{
	return helper_ask(h, &r, a);
}

static void it_refuses_what_is_no_request(void **state)
{
	const struct helper_request whole = request(HELPER_ADD, NFT_ELEMENTS_MAX);
	static char junk[4096];
	struct helper_answer a;
	struct pollfd p = { .fd = helper_fd(h), .events = POLLIN };

	(void)state;
	assert_int_equal(ask(request(HELPER_ADD, 0), &a), -EINVAL);
	assert_int_equal(ask(request(77, 0), &a), -EINVAL);
	assert_int_equal(ask(request(HELPER_ADD, 3), &a), -ENOENT); /* a table that it has not made */
	assert_int_equal(ask(request(HELPER_DELETE, 0), &a), -ENOENT);
	assert_int_equal(ask(request(HELPER_COUNT, 0), &a), -ENOENT);
	for (size_t len = 1; len < sizeof(junk); len += 97) {
		memset(junk, (int)len, len);
		assert_int_equal(send(helper_fd(h), junk, len, 0), len);
		assert_int_equal(poll(&p, 1, 60000), 1);
		assert_int_equal(helper_receive(h, &a), 1);
		assert_int_equal(a.error, -EINVAL);
	}
	/* A whole request, and more. */
	memcpy(junk, &whole, sizeof(whole));
	assert_int_equal(send(helper_fd(h), junk, sizeof(whole) + 1, 0), sizeof(whole) + 1);
	assert_int_equal(poll(&p, 1, 60000), 1);
	assert_int_equal(helper_receive(h, &a), 1);
	assert_int_equal(a.error, -EINVAL);
	assert_int_equal(ask(request(HELPER_COUNT, 0), &a), -ENOENT); /* it goes on */
	assert_int_equal(helper_receive(h, &a), 0);
}

/* A program asks at its end, while an earlier answer may be on its way. */
static void answers_of_earlier_requests(void **state)
{
	struct helper_answer earlier = { .id = 0, .error = -EINVAL }, a = { .id = 1, .error = -EPERM };
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	h = helper_of(pair[0]);
	assert_int_equal(send(pair[1], &earlier, sizeof(earlier), 0), sizeof(earlier));
	assert_int_equal(send(pair[1], &a, sizeof(a), 0), sizeof(a));
	assert_int_equal(ask(request(HELPER_COUNT, 0), &a), -EPERM);
	close(pair[1]);
	helper_close(h);
}

static void signals_of_the_program_do_not_end_it(void **state)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGPIPE };
	const pid_t pid = pid_of_helper();
	struct helper_answer a;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++) {
		assert_int_equal(kill(pid, numbers[i]), 0);
		assert_int_equal(ask(request(HELPER_COUNT, 0), &a), -ENOENT);
	}
}

static void its_end_is_seen(void **state)
{
	struct pollfd p = { .fd = helper_fd(h), .events = POLLIN };
	struct helper_request r = request(HELPER_COUNT, 0);
	struct helper_answer a;

	(void)state;
	assert_int_equal(kill(pid_of_helper(), SIGKILL), 0);
	assert_int_equal(poll(&p, 1, 60000), 1);
	assert_int_equal(helper_receive(h, &a), -1);
	assert_false(helper_send(h, &r));
	assert_int_equal(ask(r, &a), -EPIPE);
}

/* A stopped one is not waited for, and its answers come when it runs again. */
static void sending_never_waits(void **state)
{
	struct pollfd p = { .fd = helper_fd(h), .events = POLLIN };
	struct helper_request r = request(HELPER_ADD, NFT_ELEMENTS_MAX);
	struct helper_answer a;
	unsigned sent = 0;
	int status;

	(void)state;
	assert_int_equal(kill(pid_of_helper(), SIGSTOP), 0);
	assert_int_equal(waitpid(pid_of_helper(), &status, WUNTRACED), pid_of_helper());
	while (sent < 100000 && helper_send(h, &r))
		sent++;
	assert_in_range(sent, 1, 99999);
	assert_int_equal(helper_receive(h, &a), 0);
	assert_int_equal(kill(pid_of_helper(), SIGCONT), 0);
	for (unsigned i = 1; i <= sent; i++) {
		assert_int_equal(poll(&p, 1, 60000), 1);
		assert_int_equal(helper_receive(h, &a), 1);
		assert_int_equal(a.id, i);
		assert_int_equal(a.error, -ENOENT);
	}
}

/* Is there such a process, and not only what is left of one? */
static bool lives(long pid)
{
	char path[64], line[256] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (!fgets(line, sizeof(line), f))
		line[0] = '\0';
	fclose(f);
	return line[0] && !strstr(line, ") Z ") && !strstr(line, ") X ");
}

static _Noreturn void be_a_program(int tell)
{
	struct helper_answer a;
	int status;
	pid_t pid;

	h = helper_open("test-helper", NULL, false);
	if (!h || ask(request(HELPER_COUNT, 0), &a) != -ENOENT)
		_exit(1);
	pid = pid_of_helper();
	kill(pid, SIGSTOP);
	waitpid(pid, &status, WUNTRACED);
	dprintf(tell, "%ld\n", (long)pid);
	pause();
	_exit(1);
}

/* A program that is killed takes its helper along, even one that is stopped and so cannot read the end of
 * the socket. */
static void it_dies_with_its_program(void **state)
{
	unsigned tries = 0;
	int told[2], status;
	pid_t program;
	long helper;
	FILE *f;

	(void)state;
	assert_int_equal(pipe(told), 0);
	program = fork();
	if (!program)
		be_a_program(told[1]);
	close(told[1]);
	f = fdopen(told[0], "re");
	assert_int_equal(fscanf(f, "%ld", &helper), 1);
	fclose(f);
	assert_true(lives(helper));
	kill(program, SIGKILL);
	assert_int_equal(waitpid(program, &status, 0), program);
	while (lives(helper) && tries++ < 6000)
		poll(NULL, 0, 10);
	assert_false(lives(helper));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_that_we_make),
		cmocka_unit_test(lengths),
		cmocka_unit_test(kinds_tables_and_counts),
		cmocka_unit_test(elements),
		cmocka_unit_test(own_table),
		cmocka_unit_test(each_element_is_looked_at),
		cmocka_unit_test_setup_teardown(it_refuses_what_is_no_request, open_helper, close_helper),
		cmocka_unit_test_setup_teardown(signals_of_the_program_do_not_end_it, open_helper,
						close_helper),
		cmocka_unit_test_setup_teardown(its_end_is_seen, open_helper, close_helper),
		cmocka_unit_test_setup_teardown(sending_never_waits, open_helper, close_helper),
		cmocka_unit_test(answers_of_earlier_requests),
		cmocka_unit_test(it_dies_with_its_program),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
