#ifndef INTERCEPT_HOLE_NFT_H
#define INTERCEPT_HOLE_NFT_H

#include <stdbool.h>
#include <stddef.h>

/* The nft command for a process that may run none: a helper process runs it. */
struct nft;

#define NFT_SCRIPT_SIZE 32768u /* less than a pipe holds: writing it never blocks */

/* Is there such a command? */
bool nft_possible(void);

/* Before there are threads and before the sandbox. NULL: no process to be had. */
struct nft *nft_open(void);
void nft_close(struct nft *n);

/* Run a script, at most NFT_SCRIPT_SIZE bytes; takes some milliseconds. 0, or -1 with words in
 * @err. */
int nft_run(struct nft *n, const char *script, size_t len, char *err, size_t err_size);

#endif
