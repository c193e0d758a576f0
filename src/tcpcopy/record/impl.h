#ifndef TCPCOPY_RECORD_IMPL_H
#define TCPCOPY_RECORD_IMPL_H

#include "io/capture/source.h"
#include "tcpcopy/record/queue.h"
#include "tcpcopy/record/record.h"

/* The inside of the record, shared only by the files of this folder. */

/* --- sections.c: what begins a file --- */

#define RECORD_INTERFACES (2 * CONFIG_MAX_INTERFACES)

struct record_interfaces {
	char name[RECORD_INTERFACES][16];
	unsigned n;
};

/* The number of the interface @name, which is added if it is not there. */
unsigned record_interface(struct record_interfaces *list, const char *name);

/*
 * The section and interface blocks of *c. The caller frees them. NULL: out of memory, or they are too long.
 */
uint8_t *record_head(const struct config *c, const struct record_interfaces *list, size_t *len);

/* Words for the packet that opens the connection *t of the rules @rules. */
#define RECORD_COMMENT 1024
char *record_comment(char text[RECORD_COMMENT], const struct config *c, const struct tuple *t,
		     uint64_t rules);

/* --- answers.c: what the online server sends --- */

struct record_answers;

/* What is next of one interface. Its bytes stay until answers_take(). */
struct record_answer {
	const struct raw_packet *packet;
	unsigned interface;
};

/*
 * Capture the answers on all interfaces that are up and those of *c, and add these to *list. Returns NULL
 * with words in @err.
 */
struct record_answers *answers_open(const struct config *c, struct record_interfaces *list, char *err,
				    size_t err_size);
void answers_close(struct record_answers *a);

/* Look whether there is more, once for a turn of the loop. */
void answers_look(struct record_answers *a);
/* The earliest packet that is there; its packet is NULL if there is none. */
struct record_answer answers_next(struct record_answers *a);
void answers_taken(struct record_answers *a);

/* Packets that the kernel has dropped. */
uint64_t answers_dropped(const struct record_answers *a);

#endif
