#ifndef CHANNEL_TLS_H
#define CHANNEL_TLS_H

#include <stdbool.h>
#include <stdint.h>

#include "channel/secret.h"

struct evbuffer;

/*
 * One end of a TLS connection between buffers: what came from the socket goes in, and what has to be written
 * to the socket comes out. It touches no socket itself, so it can move wherever its connection moves.
 */
struct tls;

#define TLS_RECORD_HANDSHAKE 0x16 /* the first byte of a connection (RFC 8446 5.1) */

/*
 * A new end that knows @s, which must outlive it. @accepting: it is the server. Costs little until the peer
 * has said something. NULL if out of memory.
 */
struct tls *tls_new(const struct channel_secret *s, bool accepting);

/* Free @t, which may be NULL. Nothing is said to the peer. */
void tls_free(struct tls *t);

/* For the connecting end: append the first flight to @wire. Returns false if out of memory. */
bool tls_begin(struct tls *t, struct evbuffer *wire);

/*
 * Take everything from @in, which came from the socket. Append the decrypted bytes to tls_clear(), and
 * whatever the peer has to be told (the next flight, an alert) to @wire, even after a fault. Returns NULL, or
 * the reason in words why the connection is over, in memory of @t.
 */
const char *tls_receive(struct tls *t, struct evbuffer *in, struct evbuffer *wire);

/* The decrypted bytes that nobody has taken yet. The caller drains this buffer, which belongs to @t. */
struct evbuffer *tls_clear(struct tls *t);

/* Was the fault that tls_receive() reported a peer that speaks the channel without TLS? */
bool tls_peer_is_plain(const struct tls *t);

/* Is the handshake complete? Then both ends have proved that they know the secret. */
bool tls_is_open(const struct tls *t);

/*
 * Encrypt the content of @buf in place. What is encrypted first must be sent first. Returns false if out of
 * memory; the peer cannot decrypt anything that is encrypted after that.
 */
bool tls_seal(struct tls *t, struct evbuffer *buf);

#endif
