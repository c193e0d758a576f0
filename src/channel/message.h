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
#define MESSAGE_MAX_LEN 512 /* bytes of the largest frame, header included; a longer one is a fault */
#define MESSAGE_HEADER_LEN 4

enum message_type {
	MSG_HELLO = 1,
	MSG_WATCH = 2,
	MSG_UNWATCH = 3,
	MSG_RESPONSE = 4,
	MSG_LOSS = 5,
	MSG_PING = 6,
	MSG_PONG = 7,
	MSG_BYE = 8, /* a reason in words, before the sender closes */
	/* an endpoint whose responses will be watched: intercept adds it to its filter and guard */
	MSG_TARGET = 9,
	/* a response on a connection that was watched from the receiver's host and now belongs to nobody */
	MSG_STRAY = 10,
	MSG_PROBE = 11,    /* what does the assistant see of this tuple? */
	MSG_FINDINGS = 12, /* the answer to PROBE */
	/* which worker of intercept this connection is for; before everything else, and never encrypted */
	MSG_PLACE = 13,
	/* a WATCH is refused: another tcpcopy, which is connected, watches the same tuple */
	MSG_TAKEN = 14,
	/* what a response to the WATCH that follows acknowledges: it shows whose the response is */
	MSG_EXPECT = 15,
	/* a WATCH is refused: intercept has no room for it */
	MSG_FULL = 16,
};

/* Features of HELLO. */
#define CHANNEL_WORKERS 0x1u /* tcpcopy: spreads its WATCHes; intercept: wants that (workers, seed) */
#define CHANNEL_FIRST 0x2u   /* RESPONSEs may have the first bytes of an answer; only where it is encrypted */

struct msg_hello {
	uint16_t version_min, version_max;
	uint32_t features; /* bits; unknown ones are ignored */
	uint16_t worker;   /* which worker of the sender, from 0 */
	char program[24];  /* "tcpcopy", "intercept" */
	char release[24];  /* "1.0.0" */
	/* with CHANNEL_WORKERS; else 0 */
	uint16_t workers; /* that the sender has */
	/* intercept: of the spread of responses over them; tcpcopy: its number, see doc/PROTOCOL.md */
	uint32_t seed;
};

/*
 * tcpcopy chooses the ids of sessions, which mean nothing to intercept. No id is ever used for two
 * incarnations of a session.
 */
struct msg_watch {
	uint64_t id;
	struct tuple response; /* src: the target; dst: the (mapped) client */
	uint32_t number;       /* EXPECT: one less than what the target acknowledges next */
	bool has_number;       /* no field: intercept has joined a WATCH and its EXPECT */
};

/* The header of a response on a connection that belongs to nobody any more. */
struct msg_stray {
	struct tuple response; /* as in WATCH */
	uint32_t seq, ack;
	uint8_t flags; /* TCPF_ */
};

/* What the sender could not deliver; sums since the connection came up. */
struct msg_loss {
	uint64_t records_dropped; /* bounded output full */
	uint64_t records_merged;
	uint64_t kernel_drops; /* capture drops of the sender's kernel: responses that nobody saw */
	uint64_t unowned;      /* responses for which no WATCH came */
};

/* What an assistant knows and has seen of the tuple of a PROBE. */
#define FINDING_LOOKS 0x01u        /* it looks at all its interfaces, so the counts below are meaningful */
#define FINDING_FORWARDS 0x02u     /* its kernel forwards, and no guard drops the packets */
#define FINDING_SOURCE_HERE 0x04u  /* the source (the target) is an address of the assistant */
#define FINDING_CLIENT_HERE 0x08u  /* the destination (the client) is one */
#define FINDING_FILTERED 0x10u     /* its capture filter does not let the tuple pass */
#define FINDING_UNCAPTURED 0x20u   /* it does not capture on the interface of its route to the source */
#define FINDING_HOLE 0x40u         /* SOURCE_HERE, and responses end in a device that leads nowhere */
#define FINDING_ROUTED 0x100u      /* it reaches the source over a router */
#define FINDING_OTHER_SOURCE 0x80u /* a SYN-ACK for the destination came, but not from the source */
struct msg_findings {
	uint64_t id;
	uint32_t facts;      /* FINDING_ */
	uint32_t arrived;    /* packets of the tuple that arrived on any interface since the PROBE */
	uint32_t captured;   /* of these, on interfaces that are captured on */
	uint32_t forwarded;  /* packets of the tuple that this host sent on */
	uint32_t answered;   /* resets in the opposite direction that this host sent */
	struct addr address; /* the assistant's, as the source reaches it; unspecified: not known */
	uint8_t prefix;      /* FINDING_CLIENT_HERE: length of that address's prefix */
	/*
	 * the one of CLIENT_HERE, else the one where a packet arrived, else that of the route to the source
	 */
	char interface[16];
};

struct message {
	enum message_type type;
	union {
		struct msg_hello hello;
		/* also PROBE; and UNWATCH, TAKEN, FULL and EXPECT, whose tuple is unused */
		struct msg_watch watch;
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

/*
 * Encode *m as a frame into @out. Returns the length of the frame in bytes. *m must be valid by
 * doc/PROTOCOL.md; where that matters, it is asserted.
 */
size_t message_encode(uint8_t out[MESSAGE_MAX_LEN], const struct message *m);

enum message_result { MESSAGE_OK, MESSAGE_MORE, MESSAGE_BAD, MESSAGE_UNKNOWN };
/*
 * Decode the first frame of the @len bytes at @in. Returns
 *   MESSAGE_OK       and fills *m and *used, the bytes that the frame takes;
 *   MESSAGE_MORE     if the frame is not complete yet;
 *   MESSAGE_UNKNOWN  if its type is unknown: skip *used bytes;
 *   MESSAGE_BAD      if it is a fault: close the connection, for the reason *why, in static memory.
 */
enum message_result message_decode(struct message *m, const uint8_t *in, size_t len, size_t *used,
				   const char **why);

#endif
