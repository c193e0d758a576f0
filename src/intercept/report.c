/*
 * The report of intercept: where the captured packets went. In: its counters. Out: lines in the
 * log, zeros left out.
 *
 * Every packet that the kernel handed over is either a segment or rejected under a reason. Every
 * segment of an owner became a record that was sent, merged, dropped, left out as a copy, or held
 * for a connection that ended; every other one was given up or was of no target.
 */
#include "intercept/report.h"

#include "base/log.h"
#include "packet/parse.h"

static void line(uint64_t n, const char *words)
{
	if (n)
		log_info("  %10llu %s", (unsigned long long)n, words);
}

void report(const struct stats *s, const struct source_counters *c, unsigned watches_now)
{
	log_info("report: %llu packets captured, %llu dropped by the kernel, %u watches now",
		 (unsigned long long)c->packets, (unsigned long long)c->kernel_drops, watches_now);
#define X(field, words) line(s->field, words);
	STATS(X)
#undef X
	for (unsigned i = PARSE_OK + 1; i < PARSE_REASON_COUNT; i++)
		if (s->parse[i])
			log_info("  %10llu packets rejected: %s (%s)",
				 (unsigned long long)s->parse[i],
				 parse_reason_text((enum parse_reason)i),
				 parse_reason_name((enum parse_reason)i));
}
