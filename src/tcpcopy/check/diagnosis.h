#ifndef TCPCOPY_CHECK_DIAGNOSIS_H
#define TCPCOPY_CHECK_DIAGNOSIS_H

#include "program/workers.h"
#include "tcpcopy/config/config.h"

/*
 * A tcpcopy that replicates and never hears an answer says once in the log which hop is broken. On
 * the main thread.
 */
struct diagnosis;

/*
 * Open what needs privilege; nothing happens before @base's loop runs. All must outlive it. NULL:
 * cannot be, and then there is none.
 */
struct diagnosis *diagnosis_open(const struct config *c, struct workers *w, struct event_base *base);
void diagnosis_close(struct diagnosis *d);

#endif
