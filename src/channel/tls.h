#ifndef CHANNEL_TLS_H
#define CHANNEL_TLS_H

#include <stdbool.h>
#include <stdint.h>

#include "channel/secret.h"

struct evbuffer;

/*
 * One end of a TLS connection between buffers: what came from the socket goes in, what is to go to
 * the socket comes out. Touches no socket, so it goes wherever its connection goes.
 */
struct tls;

#define TLS_RECORD_HANDSHAKE 0x16 /* the first byte of a connection (RFC 8446 5.1) */

/* NULL: no memory. Costs little until the peer has said something. */
struct tls *tls_new(const struct channel_secret *s, bool accepting);
void tls_free(struct tls *t);

/* The connecting end's first flight, to @wire. False: no memory. */
bool tls_begin(struct tls *t, struct evbuffer *wire);

/*
 * Take everything from @in. What it says is added to tls_clear(), what the peer must be told (the
 * next flight, an alert) to @wire, also after a fault. NULL, or why the connection is over, in
 * words.
 */
const char *tls_receive(struct tls *t, struct evbuffer *in, struct evbuffer *wire);
struct evbuffer *tls_clear(struct tls *t);

/* The fault was a peer that speaks the channel without TLS. */
bool tls_peer_is_plain(const struct tls *t);

/* The handshake is through: both ends know the secret. */
bool tls_is_open(const struct tls *t);

/* Encrypt the content of @buf, in its place. What is encrypted first must be sent first. False: no
 * memory, and what is encrypted later will not be understood. */
bool tls_seal(struct tls *t, struct evbuffer *buf);

#endif
