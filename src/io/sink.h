#ifndef IO_SINK_H
#define IO_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "packet/segment.h"

/*
 * A sink takes segments to send: live injection (raw IP sockets; link layer with GSO later) and
 * pcap files. Sending never fails the caller: errors are counted by kind, and the engine's own
 * timers repair what was lost.
 */
#define SINK_ERRORS(X)                                                                             \
	X(NOBUFS, "no-buffers", "the device queue or socket buffer was full")                      \
	X(AGAIN, "would-block", "the socket buffer was full")                                      \
	X(PERM, "not-permitted", "refused by netfilter or conntrack on this host")                 \
	X(MSGSIZE, "too-big", "larger than the route's MTU")                                       \
	X(UNREACH, "unreachable", "no route, or the neighbour does not answer")                    \
	X(OTHER, "other", "another error")

enum sink_error {
#define X(id, name, text) SINK_##id,
	SINK_ERRORS(X)
#undef X
		SINK_ERROR_COUNT
};
const char *sink_error_name(enum sink_error e);
const char *sink_error_text(enum sink_error e);

struct sink_counters {
	uint64_t segments;                 /* asked to send (a super-packet counts once) */
	uint64_t packets;                  /* wire packets handed to the kernel */
	uint64_t bytes;                    /* IP bytes of those */
	uint64_t errors[SINK_ERROR_COUNT]; /* packets not taken */
	int last_errno;
};

struct sink;
struct sink_ops {
	/*
	 * Take @t, which may go away. Its payload must stay valid until the next sink_flush(). May
	 * flush by itself when its batch is full.
	 */
	void (*send)(struct sink *s, const struct tx_segment *t);
	/* Give everything taken so far to the kernel, going on behind a packet that fails. */
	void (*flush)(struct sink *s);
	void (*close)(struct sink *s);
};
struct sink {
	const struct sink_ops *ops;
	struct sink_counters counters;
};

static inline void sink_send(struct sink *s, const struct tx_segment *t)
{
	s->ops->send(s, t);
}
static inline void sink_flush(struct sink *s)
{
	s->ops->flush(s);
}
/* Flushes nothing. */
static inline void sink_close(struct sink *s)
{
	s->ops->close(s);
}

/*
 * Raw IP sockets with the header included (IPv4 and, when possible, IPv6; packets of a family that
 * cannot be sent are counted as "other"). NULL with words in @err ("... needs CAP_NET_RAW ...").
 */
struct sink *sink_raw_open(char *err, size_t err_size);

/*
 * A pcap file (link type raw IP, nanoseconds of the wall clock at which a segment was taken), as it
 * would have left by sink_raw: pieces of gso_size. @path "-" is the standard output. An existing
 * file is overwritten. NULL with words in @err.
 */
struct sink *sink_file_open(const char *path, char *err, size_t err_size);

/* For sinks: count @packets packets that failed with errno value @code. */
void sink_count_error(struct sink *s, int code, unsigned packets);

#endif
