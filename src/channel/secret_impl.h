#ifndef CHANNEL_SECRET_IMPL_H
#define CHANNEL_SECRET_IMPL_H

#include <openssl/ssl.h>

#define SECRET_KEY_LEN 32u /* bytes: of SHA-256, the hash of both cipher suites */

/* The inside of a secret, for secret.c and tls.c. */
struct channel_secret {
	SSL_CTX *ctx; /* for either side */
	unsigned char key[SECRET_KEY_LEN];
};

#endif
