#ifndef TCPCOPY_REPLAY_REPLAY_H
#define TCPCOPY_REPLAY_REPLAY_H

#include "base/hist.h"
#include "io/file/recording.h"
#include "tcpcopy/config/config.h"
#include "tcpcopy/replay/schedule.h"

/* The replay of recorded traffic by a pipeline, in place of live capture. */
struct pipeline;
struct replay;

/* What a replay did with what was recorded. One table: field, text. */
#define REPLAY_COUNTERS(X)                                                                                   \
	X(taken, "packets taken from the recording")                                                         \
	X(server, "of these, segments of the recorded server, which say what it took")                       \
	X(unanswered, "of these, SYNs that nothing followed, or that were repeated: no connections")         \
	X(unwrapped, "of these, packets of tunnels or mirrors, of which what they carry was taken")          \
	X(filtered, "of these, segments of clients that -F leaves out")

struct replay_state {
#define X(field, text) uint64_t field;
	REPLAY_COUNTERS(X)
#undef X
	uint64_t requests; /* turns that were handed over */
	uint64_t other;    /* packets to or from other ports */
	struct schedule clock;
	struct hist late_here; /* ns by which this program was late to hand over */
	bool waits;            /* for the target to come after */
	bool over;
};

/*
 * Replay @r for @p, as the configuration says. *r is the replay's from now on. Returns NULL if out of memory.
 */
struct replay *replay_new(struct pipeline *p, struct recording *r, const struct siphash_key *key);

/* Add it to the event loop. Returns 0, or -1 if out of memory or threads. */
int replay_start(struct replay *r);

/* The way back is up: the clock begins. */
void replay_go(struct replay *r);

/* For how long it has been going, until nothing moved any more; ns. */
uint64_t replay_time(const struct replay *r);

/* Log what was found wrong with the files. Once a second. */
void replay_say(struct replay *r);

/* How it stands, and what was read. */
const struct replay_state *replay_state(const struct replay *r);
struct recording *replay_recording(const struct replay *r);

/*
 * Is there nothing to replay in all that was read? Then @words say what there is instead.
 */
bool replay_is_empty(const struct replay *r, char *words, size_t size);

/* Hand over nothing more. */
void replay_stop(struct replay *r);

/* Free it. @r may be NULL. */
void replay_free(struct replay *r);

#endif
