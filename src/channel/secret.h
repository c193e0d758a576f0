#ifndef CHANNEL_SECRET_H
#define CHANNEL_SECRET_H

#include <stddef.h>

/*
 * What both ends of a channel know and nobody else knows: the content of a file. With it, a connection is TLS
 * 1.3 with an external pre-shared key (RFC 8446 4.2.11, RFC 9257). Several threads may use a secret at a
 * time.
 */
struct channel_secret;

#define CHANNEL_SECRET_MIN 16 /* bytes; trailing newlines are ignored */
#define CHANNEL_SECRET_MAX 4096

/*
 * Load the secret from the file @path, which must belong to root or to this user, and which only its owner
 * may read or write. Only a key derived from the content is kept. Returns NULL on failure, with words in @err
 * that fit after 'option --secret "FILE": ' and name the cure.
 */
struct channel_secret *channel_secret_load(const char *path, char *err, size_t err_size);

/*
 * The same as a setter of args_option; @into is a struct channel_secret **. Returns NULL, or what is wrong.
 */
const char *channel_secret_set(void *into, const char *path);

/* Erase the key and free the secret, which no connection may be using any more. @s may be NULL. */
void channel_secret_free(struct channel_secret *s);

#endif
