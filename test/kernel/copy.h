#ifndef TEST_KERNEL_COPY_H
#define TEST_KERNEL_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "packet/segment.h"

/*
 * A session engine with a target that takes everything at once: what it got is what the copy is worth. The
 * clock is the caller's. One connection at a time.
 */
struct copy;

enum copy_end { COPY_OPEN, COPY_FIN, COPY_RST };

struct copy_state {
	const uint8_t *bytes; /* what the target's application would have read */
	size_t n_bytes;
	enum copy_end end;
	unsigned connections; /* SYNs that the target answered */
	bool accepted;        /* the handshake was completed: its application has a connection */
};

/*
 * What the online server says of its socket when it is asked; see struct kernel_info. -1: it cannot be asked.
 */
typedef int (*copy_ask_fn)(void *arg, unsigned *state, uint64_t *bytes_received, uint32_t *rcv_wnd);

struct copy *copy_new(copy_ask_fn ask, void *arg);
void copy_free(struct copy *c);

/* A packet of the client, as captured. */
void copy_captured(struct copy *c, const uint8_t *packet, size_t len);
/*
 * A packet of the server, as captured on its way out (the engine is given what the proof socket would see).
 */
void copy_sent_by_server(struct copy *c, const uint8_t *packet, size_t len);
/* Let virtual time pass. */
void copy_advance(struct copy *c, uint64_t ns);

struct copy_state copy_state(const struct copy *c);
/* Write all that the engine has counted and what it sent to stderr. */
void copy_print(const struct copy *c);

#endif
