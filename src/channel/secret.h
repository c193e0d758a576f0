#ifndef CHANNEL_SECRET_H
#define CHANNEL_SECRET_H

#include <stddef.h>

/*
 * What both ends of a channel know and nobody else: the content of a file. With it a connection is
 * TLS 1.3 with an external pre-shared key (RFC 8446 4.2.11, RFC 9257). May be used by several
 * threads at a time.
 */
struct channel_secret;

#define CHANNEL_SECRET_MIN 16 /* bytes; line ends at the end of the file do not count */
#define CHANNEL_SECRET_MAX 4096

/*
 * From a file that belongs to root or to us and that only its owner may read or write. NULL with
 * words in @err that fit behind 'option --secret "FILE": ' and name the cure. The content is kept
 * nowhere but as a key derived from it.
 */
struct channel_secret *channel_secret_load(const char *path, char *err, size_t err_size);
/* The same as a setter of args_option; @into is a struct channel_secret *. */
const char *channel_secret_set(void *into, const char *path);
void channel_secret_free(struct channel_secret *s);

#endif
