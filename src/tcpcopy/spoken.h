#ifndef TCPCOPY_SPOKEN_H
#define TCPCOPY_SPOKEN_H

#include <stddef.h>

#include "protocol/protocol.h"
#include "tcpcopy/config/config.h"

/*
 * What the clients speak, in words: what a copy of it cannot do, and what to do. Said by the log of a running
 * tcpcopy, by its report and by --check.
 */
#define SPOKEN_TEXT 700

/* Is @d to be said of a rule with the tally *t? */
bool spoken_matters(const struct protocol_tally *t, enum protocol_detail d);

/* Write the remedy of @d for *rule, as it can be typed, into @buf. Returns @buf. */
char *spoken_remedy(char *buf, size_t size, const struct rule *rule, enum protocol_detail d);

/*
 * One line: port, what is so, how the sessions of *t fared with it, and the remedy. @copied: the target
 * has had copies of them. SPOKEN_TEXT bytes fit all. Returns @buf.
 */
char *spoken_text(char *buf, size_t size, const struct rule *rule, enum protocol_detail d,
		  const struct protocol_tally *t, bool copied);

/* The same of connections of protocol @p that are joined (@joined), or not, because of it. */
char *spoken_join_text(char *buf, size_t size, const struct rule *rule, enum protocol p, bool joined);

/*
 * Has *t a detail because of which connections of protocol @p end early? Then it is no news that they are not
 * joined.
 */
bool spoken_explains(const struct protocol_tally *t, enum protocol p);

/* Does a detail of *t explain how most of @sessions fare: have their targets refused them because of it? */
bool spoken_explains_most(const struct protocol_tally *t, uint64_t sessions);

/* Which lines were said of each rule. All zero: none. */
struct spoken_said {
	uint32_t details[CONFIG_MAX_RULES], joined[CONFIG_MAX_RULES], not_joined[CONFIG_MAX_RULES];
	uint8_t looked[CONFIG_MAX_RULES][DETAIL_COUNT]; /* since the first session with it */
};

/*
 * Log what *t says of the rule with the index @rule and has not been logged before: once a rule and kind. To
 * be called once a second.
 */
void spoken_say(struct spoken_said *said, const struct config *c, unsigned rule,
		const struct protocol_tally *t);

#endif
