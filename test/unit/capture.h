#ifndef TEST_CAPTURE_H
#define TEST_CAPTURE_H

#include <stddef.h>

/* What a part of a test writes to its standard descriptors: begin, the part, end. */
void capture_begin(int fd);    /* STDOUT_FILENO or STDERR_FILENO; one at a time */
const char *capture_end(void); /* the text, until the next capture */

#endif
