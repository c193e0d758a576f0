/*
 * Any bytes as a file of packets, packed or not: it is read to its end or refused with words, its times never
 * go back, and each packet that comes out is parsed. The first byte chooses how many times it is read.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/util.h"
#include "io/file/file.h"
#include "io/file/merge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void complain(void *arg, const char *words)
{
	(void)arg;
	assert(words[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct merge_events events = { .complain = complain };
	char path[64], err[512] = "";
	const char *const list[] = { path };
	struct recorded *x;
	struct merge *m;
	int fd;

	if (!size)
		return 0;
	fd = memfd_create("fuzz", 0);
	assert(fd >= 0 && write(fd, data + 1, size - 1) == (ssize_t)size - 1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	m = merge_open(list, 1, data[0] & 1 ? "tcp port 6379" : NULL, &events, err, sizeof(err));
	assert(m || err[0]);
	for (unsigned i = 0; m && i < 1 + data[0] % 3u; i++) {
		uint64_t last = 0;

		while ((x = merge_next(m))) {
			struct segment s;

			assert(x->raw.time >= last);
			last = x->raw.time;
			parse_packet(&s, &x->raw);
			file_checksum(&x->raw);
			free(x);
		}
		assert(!merge_rewind(m));
	}
	merge_close(m);
	close(fd);
	return 0;
}
