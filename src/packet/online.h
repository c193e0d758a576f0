#ifndef PACKET_ONLINE_H
#define PACKET_ONLINE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What the online server's socket of a connection says: a value, from who can look at sockets
 * (io/host/online) to the session engine, which asks.
 */
enum online_word {
	ONLINE_UNKNOWN, /* it cannot be looked at, or the server is not on this host */
	ONLINE_THERE,
	ONLINE_GONE, /* or it was never here: that is to be known otherwise */
};

#define ONLINE_SYN_SENT 2
#define ONLINE_SYN_RECV 3   /* tcp_state of a socket whose handshake is not complete */
#define ONLINE_CLOSE_WAIT 8 /* of one whose client has closed its half, and that has not closed its own */

struct online_answer {
	enum online_word word;
	bool listener;     /* none of the connection, but one that listens at its port was found */
	uint8_t tcp_state; /* the kernel's number (net/tcp_states.h); 0: no socket was found */
	bool has_received; /* with ONLINE_THERE: the next field is valid */
	uint64_t received; /* bytes of payload, in order (RFC 4898 ThruOctetsReceived); a FIN counts as one */
	uint64_t
		acked; /* and those of the server that the client has acknowledged; valid with has_received */
	uint32_t silent; /* ms since payload came in order; with ONLINE_THERE */
};

#endif
