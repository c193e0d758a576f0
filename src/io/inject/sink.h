#ifndef IO_INJECT_SINK_H
#define IO_INJECT_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "packet/segment.h"

/*
 * A sink takes segments to send: live injection (link layer with GSO; raw IP sockets) and pcap files. To its
 * caller, sending never fails: errors are counted by kind, and the engine's own timers repair what was lost.
 * A sink belongs to one thread. One table of the errors: enum, name, words.
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
/* What the error @e means, in the words of SINK_ERRORS. */
const char *sink_error_text(enum sink_error e);

struct sink_counters {
	uint64_t segments; /* given to sink_send(); a super-packet counts once */
	uint64_t offered;  /* wire packets made from them, accepted by the kernel or not */
	uint64_t packets;  /* wire packets that the kernel accepted */
	uint64_t bytes;    /* IP bytes in them */
	uint64_t fallback; /* accepted packets that went through the raw socket of sink_link */
	uint64_t errors[SINK_ERROR_COUNT]; /* packets that the kernel refused */
	int last_errno;
};

struct sink;
struct sink_ops {
	void (*send)(struct sink *s, const struct tx_segment *t); /* see sink_send() */
	void (*flush)(struct sink *s);                            /* see sink_flush() */
	void (*close)(struct sink *s);
	/* All three or none, for a sink that follows routing; see sink_fd() and the next two functions. */
	int (*fd)(struct sink *s);
	void (*readable)(struct sink *s);
	uint32_t (*mtu)(struct sink *s, const struct addr *to);
};
struct sink {
	const struct sink_ops *ops;
	struct sink_counters counters;
	unsigned mtu_changes; /* grows when the result of sink_mtu() has changed for some destination */
};

/*
 * Send the segment *t, which is copied; its payload must stay valid until the next sink_flush(). The sink may
 * flush by itself when its batch is full.
 */
static inline void sink_send(struct sink *s, const struct tx_segment *t)
{
	s->ops->send(s, t);
}
/* Give everything taken so far to the kernel, and continue after a packet that fails. */
static inline void sink_flush(struct sink *s)
{
	s->ops->flush(s);
}
/* A descriptor to watch for reading; then call sink_readable(). -1 if the sink has none. */
static inline int sink_fd(struct sink *s)
{
	return s->ops->fd ? s->ops->fd(s) : -1;
}
/* Take in changes of routing. Call it only if sink_fd() is not -1. */
static inline void sink_readable(struct sink *s)
{
	s->ops->readable(s);
}
/* The present MTU of the way to @to, in bytes; 0 if it is not known. */
static inline uint32_t sink_mtu(struct sink *s, const struct addr *to)
{
	return s->ops->mtu ? s->ops->mtu(s, to) : 0;
}
/* Close the sink and free it. What was not flushed is not sent. */
static inline void sink_close(struct sink *s)
{
	s->ops->close(s);
}

/*
 * A sink of raw IP sockets with the header included, for IPv4 and, if possible, IPv6. Packets of a family
 * that cannot be sent count as "other" errors. Returns NULL with words in @err ("... needs CAP_NET_RAW ...").
 */
struct sink *sink_raw_open(char *err, size_t err_size);

/*
 * A sink that sends Ethernet frames to the next hop, and a super-packet as one GSO packet. Whatever cannot be
 * reached like this goes through a sink_raw, for as long as it cannot. Returns NULL with words in @err, as
 * sink_raw_open().
 */
struct sink *sink_link_open(char *err, size_t err_size);

/* For that sink: is @to behind an interface that takes Ethernet frames? */
bool sink_link_reaches(struct sink *s, const struct addr *to);

/* The AF_PACKET socket by which that sink sends. It receives nothing: its filter drops all. */
int sink_link_socket(const struct sink *s);

/*
 * A sink that writes a pcap file at @path, overwriting an existing one; "-" is standard output. The link type
 * is raw IP, the time that at which a segment was taken (wall clock, ns). Packets are as sink_raw would send
 * them, in pieces of gso_size. Returns NULL with words in @err.
 */
struct sink *sink_file_open(const char *path, char *err, size_t err_size);

/* For sinks: count @packets packets that failed with the errno value @code. */
void sink_count_error(struct sink *s, int code, unsigned packets);

#endif
