#ifndef IO_FILE_CONTENT_H
#define IO_FILE_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * The bytes of a file of packets, unpacked. What a file is packed with is told by its first bytes, not by its
 * name. A content belongs to one thread.
 */
struct content;

/*
 * Read the file @fd from where it stands, and tell what it is packed with. @name: for messages. @stop: asked
 * while a pipe has nothing; it returns true to end the reading, NULL: never asked. Returns NULL with words in
 * @err if it is packed with what cannot be unpacked here, or memory ran out. @fd stays the caller's.
 */
struct content *content_open(int fd, const char *name, bool (*stop)(void *arg), void *arg, char *err,
			     size_t err_size);
/* Free it. @c may be NULL. Close the streams first. */
void content_close(struct content *c);

/* A stream of the unpacked bytes, which cannot be rewound. NULL: out of memory. The caller closes it. */
FILE *content_stream(struct content *c);

/* What is wrong with the bytes that were read so far, in words; NULL: nothing. */
const char *content_wrong(const struct content *c);

#endif
