/*
 * Reads back what the code under test writes to stdout or stderr: the descriptor is pointed at an
 * unnamed file for the while, so that output of child processes counts as well, and nothing can
 * block as a full pipe would.
 */
#include "capture.h"

#include <assert.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/mman.h>

static int captured = -1, saved = -1, file = -1;
static char text[65536];

void capture_begin(int fd)
{
	if (captured >= 0)
		capture_end(); /* of a test that failed before it came to that */
	fflush(NULL);
	captured = fd;
	saved = dup(fd);
	file = memfd_create("capture", MFD_CLOEXEC);
	assert(saved >= 0 && file >= 0);
	dup2(file, fd);
}

const char *capture_end(void)
{
	ssize_t len;

	assert(captured >= 0);
	fflush(NULL);
	dup2(saved, captured);
	close(saved);
	len = pread(file, text, sizeof(text) - 1, 0);
	text[len > 0 ? len : 0] = '\0';
	close(file);
	captured = -1;
	return text;
}
