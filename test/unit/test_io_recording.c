/*
 * Files of packets, made byte by byte: their order, their times, what they are packed with, and what is wrong
 * with them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "build/config.h"
#include "io/file/recording.h"

#define FILES 4
#define S 1000000ull /* us */

static char err[512], path[FILES][64];
static int fd[FILES];
static unsigned files;

/* An empty file in memory. */
static int fresh(void)
{
	const int f = memfd_create("recording", 0);

	assert_true(f >= 0 && files < FILES);
	snprintf(path[files], sizeof(path[0]), "/proc/self/fd/%d", f);
	fd[files++] = f;
	return f;
}

static void put(int f, const void *p, size_t n)
{
	assert_int_equal(write(f, p, n), n);
}

static int fresh_pcap(void)
{
	static const uint32_t header[6] = { 0xa1b2c3d4, 4 << 16 | 2, 0, 0, 65535, 101 };
	const int f = fresh();

	put(f, header, sizeof(header));
	return f;
}

/* A packet of four bytes, all of them @name. */
static void put_packet(int f, uint64_t us, char name)
{
	const uint32_t header[4] = { (uint32_t)(us / S), (uint32_t)(us % S), 4, 4 };
	const char data[4] = { name, name, name, name };

	put(f, header, sizeof(header));
	put(f, data, sizeof(data));
}

static void forget(void)
{
	while (files)
		close(fd[--files]);
}

static const char *const *paths(void)
{
	static const char *list[FILES];

	for (unsigned i = 0; i < files; i++)
		list[i] = path[i];
	return list;
}

static struct recording *open_all(uint64_t loops)
{
	struct recording *r = recording_open(paths(), files, NULL, loops, err, sizeof(err));

	if (!r)
		fail_msg("%s", err);
	assert_int_equal(recording_start(r), 0);
	return r;
}

/* The names of all packets, in order. Times do not go back. */
static void read_all(struct recording *r, char *names, uint64_t *us)
{
	uint64_t last = 0;
	unsigned n = 0;

	for (;;) {
		const struct recorded *x = recording_next(r);

		if (!x) {
			struct pollfd p = { .fd = recording_fd(r), .events = POLLIN };

			if (recording_at_end(r))
				break;
			assert_int_equal(poll(&p, 1, 60000), 1);
			continue;
		}
		assert_true(x->raw.time >= last);
		last = x->raw.time;
		names[n] = (char)x->data[0];
		us[n++] = x->raw.time / NS_PER_US;
		recording_taken(r);
		recording_release(r);
	}
	names[n] = '\0';
}

static void check(uint64_t loops, const char *expected, const uint64_t *times, struct recording_counters *n,
		  char *words)
{
	struct recording *r = open_all(loops);
	char names[64];
	uint64_t us[64];

	read_all(r, names, us);
	assert_string_equal(names, expected);
	for (unsigned i = 0; times && expected[i]; i++)
		assert_int_equal(us[i], times[i]);
	recording_counters(r, n);
	recording_complaint(r, words, 512);
	recording_close(r);
	forget();
}

static struct recording_counters n;
static char words[512];

/* The files of a ring, in no order; two of them at the same time. */
static void merged(void **state)
{
	int f;

	(void)state;
	f = fresh_pcap();
	put_packet(f, 30 * S, 'e');
	put_packet(f, 31 * S, 'f');
	f = fresh_pcap();
	put_packet(f, 10 * S, 'a');
	put_packet(f, 12 * S, 'c');
	fresh_pcap(); /* empty */
	f = fresh_pcap();
	put_packet(f, 11 * S, 'b');
	put_packet(f, 13 * S, 'd');
	check(1, "abcdef", (const uint64_t[]){ 10 * S, 11 * S, 12 * S, 13 * S, 30 * S, 31 * S }, &n, words);
	assert_int_equal(n.packets, 6);
	assert_int_equal(n.reordered, 0);
	assert_string_equal(words, "");
}

static void put_in_order(void **state)
{
	int f = fresh_pcap();

	(void)state;
	put_packet(f, 10 * S, 'a');
	put_packet(f, 10 * S + 900000, 'd');
	put_packet(f, 10 * S + 100000, 'b');
	put_packet(f, 10 * S + 100000, 'c'); /* at the same time: as they were written */
	put_packet(f, 20 * S, 'e');
	check(1, "abcde", NULL, &n, words);
	assert_int_equal(n.reordered, 2);
	assert_int_equal(n.backwards, 0);
}

/* A clock that was set back by an hour, and a single packet whose time is none. */
static void backwards(void **state)
{
	int f = fresh_pcap();

	(void)state;
	put_packet(f, 5000 * S, 'a');
	put_packet(f, 5001 * S, 'b');
	put_packet(f, 1401 * S, 'c');
	put_packet(f, 1403 * S, 'd');
	check(1, "abcd", (const uint64_t[]){ 5000 * S, 5001 * S, 5001 * S, 5003 * S }, &n, words);
	assert_int_equal(n.backwards, 1);
	f = fresh_pcap();
	put_packet(f, 5000 * S, 'a');
	put_packet(f, 0, 'b');
	put_packet(f, 5001 * S, 'c');
	check(1, "abc", (const uint64_t[]){ 5000 * S, 5000 * S, 5001 * S }, &n, words);
}

/* It cannot be read again. */
static void pipe_in_loops(void **state)
{
	const char *path[1];
	char name[32];
	int end[2];

	(void)state;
	assert_int_equal(pipe(end), 0);
	snprintf(name, sizeof(name), "/dev/fd/%d", end[0]);
	path[0] = name;
	put(end[1], (const uint8_t[]){ 0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0 }, 8);
	put(end[1], (const uint8_t[]){ 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0 }, 16);
	assert_null(recording_open(path, 1, NULL, 2, err, sizeof(err)));
	assert_non_null(strstr(err, "a pipe can be read only once; accepted: files, or no -T"));
	close(end[0]);
	close(end[1]);
}

static void loops(void **state)
{
	int f = fresh_pcap();
	struct recording *r;
	const struct recorded *x;

	(void)state;
	put_packet(f, 10 * S, 'a');
	put_packet(f, 12 * S, 'b');
	check(3, "ababab",
	      (const uint64_t[]){ 10 * S, 12 * S, 12 * S + 1000, 14 * S + 1000, 14 * S + 2000,
				  16 * S + 2000 },
	      &n, words);
	f = fresh_pcap();
	put_packet(f, 10 * S, 'a');
	r = open_all(2);
	while (!(x = recording_next(r)))
		;
	assert_int_equal(x->loop, 0);
	assert_int_equal(x->shift, 0);
	recording_taken(r);
	while (!(x = recording_next(r)))
		;
	assert_int_equal(x->loop, 1);
	assert_int_equal(x->shift, NS_PER_MS);
	recording_close(r); /* with a packet that was not taken */
	forget();
}

/* A file that ends at any byte gives what comes before. */
static void cut(void **state)
{
	(void)state;
	for (unsigned end = 24; end < 24 + 40; end++) {
		int f = fresh_pcap();

		put_packet(f, 10 * S, 'a');
		put_packet(f, 11 * S, 'b');
		assert_int_equal(ftruncate(f, end), 0);
		check(1, end < 44 ? "" : "a", NULL, &n, words);
		assert_int_equal(n.damaged, end != 24 && end != 44);
		assert_int_equal(words[0] != '\0', end != 24 && end != 44);
	}
	fresh();
	assert_null(recording_open(paths(), 1, NULL, 1, err, sizeof(err)));
	forget();
}

/* What @command makes of a file. False: there is no such command. */
static bool pack(const char *command)
{
	char line[256];
	int f = fresh_pcap(), to, rc;

	put_packet(f, 10 * S, 'a');
	put_packet(f, 11 * S, 'b');
	to = fresh();
	snprintf(line, sizeof(line), "%s </proc/%d/fd/%d >/proc/%d/fd/%d 2>/dev/null", command, (int)getpid(),
		 f, (int)getpid(), to);
	rc = system(line); /* NOLINT(cert-env33-c) */
	close(f);
	fd[0] = to;
	memcpy(path[0], path[1], sizeof(path[0]));
	files = 1;
	return rc == 0;
}

static void packed(void **state)
{
	(void)state;
	if (HAVE_ZLIB && pack("gzip -c"))
		check(2, "abab", NULL, &n, words);
	forget();
	if (HAVE_ZSTD && pack("zstd -qc"))
		check(2, "abab", NULL, &n, words);
	forget();
	/* one behind the other, as a rotated file that was packed twice */
	if (HAVE_ZLIB &&
	    pack("sh -c 'head -c 44 | gzip -c; printf \"\\013\\0\\0\\0\\0\\0\\0\\0\\04\\0\\0\\0\\04\\0\\0\\0bbbb\" | gzip -c'"))
		check(1, "ab", NULL, &n, words);
	forget();
	if (HAVE_ZLIB && pack("sh -c 'gzip -c | head -c 40'")) {
		struct recording *r = recording_open(paths(), 1, NULL, 1, err, sizeof(err));

		if (r)
			recording_close(r);
		else
			assert_non_null(strstr(err, "ends in the middle"));
	}
	forget();
	if (pack("xz -c")) {
		assert_null(recording_open(paths(), 1, NULL, 1, err, sizeof(err)));
		assert_non_null(strstr(err, "type xz -dc "));
		assert_non_null(strstr(err, " | tcpcopy --read -"));
	}
	forget();
}

static void refused(void **state)
{
	const char *const none[] = { "/nonexistent/x.pcap" }, *const directory[] = { "/" };
	int f = fresh();

	(void)state;
	put(f, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
	assert_null(recording_open(paths(), 1, NULL, 1, err, sizeof(err)));
	assert_non_null(strstr(err, "accepted: pcap or pcapng"));
	forget();
	fresh_pcap();
	assert_null(recording_open(paths(), 1, "tcp and", 1, err, sizeof(err)));
	assert_non_null(strstr(err, "filter \"tcp and\""));
	forget();
	assert_null(recording_open(none, 1, NULL, 1, err, sizeof(err)));
	assert_non_null(strstr(err, "/nonexistent/x.pcap: No such file"));
	assert_null(recording_open(directory, 1, NULL, 1, err, sizeof(err)));
	assert_non_null(strstr(err, "a directory"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(merged),        cmocka_unit_test(put_in_order), cmocka_unit_test(backwards),
		cmocka_unit_test(pipe_in_loops), cmocka_unit_test(loops),        cmocka_unit_test(cut),
		cmocka_unit_test(packed),        cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
