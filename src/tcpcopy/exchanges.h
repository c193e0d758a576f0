#ifndef TCPCOPY_EXCHANGES_H
#define TCPCOPY_EXCHANGES_H

#include <stddef.h>
#include <stdio.h>

#include "compare/exchange.h"
#include "tcpcopy/config/config.h"

/* The answers of both sides, in words: for the screen of --status, for the report, and for the log. */
#define EXCHANGES_TEXT 900

/* Write what became of the exchanges of *t to @to, in one line without its end. */
void exchanges_print(FILE *to, const struct exchange_tally *t);

/* Warnings of one rule. */
enum exchanges_warning {
	EXCHANGES_DIFFER,      /* many answers of the target differ from the online server's */
	EXCHANGES_ENDED_FIRST, /* the target ends most connections first, and soon */
	EXCHANGES_WARNINGS
};

/* Is @w to be said of a rule with the tally *t and @sessions sessions? */
bool exchanges_matter(const struct exchange_tally *t, uint64_t sessions, enum exchanges_warning w);
/* One line: port, what is so, and the remedy. EXCHANGES_TEXT bytes fit all. Returns @buf. */
char *exchanges_text(char *buf, size_t size, const struct rule *rule, const struct exchange_tally *t,
		     uint64_t sessions, enum exchanges_warning w);

/* Which lines were said of each rule. All zero: none. */
struct exchanges_said {
	uint8_t warnings[CONFIG_MAX_RULES];
};
/* Log what *t says of the rule with the index @rule and has not been logged before: once a rule and kind. */
void exchanges_say(struct exchanges_said *said, const struct config *c, unsigned rule,
		   const struct exchange_tally *t, uint64_t sessions);

#endif
