/*
 * The content of a file of packets - theory of operation
 *
 * In: a descriptor, of a file or a pipe. Out: a stream of the bytes that were packed, for libpcap, which
 * reads nothing else. The first bytes say what a file is packed with. gzip and zstd are unpacked here, where
 * their libraries were there when this was built; anything else is named, together with the pipe to type.
 *
 * Unpacking goes along with reading, a buffer at a time, so it costs no memory however much a file unpacks
 * to. Several packed files one behind the other count as one, as gzip and zstd themselves have it. A file
 * that ends in the middle, or is damaged, ends there, and what came before it is good.
 *
 * A pipe may be silent for as long as it likes. So it is waited for in portions, between which whoever reads
 * is asked whether it still wants to.
 */
#include "io/file/content.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "build/config.h"
#include "program/sandbox.h"

#if HAVE_ZLIB
#include <zlib.h>
#endif
#if HAVE_ZSTD
#include <zstd.h>
#endif

SANDBOX_CALLS("fadvise64", "readahead");

#define IN_BYTES (256u << 10)
#define WAIT_MS 200

/* One table: enum, the first bytes, their number, name, the command that unpacks it. */
#define PACKINGS(X)                                                                                          \
	X(GZIP, "\x1f\x8b", 2, "gzip", "gzip -dc")                                                           \
	X(ZSTD, "\x28\xb5\x2f\xfd", 4, "zstd", "zstd -dc")                                                   \
	X(XZ,                                                                                                \
	  "\xfd"                                                                                             \
	  "7zXZ",                                                                                            \
	  5, "xz", "xz -dc")                                                                                 \
	X(BZIP2, "BZh", 3, "bzip2", "bzip2 -dc")                                                             \
	X(LZ4, "\x04\x22\x4d\x18", 4, "lz4", "lz4 -dc")                                                      \
	X(LZMA, "\x5d\x00\x00", 3, "lzma", "xz -dc --format=lzma")                                           \
	X(LZIP, "LZIP", 4, "lzip", "lzip -dc")                                                               \
	X(LZOP, "\x89LZO", 4, "lzop", "lzop -dc")                                                            \
	X(COMPRESS, "\x1f\x9d", 2, "compress", "gzip -dc")                                                   \
	X(ZIP, "PK\x03\x04", 4, "zip", "unzip -p")                                                           \
	X(SEVENZIP, "7z\xbc\xaf", 4, "7z", "7z x -so")

enum packing {
	PLAIN,
#define X(id, magic, len, name, command) PACKED_##id,
	PACKINGS(X)
#undef X
};

static const struct {
	const char *magic;
	size_t len;
	const char *name, *command;
} packings[] = {
#define X(id, magic, len, name, command) [PACKED_##id] = { magic, len, name, command },
	PACKINGS(X)
#undef X
};

struct content {
	int fd;
	enum packing packing;
	bool (*stop)(void *arg);
	void *arg;
	bool ended;        /* nothing more comes from the descriptor */
	bool inside;       /* a packed file has begun, and has not ended */
	size_t at, filled; /* of the bytes read and not yet unpacked */
	const char *wrong;
#if HAVE_ZLIB
	z_stream z;
#endif
#if HAVE_ZSTD
	ZSTD_DStream *zstd;
#endif
	uint8_t in[IN_BYTES];
};

/* Wait until the descriptor has something. False: nobody wants it any more. Files always have. */
static bool wait_for(struct content *c)
{
	struct pollfd p = { .fd = c->fd, .events = POLLIN };

	for (;;) {
		const int n = poll(&p, 1, WAIT_MS);

		if (n > 0)
			return true;
		if (n < 0 && errno != EINTR)
			return true; /* read() says why */
		if (c->stop && c->stop(c->arg))
			return false;
	}
}

/* Read more behind what is there. Returns whether anything came. */
static bool fill(struct content *c)
{
	ssize_t n = 0;

	if (c->ended)
		return false;
	if (c->at == c->filled)
		c->at = c->filled = 0;
	while (wait_for(c)) {
		n = read(c->fd, c->in + c->filled, sizeof(c->in) - c->filled);
		if (n >= 0 || errno != EINTR)
			break;
	}
	if (n < 0)
		c->wrong = strerror(errno);
	if (n <= 0) {
		c->ended = true;
		return false;
	}
	c->filled += (size_t)n;
	return true;
}

static size_t read_plain(struct content *c, uint8_t *to, size_t size)
{
	size_t n;

	if (c->at == c->filled && !fill(c))
		return 0;
	n = MIN(size, c->filled - c->at);
	memcpy(to, c->in + c->at, n);
	c->at += n;
	return n;
}

#if HAVE_ZLIB
static size_t read_gzip(struct content *c, uint8_t *to, size_t size)
{
	c->z.next_out = to;
	c->z.avail_out = (uInt)MIN(size, IN_BYTES);
	while (c->z.next_out == to && !c->wrong) {
		int rc;

		if (c->at == c->filled && !fill(c)) {
			if (c->inside && !c->wrong)
				c->wrong = "what gzip has packed ends in the middle";
			break;
		}
		c->z.next_in = c->in + c->at;
		c->z.avail_in = (uInt)(c->filled - c->at);
		c->inside = true;
		rc = inflate(&c->z, Z_NO_FLUSH);
		c->at = c->filled - c->z.avail_in;
		if (rc == Z_STREAM_END) {
			c->inside = false; /* another may follow */
			inflateReset(&c->z);
		} else if (rc != Z_OK && rc != Z_BUF_ERROR) {
			c->wrong = "what gzip has packed is damaged";
		}
	}
	return (size_t)(c->z.next_out - to);
}
#endif

#if HAVE_ZSTD
static size_t read_zstd(struct content *c, uint8_t *to, size_t size)
{
	ZSTD_outBuffer out = { .dst = to, .size = size };

	while (!out.pos && !c->wrong) {
		ZSTD_inBuffer in = { .src = c->in };
		size_t rc;

		if (c->at == c->filled && !fill(c)) {
			if (c->inside && !c->wrong)
				c->wrong = "what zstd has packed ends in the middle";
			break;
		}
		in.pos = c->at;
		in.size = c->filled;
		rc = ZSTD_decompressStream(c->zstd, &out, &in);
		c->at = in.pos;
		c->inside = rc != 0;
		if (ZSTD_isError(rc))
			c->wrong = "what zstd has packed is damaged";
	}
	return out.pos;
}
#endif

static ssize_t on_read(void *cookie, char *to, size_t size)
{
	struct content *c = cookie;

	switch (c->packing) {
#if HAVE_ZLIB
	case PACKED_GZIP:
		return (ssize_t)read_gzip(c, (uint8_t *)to, size);
#endif
#if HAVE_ZSTD
	case PACKED_ZSTD:
		return (ssize_t)read_zstd(c, (uint8_t *)to, size);
#endif
	default:
		return (ssize_t)read_plain(c, (uint8_t *)to, size);
	}
}

FILE *content_stream(struct content *c)
{
	return fopencookie(c, "r", (cookie_io_functions_t){ .read = on_read });
}

const char *content_wrong(const struct content *c)
{
	return c->wrong;
}

static bool unpacker(struct content *c)
{
	switch (c->packing) {
	case PLAIN:
		return true;
#if HAVE_ZLIB
	case PACKED_GZIP:
		return inflateInit2(&c->z, 15 + 16) == Z_OK;
#endif
#if HAVE_ZSTD
	case PACKED_ZSTD:
		c->zstd = ZSTD_createDStream();
		return c->zstd != NULL;
#endif
	default:
		return false;
	}
}

struct content *content_open(int fd, const char *name, bool (*stop)(void *arg), void *arg, char *err,
			     size_t err_size)
{
	struct content *c = malloc(sizeof(*c));
	const size_t most = 5; /* the longest of the first bytes */

	if (!c) {
		snprintf(err, err_size, "file %s: out of memory", name);
		return NULL;
	}
	memset(c, 0, offsetof(struct content, in));
	c->fd = fd;
	c->stop = stop;
	c->arg = arg;
	while (c->filled < most && fill(c))
		;
	for (size_t i = 1; i < ARRAY_SIZE(packings); i++)
		if (c->filled >= packings[i].len && !memcmp(c->in, packings[i].magic, packings[i].len))
			c->packing = (enum packing)i;
	if (unpacker(c))
		return c;
	snprintf(err, err_size,
		 "file %s: packed by %s, which this program does not unpack: type %s %s | tcpcopy "
		 "--read -",
		 name, packings[c->packing].name, packings[c->packing].command,
		 strcmp(name, "-") ? name : "FILE");
	content_close(c);
	return NULL;
}

void content_close(struct content *c)
{
	if (!c)
		return;
#if HAVE_ZLIB
	if (c->packing == PACKED_GZIP)
		inflateEnd(&c->z);
#endif
#if HAVE_ZSTD
	ZSTD_freeDStream(c->zstd);
#endif
	free(c);
}
