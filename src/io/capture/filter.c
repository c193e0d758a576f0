/*
 * Capture filters: from the text that people know from tcpdump to a program in the kernel.
 *
 * In: filter text, the interface's link type, and which packet types are wanted. Out: a classic
 * BPF program, which the kernel runs for each packet before it is queued to our socket, so that
 * packets that are not wanted cost no copy and no wake-up.
 *
 * libpcap compiles without a device ("dead" handle), so no privilege is needed to check a filter.
 * What that means for VLANs: the kernel takes the tag off a received packet before any tap sees it
 * and keeps it beside the bytes, so a filter that does not speak of VLANs finds IP where it looks
 * for it, on tagged and on untagged packets alike. The word "vlan" would look for the tag in the
 * bytes and never match; it is refused rather than left to capture nothing. For the same reason
 * the inner of two tags, which stays in the bytes, hides its packet from a filter.
 *
 * The test of the packet type (SKF_AD_PKTTYPE) is three instructions put in front of libpcap's:
 * jumps are relative, so the rest is not touched. It works on every kernel, also where
 * PACKET_IGNORE_OUTGOING does not exist.
 *
 * IPv4 fragments behind the first carry no ports: a filter on ports sees them only after
 * reassembly, which capture.c asks the kernel for.
 */
#include "io/capture/filter.h"

#include <ctype.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/if_arp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "program/args.h"
#include "base/util.h"
#include "io/capture/source.h"

#ifndef ARPHRD_RAWIP
#define ARPHRD_RAWIP 519
#endif
#ifndef ARPHRD_IP6GRE
#define ARPHRD_IP6GRE 823
#endif

/*
 * Link type by the kernel's hardware type. Devices without a link-layer header deliver IP as it
 * is; the others that exist (radio headers, buses) carry no TCP that we could take.
 */
bool capture_link_type(unsigned short arphrd, enum link_type *link)
{
	switch (arphrd) {
	case ARPHRD_ETHER:
	case ARPHRD_LOOPBACK:
		*link = LINK_ETHERNET;
		return true;
	case ARPHRD_NONE:
	case ARPHRD_RAWIP:
	case ARPHRD_PPP:
	case ARPHRD_TUNNEL:
	case ARPHRD_TUNNEL6:
	case ARPHRD_SIT:
	case ARPHRD_IPGRE:
	case ARPHRD_IP6GRE:
		*link = LINK_RAW;
		return true;
	default:
		return false;
	}
}

/* Does @text contain @word by itself? Names with a hyphen or dot in them are other words. */
static bool has_word(const char *text, const char *word)
{
	size_t len = strlen(word);
	const char *p;

	for (p = strstr(text, word); p; p = strstr(p + 1, word)) {
		char before = p == text ? ' ' : p[-1];

		if (!isalnum((unsigned char)before) && !strchr("-._", before) &&
		    !isalnum((unsigned char)p[len]) && (!p[len] || !strchr("-._", p[len])))
			return true;
	}
	return false;
}

int capture_filter_compile(struct bpf_program *program, const char *text, enum link_type link,
			   unsigned snaplen, char *err, size_t err_size)
{
	pcap_t *dead;
	int rc;

	if (!text)
		text = "";
	if (has_word(text, "vlan")) {
		snprintf(
			err, err_size,
			"filter \"%s\": \"vlan\" cannot be used, because the kernel removes VLAN tags before "
			"capture; omit it (tagged packets match without it) or capture on the VLAN's own "
			"interface",
			text);
		return -1;
	}
	dead = pcap_open_dead((int)link, (int)(snaplen ? snaplen : CAPTURE_FILTER_ALL));
	if (!dead) {
		snprintf(err, err_size, "filter \"%s\": out of memory", text);
		return -1;
	}
	rc = pcap_compile(dead, program, text, 1, PCAP_NETMASK_UNKNOWN);
	if (rc < 0)
		snprintf(err, err_size, "filter \"%s\": %s", text, pcap_geterr(dead));
	pcap_close(dead);
	return rc < 0 ? -1 : 0;
}

/*
 * Where the first one refuses, the second begins. Jumps are relative, so both stay as they are. A program of
 * libpcap begins without an assumption about registers and memory.
 */
int capture_filter_prepend(struct bpf_program *program, const struct bpf_program *first)
{
	const size_t n = first->bf_len, all = n + program->bf_len;
	struct bpf_insn *code = malloc(all * sizeof(*code));

	if (!code)
		return -1;
	memcpy(code, first->bf_insns, n * sizeof(*code));
	memcpy(code + n, program->bf_insns, program->bf_len * sizeof(*code));
	for (size_t i = 0; i < n; i++)
		if (code[i].code == (BPF_RET | BPF_K) && !code[i].k)
			code[i] = (struct bpf_insn){ .code = BPF_JMP | BPF_JA, .k = (unsigned)(n - i - 1) };
	free(program->bf_insns); /* as pcap_freecode() does */
	program->bf_insns = code;
	program->bf_len = (unsigned)all;
	return 0;
}

int capture_check_filter(const char *filter, char *err, size_t err_size)
{
	struct bpf_program program;

	if (capture_filter_compile(&program, filter, LINK_ETHERNET, 0, err, err_size) < 0)
		return -1;
	pcap_freecode(&program);
	return 0;
}

const char *capture_filter_wrong(const char *filter)
{
	char err[1280], prefix[sizeof(err)];
	size_t len;

	if (!filter[strspn(filter, " \t\n")])
		return "the filter is empty";
	if (!capture_check_filter(filter, err, sizeof(err)))
		return NULL;
	len = (size_t)snprintf(prefix, sizeof(prefix), "filter \"%s\": ", filter);
	return args_wrong("%s", len < sizeof(prefix) && !strncmp(err, prefix, len) ? err + len : err);
}

static int attach(int fd, struct sock_filter *code, unsigned len)
{
	struct sock_fprog p = { .len = (unsigned short)len, .filter = code };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &p, sizeof(p));
}

int capture_filter_drop_all(int fd)
{
	struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);

	return attach(fd, &drop, 1);
}

int capture_filter_lock(int fd)
{
	static const int on = 1;

	return setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof(on));
}

int capture_filter_attach(int fd, const struct bpf_program *program, enum capture_direction direction,
			  char *err, size_t err_size)
{
	struct sock_filter code[BPF_MAXINSNS];
	unsigned i, n = 0;

	if (program->bf_len + 3 > ARRAY_SIZE(code)) {
		snprintf(err, err_size, "the filter is too long: %u instructions; the kernel accepts %u",
			 program->bf_len, (unsigned)ARRAY_SIZE(code) - 3);
		return -1;
	}
	if (direction != CAPTURE_BOTH) {
		bool only = direction != CAPTURE_NOT_OUTGOING;
		unsigned type = direction == CAPTURE_TO_HOST ? PACKET_HOST : PACKET_OUTGOING;

		code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
							 (unsigned)(SKF_AD_OFF + SKF_AD_PKTTYPE));
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, type, only, !only);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
	}
	for (i = 0; i < program->bf_len; i++) {
		const struct bpf_insn *in = &program->bf_insns[i];

		code[n++] = (struct sock_filter){ in->code, in->jt, in->jf, in->k };
	}
	if (attach(fd, code, n) < 0) {
		snprintf(err, err_size, "the kernel refuses the filter (%u instructions): %s%s", n,
			 strerror(errno), errno == ENOMEM ? "; raise net.core.optmem_max" : "");
		return -1;
	}
	return 0;
}
