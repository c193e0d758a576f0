#ifndef TCPCOPY_REPLAY_SERVED_H
#define TCPCOPY_REPLAY_SERVED_H

#include "packet/online.h"
#include "packet/segment.h"
#include "session/session.h"

/*
 * What a recording tells of each of its connections: how far the recorded server has come, and where turns
 * begin. Takes what was recorded in its order; makes no system call. Belongs to one thread.
 */
struct served;

struct served *served_new(const struct siphash_key *key);
void served_free(struct served *s);

/* A SYN that waits until it is known whether the recorded server took it. */
struct served_syn {
	struct segment segment; /* its options are at @options; it has no payload */
	uint8_t options[TCP_MAX_OPTIONS_LEN];
};

/* What is to be done with a segment of a client. */
struct served_verdict {
	bool turn;                    /* it begins a turn */
	bool keep;                    /* it is kept until something follows; hand nothing over */
	const struct served_syn *syn; /* NULL, or hand this one over first; valid until the next call */
};

/* A client sent *g: from @k->client to @k->online, in the loop @k->copy. */
struct served_verdict served_client(struct served *s, const struct flow_key *k, const struct segment *g);

/* The recorded server sent *g to @k->client. Returns a SYN that is to be handed over first, or NULL. */
const struct served_syn *served_server(struct served *s, const struct flow_key *k, const struct segment *g);

/* What can be said of the recorded server's socket, as far as the recording was read. */
struct online_answer served_look(const struct served *s, const struct flow_key *k);

/* How many connections are open in the recording where it is being read. */
unsigned served_open(const struct served *s);

#endif
