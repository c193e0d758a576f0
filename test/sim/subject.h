#ifndef SIM_SUBJECT_H
#define SIM_SUBJECT_H

#include "sim.h"

/* What worlds about something have in common: subject.c describes the whole. */
void subject_clean(struct link *l);                 /* no fault but its delay */
void subject_undisturbed(struct world *w);          /* nothing but the subject itself */
void subject_at_least(struct world *w, unsigned n); /* connections */
/* The client of @c asks one thing after the other, each after @least to @most ns. */
void subject_slowly(struct world *w, struct conn *c, uint64_t least, uint64_t most);

/* subject_capture.c */
void make_holes(struct world *w);
void make_unseen(struct world *w);
void make_doubts(struct world *w);

#endif
