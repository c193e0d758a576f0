/*
 * Files that are written: made and never overwritten, rotated between blocks, kept below a quota, packed, and
 * whole where the disk was full.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "build/config.h"
#include "io/file/content.h"
#include "io/file/output.h"
#include "program/log.h"

#define BLOCK 60000u

static char directory[64], path[128], err[512];
static uint8_t content[8 << 20];

static int set_up(void **state)
{
	(void)state;
	strcpy(directory, "/tmp/test_io_output.XXXXXX");
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/day.pcapng", directory);
	return 0;
}

/* The names of its files in order, with blanks between them. */
static const char *names(void)
{
	static char all[1024];
	struct dirent **list;
	const int n = scandir(directory, &list, NULL, alphasort);

	all[0] = '\0';
	for (int i = 0; i < n; i++) {
		if (list[i]->d_name[0] != '.')
			sprintf(all + strlen(all), "%s%s", all[0] ? " " : "", list[i]->d_name);
		free(list[i]);
	}
	free(list);
	return all;
}

static const char *in(const char *name)
{
	static char whole[256];

	snprintf(whole, sizeof(whole), "%s/%s", directory, name);
	return whole;
}

static int tear_down(void **state)
{
	char all[1024], *rest = NULL;

	(void)state;
	strcpy(all, names());
	for (const char *name = strtok_r(all, " ", &rest); name; name = strtok_r(NULL, " ", &rest))
		unlink(in(name));
	return rmdir(directory);
}

static struct output *opened(struct output_options o)
{
	o.path = path;
	o.head = (const uint8_t *)"HEAD";
	o.head_len = 4;
	return output_open(&o, err, sizeof(err));
}

static void put(struct output *o, uint8_t fill, size_t n, uint64_t now)
{
	memset(output_room(o, now), fill, n);
	output_put(o, n, now);
}

static size_t size_of(const char *name)
{
	struct stat st;

	assert_int_equal(stat(in(name), &st), 0);
	return (size_t)st.st_size;
}

/* The unpacked bytes of the file. */
static size_t read_file(const char *name)
{
	const int fd = open(in(name), O_RDONLY);
	struct content *c = content_open(fd, name, NULL, NULL, err, sizeof(err));
	FILE *f;
	size_t n;

	assert_non_null(c);
	f = content_stream(c);
	n = fread(content, 1, sizeof(content), f);
	assert_null(content_wrong(c));
	fclose(f);
	content_close(c);
	close(fd);
	return n;
}

static void one_file(void **state)
{
	struct output *o = opened((struct output_options){ .most = 0 });
	struct output_counters n;
	struct stat st;

	(void)state;
	assert_non_null(o);
	put(o, 'a', 100, 1);
	output_counters(o, &n);
	assert_true(n.files == 1 && !n.written && !n.failed); /* it waits */
	output_flush(o, 2);
	output_counters(o, &n);
	assert_true(n.written == 1 && n.bytes == 104);
	put(o, 'b', 8, 3);
	output_end(o);
	output_counters(o, &n);
	assert_true(n.written == 2 && n.bytes == 112);
	output_close(o);
	assert_string_equal(names(), "day.pcapng");
	assert_int_equal(read_file("day.pcapng"), 112);
	assert_memory_equal(content, "HEADaaa", 7);
	assert_memory_equal(content + 104, "bbbbbbbb", 8);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void nothing_is_overwritten(void **state)
{
	struct output *o = opened((struct output_options){ .most = 0 });

	(void)state;
	assert_non_null(o);
	put(o, 'a', 100, 1);
	output_close(o);
	assert_null(opened((struct output_options){ .most = 0 }));
	assert_non_null(strstr(err, "it exists"));
	assert_int_equal(size_of("day.pcapng"), 104);
	unlink(path);
	assert_int_equal(symlink(in("elsewhere"), path), 0);
	assert_null(opened((struct output_options){ .most = 0 }));
	assert_non_null(strstr(err, "symbolic link"));
	assert_string_equal(names(), "day.pcapng");
	snprintf(path, sizeof(path), "%s/nowhere/x", directory);
	assert_null(opened((struct output_options){ .most = 0 }));
	assert_non_null(strstr(err, "No such file or directory"));
}

/* Ten blocks of 60,000 bytes: a file is full with the block that reaches 100,000. */
static void rotated_by_size(void **state)
{
	struct output *o = opened((struct output_options){ .rotate_bytes = 100000 });
	struct output_counters n;

	(void)state;
	assert_non_null(o);
	for (unsigned i = 0; i < 10; i++)
		put(o, (uint8_t)('a' + i), BLOCK, 1);
	output_end(o);
	output_counters(o, &n);
	assert_true(n.written == 10 && n.files == 5 && !n.removed && n.bytes == 5 * (4 + 2 * BLOCK));
	output_close(o);
	assert_string_equal(names(), "day.00001.pcapng day.00002.pcapng day.00003.pcapng day.00004.pcapng "
				     "day.00005.pcapng");
	for (unsigned i = 1; i <= 5; i++) {
		char name[32];

		sprintf(name, "day.%05u.pcapng", i);
		assert_int_equal(read_file(name), 4 + 2 * BLOCK);
		assert_memory_equal(content, "HEAD", 4);
		assert_int_equal(content[4], 'a' + 2 * (i - 1));
		assert_int_equal(content[4 + 2 * BLOCK - 1], 'a' + 2 * (i - 1) + 1);
	}
}

/* A file is as old as its first block; without a block there is no next file. */
static void rotated_by_time(void **state)
{
	struct output *o = opened((struct output_options){ .rotate_time = 10 * NS_PER_SEC });

	(void)state;
	assert_non_null(o);
	for (uint64_t s = 100; s < 125; s += 5) { /* 100 and 105, 110 and 115, 120 */
		put(o, 'a', 1000, s * NS_PER_SEC);
		output_flush(o, s * NS_PER_SEC);
	}
	output_close(o);
	assert_string_equal(names(), "day.00001.pcapng day.00002.pcapng day.00003.pcapng");
	assert_int_equal(size_of("day.00001.pcapng"), 2004);
	assert_int_equal(size_of("day.00003.pcapng"), 1004);
}

/* What another run has left is neither overwritten nor forgotten. */
static void series_goes_on(void **state)
{
	struct output *o;

	(void)state;
	close(open(in("day.00041.pcapng"), O_CREAT | O_WRONLY, 0600));
	close(open(in("day.x.pcapng"), O_CREAT | O_WRONLY, 0600));
	close(open(in("day.00099.pcapng.gz"), O_CREAT | O_WRONLY, 0600));
	o = opened((struct output_options){ .rotate_bytes = 100000 });
	assert_non_null(o);
	assert_non_null(strstr(output_path(o), "/day.00042.pcapng"));
	assert_int_equal(output_check(o), 0);
	output_close(o);
}

static uint64_t all_bytes(void)
{
	char all[1024], *rest = NULL;
	uint64_t sum = 0;

	strcpy(all, names());
	for (const char *name = strtok_r(all, " ", &rest); name; name = strtok_r(NULL, " ", &rest))
		sum += size_of(name);
	return sum;
}

static void quota(void **state)
{
	struct output *o;
	struct output_counters n;
	int fd;

	(void)state;
	fd = open(in("day.00007.pcapng"), O_CREAT | O_WRONLY, 0600); /* of an earlier run */
	assert_int_equal(ftruncate(fd, 3 << 20), 0);
	close(fd);
	o = opened((struct output_options){ .rotate_bytes = 1 << 20, .most = 4 << 20 });
	assert_non_null(o);
	for (unsigned i = 0; i < 400; i++) {
		put(o, 'a', BLOCK, 1);
		if (i % 10 == 0)
			assert_true(all_bytes() <= 4 << 20);
	}
	output_end(o);
	output_counters(o, &n);
	assert_int_equal(n.written, 400);
	assert_true(all_bytes() <= 4 << 20 && all_bytes() > 2 << 20);
	output_close(o);
	assert_int_not_equal(access(in("day.00007.pcapng"), F_OK), 0);
	assert_true(n.removed + 4 >= n.files && n.removed < n.files + 1);
}

/* By time alone a file could take all the room: then it is full before that. */
static void quota_of_files_by_time(void **state)
{
	struct output *o =
		opened((struct output_options){ .rotate_time = 3600 * NS_PER_SEC, .most = 4 << 20 });

	(void)state;
	assert_non_null(o);
	for (unsigned i = 0; i < 200; i++)
		put(o, 'a', BLOCK, 1);
	output_close(o);
	assert_true(all_bytes() <= 4 << 20 && all_bytes() > 2 << 20);
}

/* A file that may not grow stands for a full disk. */
static void full_disk(void **state)
{
	struct rlimit before, small = { 150000, RLIM_INFINITY };
	struct output *o = opened((struct output_options){ .most = 0 });
	struct output_counters n;

	(void)state;
	assert_non_null(o);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	small.rlim_max = before.rlim_max;
	put(o, 'a', BLOCK, 1);
	output_flush(o, 1);
	setrlimit(RLIMIT_FSIZE, &small);
	put(o, 'b', BLOCK, 2);
	put(o, 'c', BLOCK, 2);
	output_flush(o, 2);
	output_counters(o, &n);
	assert_true(n.written == 1 && n.failed == 2);
	assert_int_equal(size_of("day.pcapng"), 4 + BLOCK); /* nothing of them */
	put(o, 'd', 100, 3);
	output_flush(o, 3); /* it is not tried so soon */
	setrlimit(RLIMIT_FSIZE, &before);
	put(o, 'e', 100, 4);
	output_flush(o, 4);
	output_counters(o, &n);
	assert_true(n.written == 1 && n.failed == 4);
	put(o, 'f', BLOCK, 2 * NS_PER_SEC);
	output_end(o);
	output_counters(o, &n);
	assert_true(n.written == 2 && n.failed == 4 && n.bytes == 4 + 2 * BLOCK);
	output_close(o);
	assert_int_equal(read_file("day.pcapng"), 4 + 2 * BLOCK);
	assert_int_equal(content[4 + BLOCK], 'f');
}

static void packed(const char *suffix)
{
	struct output *o;
	struct output_counters n;
	char first[64], second[64];

	strcat(path, suffix);
	o = opened((struct output_options){ .rotate_time = 10 * NS_PER_SEC });
	assert_non_null(o);
	for (unsigned i = 0; i < 40; i++) {
		put(o, (uint8_t)i, BLOCK, i * NS_PER_SEC / 2 + 1);
		output_flush(o, i * NS_PER_SEC / 2 + 1);
	}
	output_end(o);
	output_counters(o, &n);
	assert_int_equal(n.written, 40);
	assert_int_equal(n.bytes, all_bytes());
	assert_true(n.bytes < 40 * BLOCK / 10);
	output_close(o);
	snprintf(first, sizeof(first), "day.00001.pcapng%s", suffix);
	snprintf(second, sizeof(second), "day.00002.pcapng%s", suffix);
	assert_int_equal(read_file(first), 4 + 20 * BLOCK);
	assert_int_equal(read_file(second), 4 + 20 * BLOCK);
	assert_memory_equal(content, "HEAD\x14", 5);
}

static void packed_by_gzip(void **state)
{
	(void)state;
	if (!HAVE_ZLIB)
		skip();
	packed(".gz");
}

static void packed_by_zstd(void **state)
{
	(void)state;
	if (!HAVE_ZSTD)
		skip();
	packed(".zst");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(one_file),
		TEST(nothing_is_overwritten),
		TEST(rotated_by_size),
		TEST(rotated_by_time),
		TEST(series_goes_on),
		TEST(quota),
		TEST(quota_of_files_by_time),
		TEST(full_disk),
		TEST(packed_by_gzip),
		TEST(packed_by_zstd),
	};

	log_init("test", LOGL_INFO);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
