/*
 * The progress of a replay - theory of operation
 *
 * On a terminal: one line that is written over, twice a second. The cursor goes back to its beginning, and
 * the log clears it before each of its own lines (log_over_line()). Elsewhere: a line of the log every ten
 * seconds, so that a file does not fill with bars.
 */
#include "tcpcopy/replay/progress.h"

#include <event2/event.h>
#include <stdlib.h>
#include <unistd.h>

#include "program/clock.h"
#include "program/log.h"
#include "program/workers.h"
#include "tcpcopy/replay/figures.h"

#define BAR_MS 500
#define LINE_MS 10000

struct progress {
	struct workers *workers;
	struct event *timer;
	bool terminal;
	uint64_t at, requests; /* when it was shown last, ns, and what there was */
};

static void on_time(evutil_socket_t fd, short what, void *arg)
{
	struct progress *p = arg;
	struct figures f = { .any = false };
	const uint64_t now = clock_now();
	char text[FIGURES_TEXT], line[FIGURES_TEXT + 16];
	double rate;

	(void)fd;
	(void)what;
	workers_collect(p->workers, figures_collect, &f);
	rate = (double)(f.requests - p->requests) / ((double)(now - p->at) / (double)NS_PER_SEC);
	p->at = now;
	p->requests = f.requests;
	if (!f.any)
		return;
	figures_format(text, &f, rate);
	if (!p->terminal) {
		log_info("replay: %s", text);
		return;
	}
	if (write(STDERR_FILENO, line, (size_t)snprintf(line, sizeof(line), "\033[K%s\r", text)) < 0)
		p->terminal = false;
}

struct progress *progress_new(struct event_base *base, struct workers *w, bool terminal)
{
	const unsigned ms = terminal ? BAR_MS : LINE_MS;
	const struct timeval every = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };
	struct progress *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->workers = w;
	p->terminal = terminal;
	p->at = clock_now();
	p->timer = event_new(base, -1, EV_PERSIST, on_time, p);
	if (p->timer && !event_add(p->timer, &every)) {
		log_over_line(terminal);
		return p;
	}
	progress_free(p);
	return NULL;
}

void progress_free(struct progress *p)
{
	if (!p)
		return;
	if (p->terminal && write(STDERR_FILENO, "\033[K", 3) < 0)
		p->terminal = false;
	log_over_line(false);
	if (p->timer)
		event_free(p->timer);
	free(p);
}
