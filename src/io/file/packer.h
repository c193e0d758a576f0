#ifndef IO_FILE_PACKER_H
#define IO_FILE_PACKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes on their way to a file, packed as its name says. A packer belongs to one thread. */
struct packer;

/* One table: enum, end of the name, the program that packs so. */
#define PACKINGS_WRITTEN(X)                                                                                  \
	X(GZIP, ".gz", "gzip")                                                                               \
	X(ZSTD, ".zst", "zstd")

enum packing_written {
	WRITE_PLAIN,
#define X(id, end, name) WRITE_##id,
	PACKINGS_WRITTEN(X)
#undef X
};

/* How the file @path is packed by its name. */
enum packing_written packer_by_name(const char *path);

/* The end of such names, ".gz"; "" for WRITE_PLAIN. */
const char *packer_suffix(enum packing_written how);

/* Can this program pack so? Returns NULL, or in words why not. */
const char *packer_missing(enum packing_written how);

/* NULL: out of memory, or it cannot. */
struct packer *packer_new(enum packing_written how);
/* Free it. @p may be NULL. */
void packer_free(struct packer *p);

/*
 * Pack @n bytes at @data into the file @fd; with @last nothing more follows, and the next call begins another
 * file. Adds what was written to *@bytes. Returns 0, or -1 with errno, and then the next call begins another
 * file as well.
 */
int packer_write(struct packer *p, int fd, const void *data, size_t n, bool last, uint64_t *bytes);

#endif
