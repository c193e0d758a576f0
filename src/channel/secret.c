/*
 * The secret of a channel: from a file to a TLS context.
 *
 * In comes the path of a file, out comes a context whose connections prove to each other that they
 * know its content (doc/PROTOCOL.md, "Encryption"). The content goes through HKDF (RFC 5869) with a
 * label of this protocol, so that the key serves here alone even if the same file is used for
 * something else. Neither certificates nor tickets nor early data: there is one way to be accepted,
 * and nothing that was recorded can be played again.
 *
 * Each handshake offers the key under one fixed name. Which secret is meant cannot be told from the
 * name on purpose: it would tell an eavesdropper which channels share theirs.
 */
#include "channel/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "program/args.h"
#include "base/util.h"
#include "channel/secret_impl.h"

#define IDENTITY "tcpcopy channel 1"
#define SUITES "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256" /* the key is of SHA-256 */

static const unsigned char first_suite[] = { 0x13, 0x01 }; /* RFC 8446 B.4 */

/* The key in the form in which OpenSSL takes an external one: a session that may be resumed. */
static SSL_SESSION *psk_session(SSL *ssl)
{
	const struct channel_secret *s = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, first_suite);
	SSL_SESSION *session = SSL_SESSION_new();

	if (session && cipher && SSL_SESSION_set1_master_key(session, s->key, sizeof(s->key)) &&
	    SSL_SESSION_set_cipher(session, cipher) &&
	    SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION))
		return session;
	SSL_SESSION_free(session);
	return NULL;
}

static int offer_psk(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *id_len,
		     SSL_SESSION **session)
{
	(void)md; /* both suites have the one of the key */
	*session = psk_session(ssl);
	*id = (const unsigned char *)IDENTITY;
	*id_len = sizeof(IDENTITY) - 1;
	return *session != NULL;
}

static int find_psk(SSL *ssl, const unsigned char *id, size_t id_len, SSL_SESSION **session)
{
	*session = NULL;
	if (id_len != sizeof(IDENTITY) - 1 || memcmp(id, IDENTITY, id_len) != 0)
		return 1; /* none of ours: no other key is tried, there are no certificates */
	*session = psk_session(ssl);
	return *session != NULL;
}

/* A server that takes no notice of the key shows a certificate. None is good enough. */
static int refuse_certificate(int ok, X509_STORE_CTX *store)
{
	(void)ok;
	(void)store;
	return 0;
}

static bool derive(struct channel_secret *s, const unsigned char *content, size_t len)
{
	static const unsigned char label[] = IDENTITY " psk";
	EVP_PKEY_CTX *hkdf = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
	size_t key_len = sizeof(s->key);
	bool ok = hkdf && EVP_PKEY_derive_init(hkdf) > 0 &&
		  EVP_PKEY_CTX_set_hkdf_md(hkdf, EVP_sha256()) > 0 &&
		  EVP_PKEY_CTX_set1_hkdf_key(hkdf, content, (int)len) > 0 &&
		  EVP_PKEY_CTX_add1_hkdf_info(hkdf, label, sizeof(label) - 1) > 0 &&
		  EVP_PKEY_derive(hkdf, s->key, &key_len) > 0 && key_len == sizeof(s->key);

	EVP_PKEY_CTX_free(hkdf);
	return ok;
}

static SSL_CTX *context(struct channel_secret *s)
{
	SSL_CTX *ctx;

	/* The machine's openssl.cnf is for others: what is accepted here is all said below. */
	if (!OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL))
		return NULL;
	ctx = SSL_CTX_new(TLS_method());
	if (!ctx)
		return NULL;
	SSL_CTX_set_app_data(ctx, s);
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
	SSL_CTX_clear_options(ctx, SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
	/* A connection that is idle holds no buffers. */
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_psk_use_session_callback(ctx, offer_psk);
	SSL_CTX_set_psk_find_session_callback(ctx, find_psk);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, refuse_certificate);
	if (SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) &&
	    SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) && SSL_CTX_set_ciphersuites(ctx, SUITES) &&
	    SSL_CTX_set_num_tickets(ctx, 0))
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

/* The content of the file without trailing newlines. Returns its length, or 0 with words in @err. */
static size_t read_file(const char *path, unsigned char content[CHANNEL_SECRET_MAX + 1], char *err,
			size_t err_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	ssize_t n = -1;

	if (fd < 0 || fstat(fd, &st) < 0) {
		snprintf(err, err_size, "%s", strerror(errno));
	} else if (!S_ISREG(st.st_mode)) {
		snprintf(err, err_size, "this is not a regular file");
	} else if (st.st_mode & 077) {
		snprintf(err, err_size,
			 "its mode is %04o, so others than its owner can access it; chmod 600 %s",
			 (unsigned)st.st_mode & 07777, path);
	} else if (st.st_uid && st.st_uid != geteuid()) {
		snprintf(err, err_size,
			 "it belongs to user %u, who could change it; chown root %s (or to user %u)",
			 (unsigned)st.st_uid, path, (unsigned)geteuid());
	} else if ((n = read(fd, content, CHANNEL_SECRET_MAX + 1)) < 0) {
		snprintf(err, err_size, "%s", strerror(errno));
	} else if (n > CHANNEL_SECRET_MAX) {
		snprintf(err, err_size, "it is longer than %d bytes", CHANNEL_SECRET_MAX);
		n = -1;
	}
	if (fd >= 0)
		close(fd);
	while (n > 0 && (content[n - 1] == '\n' || content[n - 1] == '\r'))
		n--;
	if (n >= 0 && n < CHANNEL_SECRET_MIN)
		snprintf(
			err, err_size,
			"it has %zd bytes, not counting trailing newlines, but needs at least %d; head -c 32 "
			"/dev/urandom | base64 > %s",
			n, CHANNEL_SECRET_MIN, path);
	return n < CHANNEL_SECRET_MIN ? 0 : (size_t)n;
}

struct channel_secret *channel_secret_load(const char *path, char *err, size_t err_size)
{
	unsigned char content[CHANNEL_SECRET_MAX + 1], seed[1];
	struct channel_secret *s = NULL;
	size_t len = read_file(path, content, err, err_size);

	if (len) {
		s = calloc(1, sizeof(*s));
		/* The first random byte opens what the generator needs, before a sandbox closes. */
		if (!s || !(s->ctx = context(s)) || !derive(s, content, len) ||
		    RAND_bytes(seed, sizeof(seed)) != 1) {
			snprintf(err, err_size, "OpenSSL cannot use it: %s",
				 OpenSSL_version(OPENSSL_VERSION));
			channel_secret_free(s);
			s = NULL;
		}
	}
	OPENSSL_cleanse(content, sizeof(content));
	return s;
}

const char *channel_secret_set(void *into, const char *path)
{
	struct channel_secret **s = into;
	char err[512];

	*s = channel_secret_load(path, err, sizeof(err));
	return *s ? NULL : args_wrong("%s", err);
}

void channel_secret_free(struct channel_secret *s)
{
	if (!s)
		return;
	SSL_CTX_free(s->ctx);
	OPENSSL_cleanse(s->key, sizeof(s->key));
	free(s);
}
