/*
 * Capture filters: what is accepted, what is refused and in which words, and what the kernel's
 * program is made of. No packet is captured and no privilege needed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/capture/filter.h"
#include "io/capture/source.h"

static char err[512];

static void valid_filters(void **state)
{
	static const char *const good[] = {
		NULL,
		"",
		"tcp",
		"tcp and src port 6379",
		"host fd91::1 and tcp dst port 80",
		"(tcp[tcpflags] & (tcp-syn|tcp-fin)) != 0",
		"tcp dst portrange 80-90 or ip6",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(capture_check_filter(good[i], err, sizeof(err)), 0);
}

static void refused_filters(void **state)
{
	static const char *const bad[] = { "tcp and", "port 99999", "foo bar", "tcp)", "src port" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err[0] = '\0';
		assert_int_equal(capture_check_filter(bad[i], err, sizeof(err)), -1);
		assert_non_null(strstr(err, bad[i]));
		assert_true(strlen(err) > strlen(bad[i]) + strlen("filter \"\": "));
	}
}

static void vlan_is_refused_with_the_reason(void **state)
{
	(void)state;
	assert_int_equal(capture_check_filter("vlan 5 and tcp", err, sizeof(err)), -1);
	assert_non_null(strstr(err, "removes VLAN tags"));
	assert_int_equal(capture_check_filter("tcp and (vlan)", err, sizeof(err)), -1);
	assert_non_null(strstr(err, "removes VLAN tags"));
	/* A host whose name has the word in it fails for another reason: it does not exist. */
	assert_int_equal(capture_check_filter("host vlan-x.invalid", err, sizeof(err)), -1);
	assert_null(strstr(err, "removes VLAN tags"));
}

static void the_verdict_is_the_snaplen(void **state)
{
	static const uint8_t packet[60] = { [12] = 0x08, [14] = 0x45, [23] = 6 };
	struct pcap_pkthdr h = { .caplen = sizeof(packet), .len = sizeof(packet) };
	struct bpf_program p;

	(void)state;
	assert_int_equal(capture_filter_compile(&p, "tcp", LINK_ETHERNET, 94, err, sizeof(err)), 0);
	assert_int_equal(pcap_offline_filter(&p, &h, packet), 94);
	pcap_freecode(&p);
	assert_int_equal(capture_filter_compile(&p, "tcp", LINK_ETHERNET, 0, err, sizeof(err)), 0);
	assert_true(pcap_offline_filter(&p, &h, packet) > 524288 + 100);
	pcap_freecode(&p);
	/* The same bytes from the IP header on, as a tunnel gives them. */
	assert_int_equal(capture_filter_compile(&p, "tcp", LINK_RAW, 94, err, sizeof(err)), 0);
	assert_int_equal(pcap_offline_filter(&p, &h, packet + 14), 94);
	assert_int_equal(pcap_offline_filter(&p, &h, packet), 0);
	pcap_freecode(&p);
}

/* What the first one takes is cut as it says; the second one decides about the rest. */
static void two_filters_with_a_length_each(void **state)
{
	uint8_t packet[60] = { [12] = 0x08, [14] = 0x45, [23] = 6 };
	struct pcap_pkthdr h = { .caplen = sizeof(packet), .len = sizeof(packet) };
	struct bpf_program p, first;

	(void)state;
	assert_int_equal(capture_filter_compile(&p, "tcp dst port 80", LINK_ETHERNET, 0, err, sizeof(err)),
			 0);
	assert_int_equal(capture_filter_compile(&first, "tcp and (dst portrange 1000-2000 or src port 7)",
						LINK_ETHERNET, 94, err, sizeof(err)),
			 0);
	assert_int_equal(capture_filter_prepend(&p, &first), 0);
	pcap_freecode(&first);
	for (unsigned port = 0; port < 3000; port++) {
		packet[36] = (uint8_t)(port >> 8);
		packet[37] = (uint8_t)port;
		packet[35] = port == 2500 ? 7 : 0;
		if (port == 80)
			assert_int_equal(pcap_offline_filter(&p, &h, packet), CAPTURE_FILTER_ALL);
		else
			assert_int_equal(pcap_offline_filter(&p, &h, packet),
					 (port >= 1000 && port <= 2000) || port == 2500 ? 94 : 0);
	}
	packet[23] = 17; /* UDP */
	assert_int_equal(pcap_offline_filter(&p, &h, packet), 0);
	packet[12] = 0; /* not IP */
	assert_int_equal(pcap_offline_filter(&p, &h, packet), 0);
	pcap_freecode(&p);
}

static void link_types(void **state)
{
	enum link_type l;

	(void)state;
	assert_true(capture_link_type(ARPHRD_ETHER, &l) && l == LINK_ETHERNET);
	assert_true(capture_link_type(ARPHRD_LOOPBACK, &l) && l == LINK_ETHERNET);
	assert_true(capture_link_type(ARPHRD_NONE, &l) && l == LINK_RAW);
	assert_false(capture_link_type(ARPHRD_IEEE80211_RADIOTAP, &l));
}

static void a_filter_too_long_is_refused(void **state)
{
	static struct bpf_insn code[4096];
	struct bpf_program p = { .bf_len = 4094, .bf_insns = code };
	int fd[2];

	(void)state;
	for (size_t i = 0; i < 4096; i++)
		code[i].code = BPF_RET;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, fd), 0);
	assert_int_equal(capture_filter_attach(fd[0], &p, CAPTURE_TO_HOST, err, sizeof(err)), -1);
	assert_non_null(strstr(err, "too long"));
	close(fd[0]);
	close(fd[1]);
}

static void drop_all_lets_nothing_in(void **state)
{
	struct bpf_program p;
	char byte = 0;
	int fd[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, fd), 0);
	assert_int_equal(capture_filter_drop_all(fd[0]), 0);
	(void)!send(fd[1], "x", 1, MSG_DONTWAIT);
	assert_int_equal(recv(fd[0], &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(capture_filter_compile(&p, "", LINK_ETHERNET, 0, err, sizeof(err)), 0);
	assert_int_equal(capture_filter_attach(fd[0], &p, CAPTURE_BOTH, err, sizeof(err)), 0);
	assert_int_equal(send(fd[1], "y", 1, MSG_DONTWAIT), 1);
	assert_int_equal(recv(fd[0], &byte, 1, MSG_DONTWAIT), 1);
	assert_int_equal(byte, 'y');
	pcap_freecode(&p);
	close(fd[0]);
	close(fd[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(valid_filters),
		cmocka_unit_test(refused_filters),
		cmocka_unit_test(vlan_is_refused_with_the_reason),
		cmocka_unit_test(the_verdict_is_the_snaplen),
		cmocka_unit_test(two_filters_with_a_length_each),
		cmocka_unit_test(link_types),
		cmocka_unit_test(a_filter_too_long_is_refused),
		cmocka_unit_test(drop_all_lets_nothing_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
