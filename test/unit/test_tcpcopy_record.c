/*
 * --write without a network: what workers give is in the file in the order of time, and what has no room is
 * counted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "packet/build.h"
#include "program/clock.h"
#include "program/log.h"
#include "tcpcopy/record/record.h"

#define PAYLOAD 1000u
#define ETHER 14u

static struct config c;
static char directory[64], err[1024];
static uint8_t payload[PAYLOAD];
static const char *const interfaces[] = { "eth0", "tun0" };

static int set_up(void **state)
{
	(void)state;
	strcpy(directory, "/tmp/test_tcpcopy_record.XXXXXX");
	assert_non_null(mkdtemp(directory));
	memset(&c, 0, sizeof(c));
	c.run.workers = 2;
	c.n_rules = 2;
	c.rules[0] = (struct rule){ .online_port = 6379, .text = "6379-10.0.0.7:6379" };
	c.rules[1] = (struct rule){ .online_port = 80, .text = "80-10.0.0.7:80" };
	c.write_answers = ANSWERS_NONE;
	snprintf(c.write, sizeof(c.write), "%s/a.pcapng", directory);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(c.write);
	return rmdir(directory);
}

/* A packet of the client's port @port, captured at @time; @link: with what it begins. */
static struct raw_packet packet(uint8_t bytes[2000], uint16_t port, uint8_t flags, uint64_t time,
				enum link_type link)
{
	const uint32_t ip = link == LINK_ETHERNET ? ETHER : 0;
	const struct tx_segment t = {
		.tuple = { .src = { addr_from_v4("\x0a\x00\x00\x01"), port },
			   .dst = { addr_from_v4("\x0a\x00\x00\x02"), 6379 } },
		.flags = flags,
		.ttl = 64,
		.payload = payload,
		.len = flags & TCPF_SYN ? 0 : PAYLOAD,
	};
	const uint32_t len = ip + (uint32_t)build_packet(bytes + ip, 2000 - ip, &t);

	memset(bytes, 0xaa, ip);
	if (ip)
		memcpy(bytes + 12, "\x08\x00", 2);
	return (struct raw_packet){ .data = bytes, .captured = len, .len = len, .link = link, .time = time };
}

static struct record *opened(void)
{
	struct record *r = record_open(&c, interfaces, 2, err, sizeof(err));

	if (!r)
		fail_msg("%s", err);
	return r;
}

static void give(struct record *r, unsigned worker, uint16_t port, uint8_t flags, uint64_t time, bool tunnel)
{
	uint8_t bytes[2000];
	const struct raw_packet p = packet(bytes, port, flags, time, tunnel ? LINK_RAW : LINK_ETHERNET);

	record_request(record_worker(r, worker), &p, tunnel, 1, flags & TCPF_SYN);
}

/* Read the next packet: its source port. Its time, ns, goes to *time. */
static unsigned port_of(pcap_t *file, uint64_t *time)
{
	struct pcap_pkthdr *h;
	const u_char *data;

	if (pcap_next_ex(file, &h, &data) != 1)
		return 0;
	*time = (uint64_t)h->ts.tv_sec * NS_PER_SEC + (uint64_t)h->ts.tv_usec;
	assert_int_equal(h->caplen, h->len);
	assert_memory_equal(data + 12, "\x08\x00\x45", 3);
	return (unsigned)data[ETHER + 20] << 8 | data[ETHER + 21];
}

static void in_the_order_of_time(void **state)
{
	const uint64_t now = clock_now() - NS_PER_SEC, wall = clock_wall();
	struct record *r = opened();
	struct record_counters n;
	char words[PCAP_ERRBUF_SIZE];
	uint64_t first = 0, time = 0;
	pcap_t *file;

	(void)state;
	give(r, 0, 1001, TCPF_SYN, now, false);
	give(r, 0, 1003, TCPF_ACK, now + 2000, true);
	give(r, 0, 1004, TCPF_ACK, now + 3000, false);
	give(r, 1, 1002, TCPF_ACK, now + 1000, false);
	give(r, 1, 1005, TCPF_ACK, now + 4000, true);
	assert_int_equal(record_start(r, err, sizeof(err)), 0);
	record_end(r);
	record_counters(r, &n);
	assert_true(n.files.written == 5 && !n.files.failed && n.files.files == 1 && !n.answers);
	assert_true(record_worker(r, 0)->requests == 3 && record_worker(r, 1)->requests == 2);
	record_free(r);
	file = pcap_open_offline_with_tstamp_precision(c.write, PCAP_TSTAMP_PRECISION_NANO, words);
	assert_non_null(file);
	assert_int_equal(port_of(file, &first), 1001);
	assert_true(first > wall - 3 * NS_PER_SEC && first < wall + NS_PER_SEC);
	for (unsigned i = 1; i < 5; i++) {
		assert_int_equal(port_of(file, &time), 1001 + i);
		assert_int_equal(time - first, i * 1000);
	}
	assert_int_equal(port_of(file, &time), 0);
	pcap_close(file);
}

/* Nobody takes anything: what does not fit is thrown away, and what does is written later. */
static void without_room_it_is_shed(void **state)
{
	const uint64_t now = clock_now();
	struct record *r = opened();
	struct record_worker *w = record_worker(r, 1);
	struct record_counters n;
	unsigned given = 0;

	(void)state;
	while (w->shed < 100 && given < 100000) {
		give(r, 1, 1001, TCPF_ACK, now, false);
		given++;
	}
	assert_int_equal(w->shed, 100);
	assert_true(given > 10000 && w->requests == given);
	give(r, 0, 1001, TCPF_ACK, now, false); /* another worker has a queue of its own */
	assert_int_equal(record_worker(r, 0)->shed, 0);
	record_counters(r, &n);
	assert_int_equal(n.files.written, 0);
	assert_int_equal(record_start(r, err, sizeof(err)), 0);
	record_end(r);
	record_counters(r, &n);
	assert_int_equal(n.files.written, given - 100 + 1);
	record_free(r);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(in_the_order_of_time),
		TEST(without_room_it_is_shed),
	};

	log_init("test", LOGL_WARN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
