/*
 * Packing what is written - theory of operation
 *
 * In: bytes. Out: the same in a file, as they are, or packed by gzip or zstd, at the speed that costs least:
 * whoever waits for this loses packets when it is slow. A file is one stream of its packing, so that the
 * usual tools read it. What a packing holds back is written with the last bytes; of a file that was never
 * ended, what was packed until then can be read.
 */
#include "io/file/packer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "build/config.h"

#if HAVE_ZLIB
#include <zlib.h>
#endif
#if HAVE_ZSTD
#include <zstd.h>
#endif

#define OUT_BYTES (128u << 10)
#define ZLIB_LEVEL 1
#define ZSTD_LEVEL 1

struct packer {
	enum packing_written how;
#if HAVE_ZLIB
	z_stream z;
#endif
#if HAVE_ZSTD
	ZSTD_CCtx *zstd;
#endif
	uint8_t out[OUT_BYTES];
};

static const struct {
	const char *suffix, *name;
	bool here;
} packings[] = { [WRITE_PLAIN] = { "", "", true },
#define HERE_GZIP HAVE_ZLIB
#define HERE_ZSTD HAVE_ZSTD
#define X(id, end, name) [WRITE_##id] = { end, name, HERE_##id },
		 PACKINGS_WRITTEN(X)
#undef X
};

enum packing_written packer_by_name(const char *path)
{
	const size_t len = strlen(path);

	for (unsigned i = WRITE_PLAIN + 1; i < ARRAY_SIZE(packings); i++) {
		const size_t n = strlen(packings[i].suffix);

		if (len > n && !strcmp(path + len - n, packings[i].suffix))
			return (enum packing_written)i;
	}
	return WRITE_PLAIN;
}

const char *packer_suffix(enum packing_written how)
{
	return packings[how].suffix;
}

const char *packer_missing(enum packing_written how)
{
	if (packings[how].here)
		return NULL;
	return how == WRITE_GZIP
		       ? "its name says that it is packed by gzip, and this program was built without "
			 "zlib; accepted: another name"
		       : "its name says that it is packed by zstd, and this program was built without "
			 "libzstd; accepted: another name";
}

struct packer *packer_new(enum packing_written how)
{
	struct packer *p = malloc(sizeof(*p));
	bool ok = how == WRITE_PLAIN;

	if (!p)
		return NULL;
	memset(p, 0, offsetof(struct packer, out));
	p->how = how;
#if HAVE_ZLIB
	if (how == WRITE_GZIP)
		ok = deflateInit2(&p->z, ZLIB_LEVEL, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) == Z_OK;
#endif
#if HAVE_ZSTD
	if (how == WRITE_ZSTD) {
		p->zstd = ZSTD_createCCtx();
		ok = p->zstd &&
		     !ZSTD_isError(ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL));
	}
#endif
	if (ok)
		return p;
	packer_free(p);
	return NULL;
}

void packer_free(struct packer *p)
{
	if (!p)
		return;
#if HAVE_ZLIB
	if (p->how == WRITE_GZIP)
		deflateEnd(&p->z);
#endif
#if HAVE_ZSTD
	ZSTD_freeCCtx(p->zstd);
#endif
	free(p);
}

static int write_all(int fd, const void *data, size_t n, uint64_t *bytes)
{
	const uint8_t *at = data;

	while (n) {
		const ssize_t done = write(fd, at, n);

		if (done < 0 && errno != EINTR)
			return -1;
		if (done > 0) {
			at += done;
			n -= (size_t)done;
			*bytes += (uint64_t)done;
		}
	}
	return 0;
}

#if HAVE_ZLIB
static int write_gzip(struct packer *p, int fd, const void *data, size_t n, bool last, uint64_t *bytes)
{
	int rc;

	p->z.next_in = (Bytef *)(uintptr_t)data; /* only read */
	p->z.avail_in = (uInt)n;
	do {
		p->z.next_out = p->out;
		p->z.avail_out = OUT_BYTES;
		rc = deflate(&p->z, last ? Z_FINISH : Z_NO_FLUSH);
		if (write_all(fd, p->out, OUT_BYTES - p->z.avail_out, bytes)) {
			const int error = errno;

			deflateReset(&p->z);
			errno = error;
			return -1;
		}
	} while (!p->z.avail_out || p->z.avail_in || (last && rc == Z_OK));
	if (last)
		deflateReset(&p->z);
	return 0;
}
#endif

#if HAVE_ZSTD
static int write_zstd(struct packer *p, int fd, const void *data, size_t n, bool last, uint64_t *bytes)
{
	ZSTD_inBuffer in = { .src = data, .size = n };
	size_t rc;

	do {
		ZSTD_outBuffer out = { .dst = p->out, .size = OUT_BYTES };

		rc = ZSTD_compressStream2(p->zstd, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(rc) || write_all(fd, p->out, out.pos, bytes)) {
			const int error = ZSTD_isError(rc) ? EIO : errno;

			ZSTD_CCtx_reset(p->zstd, ZSTD_reset_session_only);
			errno = error;
			return -1;
		}
	} while (in.pos < in.size || (last && rc));
	return 0;
}
#endif

int packer_write(struct packer *p, int fd, const void *data, size_t n, bool last, uint64_t *bytes)
{
	switch (p->how) {
#if HAVE_ZLIB
	case WRITE_GZIP:
		return write_gzip(p, fd, data, n, last, bytes);
#endif
#if HAVE_ZSTD
	case WRITE_ZSTD:
		return write_zstd(p, fd, data, n, last, bytes);
#endif
	default:
		return write_all(fd, data, n, bytes);
	}
}
