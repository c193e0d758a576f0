#ifndef SIM_STACK_H
#define SIM_STACK_H

#include "sim.h"

/* Shared by the two halves of the stack, and by nobody else. */
void tcb_timer(struct tcb *t, enum tcb_timer which, uint64_t when); /* ns; 0: off */
void tcb_ack(struct tcb *t);
void tcb_output(struct tcb *t);
void tcb_resend(struct tcb *t);
void tcb_progress(struct tcb *t); /* SND.UNA moved */
void tcb_gone(struct tcb *t, enum tcb_event e);
void tcb_synchronise(struct tcb *t, const struct segment *syn);

#endif
