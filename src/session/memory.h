#ifndef SESSION_MEMORY_H
#define SESSION_MEMORY_H

/* Memory by shares: for the files of this folder. */
#include "session/impl.h"

#define SHARE_SLACK 2u /* KiB, by which less may be held than was counted */
bool memory_add_rule(struct engine *e, struct target *t); /* false: no memory */
void memory_free_rule(struct engine *e, struct target *t);
/* @s is new, and not proved; proved; has its outcome, or goes without one. */
void memory_session_new(struct engine *e, struct session *s);
void memory_session_proved(struct engine *e, struct session *s);
void memory_session_over(struct engine *e, struct session *s);
/* May there be one more session of @k? */
bool memory_admits(struct engine *e, const struct flow_key *k);
bool memory_above_limit(const struct engine *e);
/* Before a captured segment: shed until there is room for it. Sessions may go. */
void memory_make_room(struct engine *e, uint32_t payload, uint64_t now);
void memory_check(const struct engine *e);
void memory_recount(struct session *s);
static inline size_t session_bytes(const struct session *s)
{
	return sizeof(*s) + s->held + s->aside;
}
/* What @s holds has changed. */
static inline void memory_changed(struct session *s)
{
	const size_t counted = (size_t)s->share.amount * 1024, bytes = session_bytes(s);

	if (s->share.of && (bytes > counted || bytes + (size_t)SHARE_SLACK * 1024 < counted))
		memory_recount(s);
}

#endif
