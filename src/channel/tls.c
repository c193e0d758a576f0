/*
 * TLS between two buffers.
 *
 * In: bytes of the peer, and bytes for it. Out: the same in the clear and encrypted. OpenSSL is
 * given two BIOs in memory and never sees the socket. So the connection writes as it does without
 * TLS, one system call for what a callback has sent, and it can be moved between event loops; and
 * a peer that speaks plain is known before OpenSSL has read a byte.
 *
 * The errors that an operator meets are told in words; the rest has those of OpenSSL.
 */
#include "channel/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

#include <event2/buffer.h>

#include "base/util.h"
#include "channel/message.h"
#include "channel/secret_impl.h"

#define RECORD 16384 /* plaintext bytes of a record at most (RFC 8446 5.1) */

struct tls {
	const struct channel_secret *secret;
	SSL *ssl;                 /* NULL before our turn to begin, or the peer's first byte */
	BIO *from_peer, *to_peer; /* the ssl's */
	struct evbuffer *clear;
	bool accepting, heard, plain;
	char why[160];
};

/* What OpenSSL has written goes to @wire. */
static bool take_output(struct tls *t, struct evbuffer *wire)
{
	char *data;
	long len = BIO_get_mem_data(t->to_peer, &data);
	bool ok = len <= 0 || !evbuffer_add(wire, data, (size_t)len);

	(void)BIO_reset(t->to_peer);
	return ok;
}

static const char *words(struct tls *t)
{
	unsigned long error = ERR_peek_error();
	const char *reason = ERR_reason_error_string(error);

	switch (ERR_GET_REASON(error)) {
	case SSL_R_BINDER_DOES_NOT_VERIFY:
	case SSL_R_TLSV1_ALERT_DECRYPT_ERROR:
	case SSL_R_SSLV3_ALERT_ILLEGAL_PARAMETER:
		if (!tls_is_open(t))
			return "the secrets of the two ends differ; give both the same --secret FILE";
		break;
	case SSL_R_CERTIFICATE_VERIFY_FAILED:
		return "the peer speaks TLS with a certificate, not with a shared secret";
	case SSL_R_NO_SHARED_CIPHER:
	case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_UNSUPPORTED_PROTOCOL + SSL_AD_REASON_OFFSET:
		return "the peer speaks TLS, but not with this kind of secret";
	default:
		break;
	}
	snprintf(t->why, sizeof(t->why), "TLS: %s", reason ? reason : "unknown error");
	return t->why;
}

struct tls *tls_new(const struct channel_secret *s, bool accepting)
{
	struct tls *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->secret = s;
	t->accepting = accepting;
	t->clear = evbuffer_new();
	if (t->clear)
		return t;
	free(t);
	return NULL;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	SSL_free(t->ssl);
	evbuffer_free(t->clear);
	free(t);
}

static bool make_ssl(struct tls *t)
{
	ERR_clear_error();
	t->ssl = SSL_new(t->secret->ctx);
	t->from_peer = BIO_new(BIO_s_mem());
	t->to_peer = BIO_new(BIO_s_mem());
	if (!t->ssl || !t->from_peer || !t->to_peer) {
		BIO_free(t->from_peer);
		BIO_free(t->to_peer);
		SSL_free(t->ssl);
		t->ssl = NULL;
		return false;
	}
	BIO_set_mem_eof_return(t->from_peer, -1); /* empty means later, not the end */
	SSL_set_bio(t->ssl, t->from_peer, t->to_peer);
	if (t->accepting) {
		/* Nobody is asked for a certificate; without the key there is no handshake. */
		SSL_set_verify(t->ssl, SSL_VERIFY_NONE, NULL);
		SSL_set_accept_state(t->ssl);
	} else {
		SSL_set_connect_state(t->ssl);
	}
	return true;
}

bool tls_begin(struct tls *t, struct evbuffer *wire)
{
	if (!make_ssl(t))
		return false;
	SSL_do_handshake(t->ssl); /* wants to read; any fault comes back with the peer's answer */
	return take_output(t, wire);
}

struct evbuffer *tls_clear(struct tls *t)
{
	return t->clear;
}

bool tls_peer_is_plain(const struct tls *t)
{
	return t->plain;
}

bool tls_is_open(const struct tls *t)
{
	return t->ssl && SSL_is_init_finished(t->ssl);
}

/* Read records until there is no whole one left. */
static const char *decrypt(struct tls *t)
{
	unsigned char record[RECORD];
	int n;

	for (;;) {
		ERR_clear_error();
		n = SSL_read(t->ssl, record, sizeof(record));
		if (n > 0) {
			if (evbuffer_add(t->clear, record, (size_t)n))
				return "out of memory";
			continue;
		}
		switch (SSL_get_error(t->ssl, n)) {
		case SSL_ERROR_WANT_READ:
			return NULL;
		case SSL_ERROR_ZERO_RETURN:
			return "peer closed";
		default:
			return words(t);
		}
	}
}

/* The peer's first byte tells its language. */
static const char *hear(struct tls *t, struct evbuffer *in)
{
	uint8_t first;

	if (t->heard || evbuffer_copyout(in, &first, 1) != 1)
		return NULL;
	t->heard = true;
	t->plain = first == MSG_HELLO || first == MSG_BYE;
	if (t->plain)
		return "this end has a secret and the peer has none; give both the same --secret FILE";
	return t->ssl || make_ssl(t) ? NULL : "out of memory";
}

const char *tls_receive(struct tls *t, struct evbuffer *in, struct evbuffer *wire)
{
	const char *why = hear(t, in);
	size_t len;

	while (!why && (len = evbuffer_get_contiguous_space(in)) > 0) {
		len = MIN(len, (size_t)RECORD);
		if (BIO_write(t->from_peer, evbuffer_pullup(in, (ev_ssize_t)len), (int)len) != (int)len)
			return "out of memory";
		evbuffer_drain(in, len);
		why = decrypt(t);
	}
	if (t->ssl && !take_output(t, wire) && !why)
		why = "out of memory";
	return why;
}

bool tls_seal(struct tls *t, struct evbuffer *buf)
{
	struct evbuffer *wire = evbuffer_new();
	bool ok = wire;
	size_t len;

	ERR_clear_error();
	while (ok && (len = evbuffer_get_length(buf)) > 0) {
		len = MIN(len, (size_t)RECORD);
		ok = SSL_write(t->ssl, evbuffer_pullup(buf, (ev_ssize_t)len), (int)len) > 0;
		evbuffer_drain(buf, len);
	}
	ok = ok && take_output(t, wire) && !evbuffer_add_buffer(buf, wire);
	if (wire)
		evbuffer_free(wire);
	return ok;
}
