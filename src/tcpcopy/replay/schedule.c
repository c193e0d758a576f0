/*
 * The clock of a replay - theory of operation
 *
 * Recorded times become times of this host's monotonic clock: those since the first packet, divided by the
 * speed, are added to the start. Pauses longer than --gap count as so long. With --rate each turn has its
 * time by its number, and what is no turn goes along with what was before it. With --speed max everything is
 * due at once, and it is the sessions that make it wait.
 *
 * Whoever is late by a little makes it good with the next packets. Making good a second would be a burst
 * that nobody recorded; so what is late by more than SCHEDULE_LATE moves the start, once for everything that
 * follows, and is counted under what was late.
 */
#include "tcpcopy/replay/schedule.h"

#include "base/util.h"

#define MILLION 1000000u

/* @a * @b / @c, in between as long as it gets. */
static uint64_t scale(uint64_t a, uint64_t b, uint64_t c)
{
	const unsigned __int128 all = (unsigned __int128)a * b / c;

	return all > UINT64_MAX / 2 ? UINT64_MAX / 2 : (uint64_t)all;
}

uint64_t schedule_due(struct schedule *s, uint64_t time, bool turn, uint64_t now)
{
	uint64_t pause;

	if (!s->begun) {
		s->begun = true;
		s->start = now;
		s->last = time;
	}
	pause = time > s->last ? time - s->last : 0;
	s->last = MAX(s->last, time);
	s->recorded += MIN(pause, s->gap);
	s->cut += pause - MIN(pause, s->gap);
	if (s->rate) {
		s->turns += turn;
		return s->start + scale(s->turns ? s->turns - 1 : 0, NS_PER_SEC * MILLION, s->rate);
	}
	return s->speed ? s->start + scale(s->recorded, MILLION, s->speed) : 0;
}

bool schedule_move(struct schedule *s, uint64_t due, bool target, uint64_t now)
{
	if (!due || now <= due + SCHEDULE_LATE)
		return false;
	s->start += now - due;
	s->moves++;
	if (target)
		s->late_there += now - due;
	else
		s->late_here += now - due;
	return true;
}
