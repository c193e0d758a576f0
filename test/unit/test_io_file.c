/*
 * pcap files: what a sink wrote, a source reads; and what a source does with files that are not
 * what they should be.
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
#include <time.h>
#include <unistd.h>

#include "base/util.h"
#include "io/inject/sink.h"
#include "io/capture/source.h"
#include "packet/build.h"

#define MSS 1448u
#define LEN 5000u

static char err[512], path[] = "/tmp/test_io_file.XXXXXX";
static uint8_t payload[70000];

static struct tx_segment example(bool v6, uint32_t len, uint16_t gso_size)
{
	struct tx_segment t = {
		.seq = 4294966000u,
		.ack = 9,
		.window = 115,
		.ip_id = 65534,
		.gso_size = gso_size,
		.flags = TCPF_ACK | TCPF_PSH,
		.ttl = 52,
		.df = true,
		.payload = payload,
		.len = len,
	};

	assert_true(addr_parse(&t.tuple.src.addr, v6 ? "fd90::82" : "10.90.114.82"));
	assert_true(addr_parse(&t.tuple.dst.addr, v6 ? "fd91::2" : "10.90.109.143"));
	t.tuple.src.port = 33800;
	t.tuple.dst.port = 6379;
	return t;
}

struct seen {
	unsigned packets, partial;
	uint32_t bytes;
	uint16_t last_id;
	uint64_t time;
};

static void look(const struct raw_packet *p, void *arg)
{
	struct seen *seen = arg;
	struct segment s;

	assert_int_equal(parse_packet(&s, p), PARSE_OK);
	assert_int_equal(s.seq, 4294966000u + seen->bytes);
	assert_int_equal(s.captured, s.len);
	assert_memory_equal(s.payload, payload + seen->bytes, s.len);
	seen->packets++;
	seen->bytes += s.len;
	seen->last_id = s.ip_id;
	seen->partial += p->checksum == CHECKSUM_PARTIAL;
	seen->time = p->time;
}

static void round_trip(bool v6)
{
	struct tx_segment t = example(v6, LEN, MSS);
	struct sink *k = sink_file_open(path, err, sizeof(err));
	struct seen seen = { 0 };
	struct source_counters c;
	struct source *s;

	assert_non_null(k);
	sink_send(k, &t);
	sink_flush(k);
	assert_int_equal(k->counters.segments, 1);
	assert_int_equal(k->counters.packets, 4);
	assert_int_equal(k->counters.bytes, LEN + 4 * build_headers_len(&t));
	sink_close(k);

	s = source_file_open(path, "tcp dst port 6379", err, sizeof(err));
	assert_non_null(s);
	assert_int_equal(s->fd, -1);
	assert_int_equal(source_poll(s, 3, look, &seen), 3);
	assert_false(s->at_end);
	assert_int_equal(source_poll(s, 3, look, &seen), 1);
	assert_true(s->at_end);
	assert_int_equal(seen.bytes, LEN);
	assert_int_equal(seen.partial, 0);
	assert_int_equal(seen.last_id, v6 ? 0 : 1);
	assert_true(llabs((long long)(seen.time / NS_PER_SEC) - (long long)time(NULL)) < 60);
	source_counters(s, &c);
	assert_int_equal(c.packets, 4);
	assert_int_equal(c.errors, 0);
	source_close(s);

	s = source_file_open(path, "tcp dst port 1", err, sizeof(err));
	assert_non_null(s);
	assert_int_equal(source_poll(s, 100, look, &seen), 0);
	assert_true(s->at_end);
	source_close(s);
}

static void round_trip_v4(void **state)
{
	(void)state;
	round_trip(false);
}

static void round_trip_v6(void **state)
{
	(void)state;
	round_trip(true);
}

static void more_than_an_ip_packet_holds_is_counted(void **state)
{
	struct tx_segment t = example(false, 65535, 0);
	struct sink *k = sink_file_open(path, err, sizeof(err));

	(void)state;
	sink_send(k, &t);
	assert_int_equal(k->counters.errors[SINK_MSGSIZE], 1);
	assert_int_equal(k->counters.packets, 0);
	sink_close(k);
}

static void a_full_disk_is_counted(void **state)
{
	struct tx_segment t = example(false, 60000, 0);
	struct sink *k;

	(void)state;
	if (access("/dev/full", W_OK))
		skip();
	k = sink_file_open("/dev/full", err, sizeof(err));
	assert_non_null(k);
	sink_send(k, &t);
	sink_flush(k);
	sink_send(k, &t);
	assert_true(k->counters.errors[SINK_OTHER] >= 1);
	sink_close(k);
}

struct one {
	enum parse_reason reason;
	enum checksum_state sum;
};

static void look_one(const struct raw_packet *p, void *arg)
{
	struct one *o = arg;
	struct segment s;

	o->sum = p->checksum;
	o->reason = parse_packet(&s, p);
}

static bool no_ip_checksum;

/* Read back one packet, the first byte of whose TCP checksum was changed by @flip. */
static enum parse_reason read_with_checksum(enum build_checksum how, uint8_t flip, enum checksum_state *sum)
{
	struct tx_segment t = example(false, 100, 0);
	struct pcap_pkthdr h = { .ts = { .tv_sec = 1 } };
	uint8_t packet[256];
	size_t n = build_headers(packet, &t, how);
	pcap_t *dead = pcap_open_dead(DLT_RAW, 65535);
	pcap_dumper_t *d = pcap_dump_open(dead, path);
	struct one o = { PARSE_NOT_IP, CHECKSUM_TRUSTED };
	struct source *s;

	memcpy(packet + n, payload, 100);
	packet[20 + 16] ^= flip;
	if (no_ip_checksum)
		packet[10] = packet[11] = 0;
	h.caplen = h.len = (bpf_u_int32)n + 100;
	pcap_dump((u_char *)d, &h, packet);
	pcap_dump_close(d);
	pcap_close(dead);
	s = source_file_open(path, NULL, err, sizeof(err));
	assert_non_null(s);
	assert_int_equal(source_poll(s, 10, look_one, &o), 1);
	source_close(s);
	*sum = o.sum;
	return o.reason;
}

static void pending_checksums_are_told_from_wrong_ones(void **state)
{
	enum checksum_state sum;

	(void)state;
	assert_int_equal(read_with_checksum(BUILD_CHECKSUM_FULL, 0, &sum), PARSE_OK);
	assert_int_equal(sum, CHECKSUM_VERIFY);
	assert_int_equal(read_with_checksum(BUILD_CHECKSUM_PARTIAL, 0, &sum), PARSE_OK);
	assert_int_equal(sum, CHECKSUM_PARTIAL);
	assert_int_equal(read_with_checksum(BUILD_CHECKSUM_FULL, 4, &sum), PARSE_BAD_CHECKSUM);
	assert_int_equal(read_with_checksum(BUILD_CHECKSUM_PARTIAL, 4, &sum), PARSE_BAD_CHECKSUM);
}

/* As what a Windows host sends is captured there. */
static void ip_checksums_may_be_pending_alone(void **state)
{
	enum checksum_state sum;

	(void)state;
	no_ip_checksum = true;
	assert_int_equal(read_with_checksum(BUILD_CHECKSUM_FULL, 0, &sum), PARSE_OK);
	assert_int_equal(sum, CHECKSUM_TRUSTED);
	assert_int_equal(read_with_checksum(BUILD_CHECKSUM_PARTIAL, 0, &sum), PARSE_OK);
	assert_int_equal(sum, CHECKSUM_PARTIAL);
	assert_int_equal(read_with_checksum(BUILD_CHECKSUM_FULL, 4, &sum), PARSE_BAD_CHECKSUM);
	no_ip_checksum = false;
}

static void a_damaged_file_gives_what_is_before_the_damage(void **state)
{
	struct tx_segment t = example(false, LEN, MSS);
	struct sink *k = sink_file_open(path, err, sizeof(err));
	struct seen seen = { 0 };
	struct source_counters c;
	struct source *s;

	(void)state;
	sink_send(k, &t);
	sink_close(k);
	assert_int_equal(truncate(path, 24 + 2 * (16 + 40 + MSS) + 100), 0);
	s = source_file_open(path, NULL, err, sizeof(err));
	assert_int_equal(source_poll(s, 100, look, &seen), 2);
	assert_true(s->at_end);
	source_counters(s, &c);
	assert_int_equal(c.errors, 1);
	assert_non_null(strstr(s->error, path));
	source_close(s);
}

static void files_that_cannot_be_opened(void **state)
{
	FILE *f;
	pcap_t *dead = pcap_open_dead(DLT_IEEE802_11_RADIO, 100);

	(void)state;
	assert_null(source_file_open("/nonexistent/x.pcap", NULL, err, sizeof(err)));
	assert_string_equal(err, "file /nonexistent/x.pcap: No such file or directory");
	assert_null(sink_file_open("/nonexistent/x.pcap", err, sizeof(err)));
	assert_non_null(strstr(err, "/nonexistent/x.pcap: No such file"));
	f = fopen(path, "w");
	fputs("this is not a packet capture at all, is it?", f);
	fclose(f);
	assert_null(source_file_open(path, NULL, err, sizeof(err)));
	assert_non_null(strstr(err, path));
	pcap_dump_close(pcap_dump_open(dead, path));
	pcap_close(dead);
	assert_null(source_file_open(path, NULL, err, sizeof(err)));
	assert_non_null(strstr(err, "IEEE802_11_RADIO"));
	dead = pcap_open_dead(DLT_RAW, 100);
	pcap_dump_close(pcap_dump_open(dead, path));
	pcap_close(dead);
	assert_null(source_file_open(path, "tcp and", err, sizeof(err)));
	assert_non_null(strstr(err, "filter \"tcp and\""));
}

static int set_up(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i % 251);
	return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state)
{
	(void)state;
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip_v4),
		cmocka_unit_test(round_trip_v6),
		cmocka_unit_test(more_than_an_ip_packet_holds_is_counted),
		cmocka_unit_test(a_full_disk_is_counted),
		cmocka_unit_test(ip_checksums_may_be_pending_alone),
		cmocka_unit_test(pending_checksums_are_told_from_wrong_ones),
		cmocka_unit_test(a_damaged_file_gives_what_is_before_the_damage),
		cmocka_unit_test(files_that_cannot_be_opened),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
