#ifndef CHANNEL_MESSAGE_H
#define CHANNEL_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "packet/response.h"
#include "packet/segment.h"

/*
 * The messages of the channel between tcpcopy and intercept: values in, bytes out, and back. The
 * normative text is doc/PROTOCOL.md. Pure: no socket here. Every message is a frame: a fixed header
 * (type, length of the body), then the body, all big-endian.
 */
#define CHANNEL_PORT 36524
#define CHANNEL_VERSION_MIN 1u
#define CHANNEL_VERSION_MAX 1u
#define MESSAGE_MAX_LEN                                                                                      \
	512 /* largest frame of version 1, header included; a longer one is a protocol error */
#define MESSAGE_HEADER_LEN 4

enum message_type {
	MSG_HELLO = 1,
	MSG_WATCH = 2,
	MSG_UNWATCH = 3,
	MSG_RESPONSE = 4,
	MSG_LOSS = 5,
	MSG_PING = 6,
	MSG_PONG = 7,
	MSG_BYE = 8,       /* a reason in words, before the sender closes */
	MSG_TARGET = 9,    /* an endpoint whose responses will be watched: intercept adds it to its
			   filter and guard before the first WATCH */
	MSG_STRAY = 10,    /* a response of a connection that was watched from the receiver's host and
			   is nobody's now */
	MSG_PROBE = 11,    /* what does the assistant see of this tuple? */
	MSG_FINDINGS = 12, /* the answer */
	MSG_PLACE = 13,    /* before all else, and never encrypted: which worker of intercept this
			      connection is for */
};

/* Features of HELLO. */
#define CHANNEL_WORKERS 0x1u /* tcpcopy: spreads its WATCHes; intercept: wants that (workers, seed) */

struct msg_hello {
	uint16_t version_min, version_max;
	uint32_t features; /* bits; unknown ones are ignored */
	uint16_t worker;   /* which worker of the sender, from 0 */
	char program[24];  /* "tcpcopy", "intercept" */
	char release[24];  /* "1.0.0" */
	/* with CHANNEL_WORKERS; else 0 */
	uint16_t workers; /* that the sender has */
	uint32_t seed;    /* of the spread of responses over them */
};

/* Session ids are chosen by tcpcopy and opaque to intercept; an id is never used for two
 * incarnations of a session. */
struct msg_watch {
	uint64_t id;
	struct tuple response; /* src: the target; dst: the (mapped) client */
};

/* The header of a response that nobody wants any more. */
struct msg_stray {
	struct tuple response; /* as in WATCH */
	uint32_t seq, ack;
	uint8_t flags; /* TCPF_ */
};

/* What the sender had to drop (cumulative since the connection came up). */
struct msg_loss {
	uint64_t records_dropped; /* bounded output full */
	uint64_t records_merged;
	uint64_t kernel_drops; /* capture drops of the sender's kernel: responses that nobody saw */
	uint64_t unowned;      /* responses for which no WATCH came */
};

/* What an assistant knows and has seen of the tuple of a PROBE. */
#define FINDING_LOOKS 0x01u       /* it looks at all its interfaces: the counts below mean something */
#define FINDING_FORWARDS 0x02u    /* its kernel forwards, and no guard is in the way */
#define FINDING_SOURCE_HERE 0x04u /* the source (the target) is an address of the assistant */
#define FINDING_CLIENT_HERE 0x08u /* the destination (the client) is one */
#define FINDING_FILTERED 0x10u    /* its capture filter does not let the tuple pass */
#define FINDING_UNCAPTURED 0x20u  /* it does not capture on the interface of its route to the source */
struct msg_findings {
	uint64_t id;
	uint32_t facts;      /* FINDING_ */
	uint32_t arrived;    /* packets of the tuple that came in, on whatever interface, since the PROBE */
	uint32_t captured;   /* of these, on interfaces that are captured on */
	uint32_t forwarded;  /* packets of the tuple that this host sent on */
	uint32_t answered;   /* resets in the opposite direction that this host sent */
	struct addr address; /* the assistant's, as the source reaches it; unspecified: not known */
	uint8_t prefix;      /* FINDING_CLIENT_HERE: length of that address's prefix */
	/* that of CLIENT_HERE, or where a packet arrived, or of the route to the source */
	char interface[16];
};

struct message {
	enum message_type type;
	union {
		struct msg_hello hello;
		struct msg_watch watch; /* also UNWATCH, whose tuple is unused, and PROBE */
		struct response response;
		struct msg_loss loss;
		struct endpoint target;
		struct msg_stray stray;
		struct msg_findings findings;
		uint16_t place;
		uint64_t ping; /* PING, PONG: echoed */
		char bye[128];
	};
};

/* Frame @m into @out (MESSAGE_MAX_LEN bytes). Returns the length. @m must be valid by
 * doc/PROTOCOL.md (asserted where it matters). */
size_t message_encode(uint8_t out[MESSAGE_MAX_LEN], const struct message *m);

enum message_result { MESSAGE_OK, MESSAGE_MORE, MESSAGE_BAD, MESSAGE_UNKNOWN };
/*
 * Take one frame from the @len bytes at @in. MESSAGE_OK: *m filled, *used bytes consumed.
 * MESSAGE_MORE: no whole frame yet. MESSAGE_UNKNOWN: a well-formed frame of a type from a newer
 * version: skip *used bytes. MESSAGE_BAD: close the connection, *why says what was wrong.
 */
enum message_result message_decode(struct message *m, const uint8_t *in, size_t len, size_t *used,
				   const char **why);

#endif
