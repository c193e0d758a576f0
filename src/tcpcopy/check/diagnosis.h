#ifndef TCPCOPY_CHECK_DIAGNOSIS_H
#define TCPCOPY_CHECK_DIAGNOSIS_H

#include "program/workers.h"
#include "tcpcopy/config/config.h"

/*
 * A tcpcopy that replicates but never receives a response logs once which hop is broken, and what the clients
 * speak where a copy of it does not work. All of it belongs to the main thread.
 */
struct diagnosis;

/*
 * Open what needs privilege. Nothing happens before @base's loop runs. *c, @w and @base must outlive it.
 * Returns NULL if memory ran out; then there is no diagnosis.
 */
struct diagnosis *diagnosis_open(const struct config *c, struct workers *w, struct event_base *base);

/* Close everything and free @d, which may be NULL. */
void diagnosis_close(struct diagnosis *d);

#endif
