#ifndef IO_INJECT_SINK_H
#define IO_INJECT_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "packet/segment.h"

/*
 * A sink takes segments to send: live injection (link layer with GSO; raw IP sockets) and pcap
 * files. Sending never fails the caller: errors are counted by kind, and the engine's own
 * timers repair what was lost.
 */
#define SINK_ERRORS(X)                                                                                       \
	X(NOBUFS, "no-buffers", "device queue or socket buffer full")                                        \
	X(AGAIN, "would-block", "socket buffer full")                                                        \
	X(PERM, "not-permitted", "blocked by netfilter or conntrack on this host")                           \
	X(MSGSIZE, "too-big", "larger than the route's MTU")                                                 \
	X(UNREACH, "unreachable", "no route, or the neighbour does not answer")                              \
	X(OTHER, "other", "another error")

enum sink_error {
#define X(id, name, text) SINK_##id,
	SINK_ERRORS(X)
#undef X
		SINK_ERROR_COUNT
};
/* What it means, in the words of SINK_ERRORS. */
const char *sink_error_text(enum sink_error e);

struct sink_counters {
	uint64_t segments;                 /* asked to send (a super-packet counts once) */
	uint64_t offered;                  /* wire packets made of them: taken or failed */
	uint64_t packets;                  /* wire packets handed to the kernel */
	uint64_t bytes;                    /* IP bytes of those */
	uint64_t fallback;                 /* packets: of those, by the raw socket of sink_link */
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
	/* All three or none, for a sink that follows routing; see sink_fd() and what is behind it.
	 */
	int (*fd)(struct sink *s);
	void (*readable)(struct sink *s);
	uint32_t (*mtu)(struct sink *s, const struct addr *to);
};
struct sink {
	const struct sink_ops *ops;
	struct sink_counters counters;
	unsigned mtu_changes; /* grows when what sink_mtu() says has changed */
};

static inline void sink_send(struct sink *s, const struct tx_segment *t)
{
	s->ops->send(s, t);
}
static inline void sink_flush(struct sink *s)
{
	s->ops->flush(s);
}
/* To be watched for reading, then sink_readable(); -1: none. */
static inline int sink_fd(struct sink *s)
{
	return s->ops->fd ? s->ops->fd(s) : -1;
}
static inline void sink_readable(struct sink *s)
{
	s->ops->readable(s);
}
/* MTU in bytes of the way to @to as it is now; 0: not known. */
static inline uint32_t sink_mtu(struct sink *s, const struct addr *to)
{
	return s->ops->mtu ? s->ops->mtu(s, to) : 0;
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
 * Ethernet frames to the next hop, a super-packet as one GSO packet; by sink_raw what cannot be
 * reached so, for as long as it cannot. NULL with words in @err, as sink_raw_open().
 */
struct sink *sink_link_open(char *err, size_t err_size);
/* Of that sink: does @to lie behind an interface that takes Ethernet frames? */
bool sink_link_reaches(struct sink *s, const struct addr *to);

/*
 * A pcap file (link type raw IP, nanoseconds of the wall clock at which a segment was taken), as it
 * would have left by sink_raw: pieces of gso_size. @path "-" is the standard output. An existing
 * file is overwritten. NULL with words in @err.
 */
struct sink *sink_file_open(const char *path, char *err, size_t err_size);

/* For sinks: count @packets packets that failed with errno value @code. */
void sink_count_error(struct sink *s, int code, unsigned packets);

#endif
