/*
 * pcap and pcapng files, as a source and as a sink.
 *
 * Source. In: a file. Out: its packets, at the pace at which they are asked for, with the file's
 * time stamps. libpcap reads the format, owns the bytes and runs the filter; damage at any place of
 * the file ends the source with a counted error, after the packets before it were delivered.
 *
 * A file does not say whether a checksum was complete when the packet was captured. On a host with
 * offloads it was not for what the host sent, nor for any super-packet: then the field holds the
 * pseudo-header's sum. Such packets are told apart by just that, so that those damaged on the wire
 * are still found.
 *
 * Sink. In: segments. Out: the IP packets that a raw socket would have sent, cut the same way. They
 * are copied at once, so flushing only empties libpcap's buffer.
 */
#include <errno.h>
#include <linux/if_packet.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "program/clock.h"
#include "io/file/file.h"
#include "io/inject/sink.h"
#include "io/capture/source.h"
#include "packet/build.h"
#include "packet/bytes.h"
#include "packet/checksum.h"

#define TCP_LEN 20
#define TCP_CHECKSUM 16 /* offset of the field */
#define IP_MAX_BYTES 65535u

struct file_source {
	struct source source;
	struct source_counters counters;
	pcap_t *pcap;
	enum link_type link;
};

struct file_sink {
	struct sink sink;
	pcap_t *pcap;
	pcap_dumper_t *dumper;
	uint8_t packet[IP_MAX_BYTES];
};

bool file_link(int dlt, enum link_type *link)
{
	/* DLT_RAW has another number on the systems that some files come from. */
	static const enum link_type known[] = { LINK_ETHERNET, LINK_RAW,  LINK_RAW_IP,     LINK_COOKED,
						LINK_COOKED2,  LINK_NULL, LINK_LOOP,       LINK_IPV4,
						LINK_IPV6,     LINK_PPP,  LINK_PPP_SERIAL, LINK_HDLC };

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if ((int)known[i] == dlt) {
			*link = known[i];
			return true;
		}
	}
	return false;
}

/* Is IPv4's checksum 0, and TCP's right, as far as all of it was captured? */
static bool only_ip_is_pending(const struct raw_packet *p, const struct segment *s)
{
	const uint32_t len = TCP_LEN + s->raw_options_len + s->len;
	const uint8_t *tcp = s->raw_options - TCP_LEN;
	uint32_t ip;

	if (!addr_is_v4(&s->tuple.src.addr) || s->captured != s->len ||
	    !parse_ip_offset(p->link, p->data, p->captured, &ip) || get_be16(p->data + ip + 10) != 0)
		return false;
	return csum_fold(csum_add(csum_pseudo(&s->tuple.src.addr, &s->tuple.dst.addr, len), tcp, len)) ==
	       0xffff;
}

enum checksum_state file_checksum(const struct raw_packet *p)
{
	struct raw_packet trusted = *p;
	struct segment s;
	uint16_t field;

	trusted.checksum = CHECKSUM_TRUSTED;
	if (parse_packet(&s, &trusted) != PARSE_OK)
		return CHECKSUM_VERIFY;
	memcpy(&field, s.raw_options - TCP_LEN + TCP_CHECKSUM, sizeof(field));
	if (field ==
	    csum_fold(csum_pseudo(&s.tuple.src.addr, &s.tuple.dst.addr, TCP_LEN + s.raw_options_len + s.len)))
		return CHECKSUM_PARTIAL;
	return only_ip_is_pending(p, &s) ? CHECKSUM_TRUSTED : CHECKSUM_VERIFY;
}

static unsigned file_poll(struct source *s, unsigned budget, source_fn fn, void *arg)
{
	struct file_source *f = CONTAINER_OF(s, struct file_source, source);
	struct pcap_pkthdr *h;
	const u_char *data;
	unsigned n;

	for (n = 0; n < budget && !s->at_end; n++) {
		int rc = pcap_next_ex(f->pcap, &h, &data);
		struct raw_packet p = { .link = f->link, .pkttype = PACKET_HOST };

		if (rc != 1) {
			s->at_end = true;
			if (rc == PCAP_ERROR) {
				f->counters.errors++;
				snprintf(s->error, sizeof(s->error), "%s: %s", s->name, pcap_geterr(f->pcap));
			}
			break;
		}
		p.data = data;
		p.captured = h->caplen;
		p.len = MAX(h->len, h->caplen);
		/* Opened for nanoseconds: that is what tv_usec holds. */
		p.time = (uint64_t)h->ts.tv_sec * NS_PER_SEC + (uint64_t)h->ts.tv_usec;
		p.checksum = file_checksum(&p);
		f->counters.packets++;
		f->counters.bytes += p.len;
		f->counters.truncated += p.captured < p.len;
		fn(&p, arg);
	}
	return n;
}

static void file_counters(struct source *s, struct source_counters *out)
{
	*out = CONTAINER_OF(s, struct file_source, source)->counters;
}

static void file_source_close(struct source *s)
{
	struct file_source *f = CONTAINER_OF(s, struct file_source, source);

	if (f->pcap)
		pcap_close(f->pcap);
	free(f);
}

static const struct source_ops file_source_ops = {
	.poll = file_poll,
	.counters = file_counters,
	.close = file_source_close,
};

static int set_up_source(struct file_source *f, const char *path, const char *filter, char *err,
			 size_t err_size)
{
	char words[PCAP_ERRBUF_SIZE];
	struct bpf_program program;
	int dlt, rc;

	f->pcap = pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, words);
	if (!f->pcap) {
		/* libpcap names the file itself when it could not be opened, and only then. */
		if (!strncmp(words, path, strlen(path)))
			snprintf(err, err_size, "file %s", words);
		else
			snprintf(err, err_size, "file %s: %s", path, words);
		return -1;
	}
	dlt = pcap_datalink(f->pcap);
	if (!file_link(dlt, &f->link)) {
		const char *name = pcap_datalink_val_to_name(dlt);

		snprintf(err, err_size, "file %s: link type %s (%d) is not supported", path,
			 name ? name : "unknown", dlt);
		return -1;
	}
	if (!filter || !filter[0])
		return 0;
	rc = pcap_compile(f->pcap, &program, filter, 1, PCAP_NETMASK_UNKNOWN);
	if (rc == 0) {
		rc = pcap_setfilter(f->pcap, &program);
		pcap_freecode(&program);
	}
	if (rc < 0) {
		snprintf(err, err_size, "filter \"%s\": %s", filter, pcap_geterr(f->pcap));
		return -1;
	}
	return 0;
}

struct source *source_file_open(const char *path, const char *filter, char *err, size_t err_size)
{
	struct file_source *f = calloc(1, sizeof(*f));

	if (!f) {
		snprintf(err, err_size, "file %s: out of memory", path);
		return NULL;
	}
	f->source.ops = &file_source_ops;
	f->source.fd = -1;
	snprintf(f->source.name, sizeof(f->source.name), "file %s", path);
	if (set_up_source(f, path, filter, err, err_size) < 0) {
		file_source_close(&f->source);
		return NULL;
	}
	return &f->source;
}

static void write_piece(struct file_sink *f, const struct tx_segment *piece, uint64_t now)
{
	struct pcap_pkthdr h = { .ts = { .tv_sec = (time_t)(now / NS_PER_SEC),
					 .tv_usec = (suseconds_t)(now % NS_PER_SEC) } };
	size_t len = build_packet(f->packet, sizeof(f->packet), piece);

	f->sink.counters.offered++;
	if (!len) {
		sink_count_error(&f->sink, EMSGSIZE, 1);
		return;
	}
	h.caplen = h.len = (bpf_u_int32)len;
	errno = 0;
	pcap_dump((u_char *)f->dumper, &h, f->packet);
	if (ferror(pcap_dump_file(f->dumper))) {
		sink_count_error(&f->sink, errno ? errno : EIO, 1);
		return;
	}
	f->sink.counters.packets++;
	f->sink.counters.bytes += len;
}

static void file_sink_send(struct sink *s, const struct tx_segment *t)
{
	struct file_sink *f = CONTAINER_OF(s, struct file_sink, sink);
	struct tx_segment piece;
	const uint64_t now = clock_wall();

	s->counters.segments++;
	if (!t->gso_size || t->len <= t->gso_size) {
		write_piece(f, t, now);
		return;
	}
	for (uint32_t i = 0; build_piece(&piece, t, t->gso_size, i); i++)
		write_piece(f, &piece, now);
}

static void file_sink_flush(struct sink *s)
{
	struct file_sink *f = CONTAINER_OF(s, struct file_sink, sink);

	if (pcap_dump_flush(f->dumper) < 0)
		s->counters.last_errno = errno;
}

static void file_sink_close(struct sink *s)
{
	struct file_sink *f = CONTAINER_OF(s, struct file_sink, sink);

	if (f->dumper)
		pcap_dump_close(f->dumper);
	if (f->pcap)
		pcap_close(f->pcap);
	free(f);
}

static const struct sink_ops file_sink_ops = {
	.send = file_sink_send,
	.flush = file_sink_flush,
	.close = file_sink_close,
};

struct sink *sink_file_open(const char *path, char *err, size_t err_size)
{
	struct file_sink *f = calloc(1, sizeof(*f));

	if (!f) {
		snprintf(err, err_size, "file %s: out of memory", path);
		return NULL;
	}
	f->sink.ops = &file_sink_ops;
	f->pcap = pcap_open_dead_with_tstamp_precision(DLT_RAW, IP_MAX_BYTES, PCAP_TSTAMP_PRECISION_NANO);
	f->dumper = f->pcap ? pcap_dump_open(f->pcap, path) : NULL;
	if (!f->dumper) {
		snprintf(err, err_size, "file %s", f->pcap ? pcap_geterr(f->pcap) : "out of memory");
		file_sink_close(&f->sink);
		return NULL;
	}
	return &f->sink;
}
