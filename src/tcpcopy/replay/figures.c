/*
 * How a replay stands - theory of operation
 *
 * In: the state of the replay, and what its engine has counted. Out: a line of progress, and the lines of the
 * account. Two things may be late, and each is said in seconds of its own: this program, which is late to
 * hand over, and the target, whose answers keep back what was due. Lateness that is made good at once is in
 * the quantiles; what is not made good has put the clock back.
 */
#include "tcpcopy/replay/figures.h"

#include <string.h>

#include "base/util.h"
#include "tcpcopy/pipeline.h"

#define SECONDS(ns) ((double)(ns) / (double)NS_PER_SEC)
#define BAR 20

void figures_collect(void *pipeline, void *sum)
{
	const struct pipeline *p = pipeline;
	struct figures *f = sum;
	const struct replay_state *s;
	const struct engine_counters *n;

	if (!p->replay)
		return;
	s = replay_state(p->replay);
	n = engine_counters(p->engine);
	f->any = true;
	f->paced = s->clock.speed || s->clock.rate;
	f->waits = s->waits;
	f->share = recording_share(replay_recording(p->replay));
	f->seconds = SECONDS(replay_time(p->replay));
	f->recorded = SECONDS(s->clock.recorded);
	f->cut = SECONDS(s->clock.cut);
	/* what waits in the sessions was read, but not replayed yet */
	f->requests = s->requests - MIN(engine_turns_waiting(p->engine), s->requests);
	if (f->share > 0 && s->requests)
		f->share *= (double)f->requests / (double)s->requests;
	f->late_here = SECONDS(s->clock.late_here);
	f->late_there = SECONDS(s->clock.late_there);
	f->behind = SECONDS(engine_lag(p->engine));
	f->handed = s->late_here;
	f->sent = n->capture_to_emit;
	f->spacing = n->spacing_error;
}

char *figures_format(char text[FIGURES_TEXT], const struct figures *f, double rate)
{
	char bar[BAR + 1] = "", left[48] = "";
	const int full = (int)(MAX(f->share, 0.0) * BAR);

	for (int i = 0; i < BAR; i++)
		bar[i] = i < full ? '#' : '.';
	if (f->share > 0.005 && f->share < 1 && f->seconds > 1)
		snprintf(left, sizeof(left), ", %.0f s left", f->seconds * (1 - f->share) / f->share);
	if (f->share < 0)
		snprintf(text, FIGURES_TEXT, "%.0f s, %llu requests, %.0f/s", f->seconds,
			 (unsigned long long)f->requests, rate);
	else
		snprintf(text, FIGURES_TEXT, "[%s] %3.0f %%%s, %llu requests, %.0f/s", bar, f->share * 100,
			 left, (unsigned long long)f->requests, rate);
	if (f->paced) {
		const size_t n = strlen(text);

		snprintf(text + n, FIGURES_TEXT - n, ", %.3f s behind%s",
			 f->behind + f->late_here + f->late_there,
			 f->waits ? ", waiting for the target" : "");
	}
	return text;
}

char *figures_duration(char text[FIGURES_DURATION], uint64_t ns)
{
	static const struct {
		const char *name;
		uint64_t seconds;
	} unit[] = {
		{ "year", 31536000 }, { "day", 86400 }, { "hour", 3600 }, { "minute", 60 }, { "second", 1 }
	};
	uint64_t left = ns / NS_PER_SEC;
	unsigned said = 0;
	size_t n = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(unit) && said < 2; i++) {
		const uint64_t count = left / unit[i].seconds;

		left %= unit[i].seconds;
		said += said || count;
		if (count || (!said && i + 1 == ARRAY_SIZE(unit)))
			n += (size_t)snprintf(text + n, FIGURES_DURATION - n, "%s%llu %s%s", n ? " " : "",
					      (unsigned long long)count, unit[i].name, count == 1 ? "" : "s");
	}
	return text;
}

void figures_print(const struct figures *f, FILE *to)
{
	if (!f->any)
		return;
	fprintf(to, "replayed: %llu requests in %.3f s, %.0f a second; %.3f s of recorded time",
		(unsigned long long)f->requests, f->seconds,
		f->seconds > 0 ? (double)f->requests / f->seconds : 0.0, f->recorded);
	if (f->cut > 0)
		fprintf(to, ", without the %.3f s that were cut of its pauses", f->cut);
	fputc('\n', to);
	if (!f->paced)
		return;
	fprintf(to,
		"behind schedule: %.3f s because this program was late, %.3f s because the target was late\n",
		f->late_here + SECONDS(f->handed.count ? f->handed.max : 0),
		f->late_there + SECONDS(f->sent.count ? f->sent.max - MIN(f->handed.max, f->sent.max) : 0));
	fprintf(to,
		"from request to request, against the schedule: p50 %.3f ms, p99 %.3f ms too early or too late; handed "
		"over p50 %.3f ms, p99 %.3f ms late\n",
		SECONDS(hist_quantile(&f->spacing, 0.5)) * 1e3,
		SECONDS(hist_quantile(&f->spacing, 0.99)) * 1e3,
		SECONDS(hist_quantile(&f->handed, 0.5)) * 1e3,
		SECONDS(hist_quantile(&f->handed, 0.99)) * 1e3);
}
