/*
 * Did a replay reach anybody? - theory of operation
 *
 * In: what the engine has counted when all is over. Out: whether any target opened a connection. A replay
 * that nobody heard is a failure, whatever was handed over. It is none if one connection was opened, for then
 * the account says what became of each.
 */
#include "tcpcopy/replay/reached.h"

#include <stdio.h>

bool replay_reached_nobody(const struct config *c, const struct engine_counters *n, char *words, size_t size)
{
	const unsigned long long refused = n->ended[OUTCOME_REFUSED],
				 opened = n->sessions_opened + n->sessions_joined;
	unsigned long long ended = 0;
	char who[ENDPOINT_TEXT_LEN] = "each target";

	for (unsigned i = 0; i < OUTCOME_COUNT; i++)
		ended += n->ended[i];
	if (c->n_rules == 1)
		endpoint_format(who, sizeof(who), &c->rules[0].target);
	if (refused && refused == ended) {
		snprintf(words, size, "%s refused all %llu connections; nothing listens there", who, refused);
		return true;
	}
	if (opened && !n->responses) {
		snprintf(words, size, "%s answered none of %llu connections; --check says what is wrong", who,
			 opened);
		return true;
	}
	return false;
}
